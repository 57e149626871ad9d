"""What the training part looks like, from a frame or by Spark: ranges and histograms of features, the target's mean."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training.evaluation import metrics
from training.evaluation.metrics import Array

QUANTILES = np.linspace(0, 1, 201).tolist()  # stand for a column's values where the edges of its bins are chosen
ACCURACY = 10_000  # of Spark's approximate quantiles: ranks are off by at most 1 / ACCURACY of the rows


@dataclass(frozen=True)
class Numbers:
    """A number column, float32. `counts` lie between neighbouring `edges`, as the contract stores them."""

    low: float
    high: float
    median: float
    edges: list[float]
    counts: list[int]
    missing: int


@dataclass(frozen=True)
class Categories:
    """A category column: rows of each text, in the texts' order."""

    counts: dict[str, int]
    missing: int


@dataclass(frozen=True)
class Profile:
    """`baseline` is (1,) the target's mean or (labels,) the labels' shares; `spread` the target's standard deviation
    (1 for classification)."""

    features: dict[str, Numbers | Categories]
    baseline: Array
    spread: float


def of_frame(features: pd.DataFrame, target: Array, classes: int) -> Profile:
    """Exact, from rows in memory: numbers float32, categories text ("" missing), the target as in `TrainingRows`."""
    columns: dict[str, Numbers | Categories] = {}
    for name, column in features.items():
        if column.dtype == object:
            texts = column[column != ""].value_counts().sort_index()
            named = {str(text): int(rows) for text, rows in texts.items()}
            columns[str(name)] = Categories(named, int((column == "").sum()))
        else:
            columns[str(name)] = _numbers(column)
    if classes:
        return Profile(columns, np.bincount(target, minlength=classes) / len(target), 1.0)
    return Profile(columns, np.array([target.mean()]), float(target.std()) or 1.0)


def _numbers(column: "pd.Series[Any]") -> Numbers:
    present = column.dropna().to_numpy(np.float32)
    edges = metrics.stored(metrics.edges(present))
    low, high, median = float(present.min()), float(present.max()), float(np.median(present))
    return Numbers(low, high, median, edges, counts(present, edges), int(column.isna().sum()))


def of_table(
    table: DataFrame, numbers: tuple[str, ...], categories: tuple[str, ...], target: str, classes: int
) -> Profile:
    """The same of a table that stays on the executors: quantiles are Spark's approximate ones, all else is exact."""
    wanted = []
    for name in numbers:
        value = F.col(f"`{name}`").cast("float")
        wanted += [F.percentile_approx(value, QUANTILES, ACCURACY), F.count_if(value.isNull())]
    if not classes:
        wanted += [F.avg(f"`{target}`"), F.stddev_pop(f"`{target}`")]
    found = list(table.agg(*wanted).first() or ()) if wanted else []
    quantiles = {name: found[2 * i] for i, name in enumerate(numbers)}
    edges = {name: metrics.stored(metrics.edges(np.array(own))) for name, own in quantiles.items()}
    histograms = _histograms(table, edges)
    columns: dict[str, Numbers | Categories] = {}
    for i, (name, own) in enumerate(quantiles.items()):
        middle, missing = own[len(QUANTILES) // 2], found[2 * i + 1]
        columns[name] = Numbers(own[0], own[-1], middle, edges[name], histograms[name], missing)
    for name in categories:
        rows: dict[str, int] = dict(table.groupBy(f"`{name}`").count().collect())
        columns[name] = Categories({text: rows[text] for text in sorted(rows) if text}, rows.get("", 0))
    if not classes:
        return Profile(columns, np.array([found[-2]]), float(found[-1]) or 1.0)
    by_label: dict[str, int] = dict(table.groupBy(f"`{target}`").count().collect())
    shares = np.array([by_label[label] for label in sorted(by_label)], dtype=np.float64)
    return Profile(columns, shares / shares.sum(), 1.0)


def counts(values: Array, edges: Sequence[float]) -> list[int]:
    """How many of `values` lie between neighbouring `edges`, all as float32; all in one where there is one edge."""
    if len(edges) < 2:
        return [len(values)]
    found: list[int] = np.histogram(values.astype(np.float32), np.array(edges, dtype=np.float32))[0].tolist()
    return found


def _histograms(table: DataFrame, edges: dict[str, list[float]]) -> dict[str, list[int]]:
    """The `counts` of every column, by the same code on each batch of rows."""

    def count(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            columns = zip(batch, edges.values(), strict=True)
            found = [counts(batch[place].dropna().to_numpy(np.float32), own) for place, own in columns]
            yield pd.DataFrame({"counts": [found]})

    if not edges:
        return {}
    placed = table.select(*[F.col(f"`{name}`").alias(f"c{i}") for i, name in enumerate(edges)])  # see `cells.survey`
    counted = placed.mapInPandas(count, "counts array<array<bigint>>").collect()
    return {name: np.sum([row["counts"][i] for row in counted], axis=0).tolist() for i, name in enumerate(edges)}
