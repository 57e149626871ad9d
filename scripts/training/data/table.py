"""A file becomes a typed, checked, split table.

survey    what each column is, and all that is wrong with the table
read      cells -> numbers, categories, booleans and the parts of dates
split     by a hash of the row's features (repeated rows fall on one side, and a row keeps its side for ever), by a
          group, or by time
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training.config import Config
from training.data import cells, checks, prediction_log
from training.data.cells import LARGEST, Cells, Reading, Summary
from training.data.checks import Findings
from training.data.columns import Column, columns_of
from training.data.files import Source, check_rows, find
from training.data.prediction_log import Labelled
from training.data.spark import session

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]

PARTS = ("train", "calibration", "test")
KINDS = {"numbers": "number", "categories": "category", "booleans": "boolean", "dates": "date"}
HASH, PART, PLACE, USABLE = "__hash", "__part", "__place", "__usable"
MOST_ENCODED = 100  # categories of a column with an input of their own: the graph stays small
ROWS_LOOKED_AT = 5_000  # for a column that gives the target away
ROWS_A_PARTITION = 200_000  # of a shuffle: a few dozen megabytes


@dataclass(frozen=True)
class Rows:
    """Rows of one part in memory: `features` in their order, the target as numbers (label indices for classification)
    and as the file has it, and the hash, in [0, 1): rows with the same are one cluster, equal in their features or of
    one group."""

    features: pd.DataFrame
    target: Array
    given: "pd.Series[Any]"
    hash: Array

    @property
    def frame(self) -> pd.DataFrame:
        return self.features.assign(**{str(self.given.name): self.given})


@dataclass(frozen=True)
class Dataset:
    """A checked table: its columns of features, and the rows with their part.

    `texts` are the different texts of each category column, in all parts, in order; `encoded` those of them that get an
    input of their own: the most frequent, and "" for missing ones.
    """

    columns: tuple[Column, ...]
    reading: Reading
    target: str
    report: dict[str, Any]
    table: DataFrame
    texts: dict[str, tuple[str, ...]]
    encoded: dict[str, list[str]]

    @property
    def numbers(self) -> tuple[str, ...]:
        """The model's columns of numbers: numbers, booleans as 0 and 1, and the parts of dates."""
        return tuple(name for one in self.columns if one.kind != "category" for name in one.columns)

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.columns if one.kind == "category")

    @property
    def features(self) -> tuple[str, ...]:
        return self.numbers + self.categories

    def part(self, name: str, most: int | None = None) -> pd.DataFrame:
        """Rows of one of PARTS in an order that does not depend on Spark: all, or the `most` with the smallest hashes.

        Numbers are float32 (NaN where missing), categories are text ("" where missing). `__hash` in [0, 1) tells rows
        apart by their features.
        """
        table = self.table.where(F.col(PART) == name).drop(PART)
        if most is not None and self.report["parts"][name] > most:
            table = table.orderBy(HASH, *[F.col(f"`{name}`") for name in table.columns]).limit(most)
        frame: pd.DataFrame = table.toPandas()
        frame = frame.sort_values([HASH, *frame.columns.drop(HASH)], ignore_index=True)
        frame[list(self.numbers)] = frame[list(self.numbers)].astype("float32")
        return frame

    def rows(self, name: str, labels: Sequence[str], most: int | None = None) -> Rows:
        """Rows of a part as a model takes them; `labels` are those of classification, or none."""
        frame, index = self.part(name, most), {label: position for position, label in enumerate(labels)}
        given = frame[self.target]
        target = given.map(index).to_numpy(np.int64) if labels else given.to_numpy(np.float64)
        return Rows(frame[list(self.features)], target, given, frame[HASH].to_numpy())

    def design_effect(self) -> float:
        """How many rows stand for one independent row: 1 without repeated rows, else the mean number of rows that a row
        shares its hash with (Kish 1965, Survey Sampling, section 8.2)."""
        ((found,),) = self.table.groupBy(HASH).count().agg(F.sum(F.col("count") ** 2) / F.sum("count")).collect()
        return float(found)

    def labels(self) -> list[str]:
        """The different texts of the target in the training part, which has all of them, in order."""
        found = self.table.where(F.col(PART) == "train").select(f"`{self.target}`").distinct().collect()
        return sorted(row[0] for row in found)


def check(config: Config) -> dict[str, Any]:
    """Reads and checks the table; returns what was found. Raises DataError."""
    source = find(config.data)
    spark = session(f"check {config.name}")
    labelled = prediction_log.labelled_rows(spark, config.name) if config.data.feedback else None
    checked = load(spark, source, config, labelled)
    log.info("usable: %s rows, %s features", checked.report["rows_used"], len(checked.columns))
    return {"status": "ok", "data_digest": source.digest, "synthetic": source.synthetic, **checked.report}


def load(spark: SparkSession, source: Source, config: Config, labelled: Labelled | None = None) -> Dataset:
    """Reads, types, checks, adds `labelled` rows, splits. Raises DataError with all that is wrong with the columns."""
    check_rows(source)
    spark.catalog.clearCache()  # of an earlier load in this session: Spark knows a file by its path, not its content
    table, data, findings = cells.read(spark, source), config.data, Findings(source)
    checks.names(table.columns, config, findings)
    names = [name for name in table.columns if name not in data.ignore or name == config.split.column]
    types = dict(table.dtypes)
    labels = data.target if data.task == "classification" else None
    typed = frozenset(name for name in names if types[name] in cells.EXACT_NUMBERS and name != labels)
    found = Cells(table, typed, Reading.of(data))
    log.info("%s: looking at %d columns", source.name, len(names))
    summaries = cells.survey(found, names, labels, config.checks.ranges)
    kinds = columns_of(summaries, config, findings)
    splitter = kinds.get(str(config.split.column))
    if config.split.by == "time" and splitter and splitter.kind not in ("date", "number"):
        findings.refuse(f"column '{splitter.name}' (split.column) is neither a date nor a number", "Name another one.")
    if not labelled:
        checks.before_split(summaries[data.target], config, findings)
    findings.settle()
    columns = tuple(kinds[name] for name in names if name in kinds and name not in data.ignore)
    rows = summaries[data.target].present + summaries[data.target].missing
    spark.conf.set("spark.sql.shuffle.partitions", max(2, rows // ROWS_A_PARTITION))
    usable, used, set_aside = _Reader(columns, splitter, config, summaries).usable(found, labelled)
    features = [name for one in columns for name in one.columns]
    parted, split_test = _parted(usable, features, config)
    counts, dropped = _counts(parted, features, config), 0
    repeated = int(counts["rows"].sum() - counts["different"].sum())
    if data.duplicates == "drop":
        # Repeated rows share a hash. Brought together by it, they are told apart in partitions that fit into memory;
        # Spark alone would first look for them in each file's own rows, in a hash map of all of these.
        parted = parted.repartition(HASH).dropDuplicates([*features, data.target, HASH]).cache()
        before, counts = counts, _counts(parted, features, config)
        if len(before) and (moved := checks.moved(before, counts)):
            findings.refuse(
                f"data.duplicates: drop moves {moved}: repeated rows are no accident here",
                "Set data.duplicates: keep (the default), which keeps repeated rows on one side of the split.",
            )
        dropped = int(before["rows"].sum() - counts["rows"].sum())
    _log_missing(summaries)
    of_part = counts.groupby("part")["rows"].sum()
    report: dict[str, Any] = {
        "file": source.name,
        "rows": rows,
        "rows_without_target": summaries[data.target].missing,
        "rows_repeated": repeated,
        "rows_dropped": dropped,
        "rows_used": int(counts["rows"].sum()),
        "missing": {one.name: summaries[one.name].missing for one in columns if summaries[one.name].missing},
        **{key: sorted(one.name for one in columns if one.kind == kind) for key, kind in KINDS.items()},
        "parts": {part: int(of_part.get(part, 0)) for part in PARTS},
        "split_test": split_test,
    }
    if labelled:
        log.info("feedback: %d labelled rows, %d set aside", used, set_aside)
        report |= {"feedback_rows": used, "feedback_set_aside": set_aside, "feedback_digest": labelled.digest}
    checks.rows(report, config, findings)
    if labels and not findings.problems:
        checks.rare_labels(data.target, counts, config.search.folds, findings)
    findings.settle()
    categories = [one.name for one in columns if one.kind == "category"]
    common = {name: sorted(text for text, _ in summaries[name].texts.most_common(MOST_ENCODED)) for name in categories}
    encoded = {name: [""][: summaries[name].missing] + texts for name, texts in common.items()}
    dataset = Dataset(columns, found.reading, data.target, report, parted, _texts(parted, categories), encoded)
    report["leaks"] = _leaks(dataset, bool(labels))
    report["warnings"] = [*findings.warnings, *report["leaks"]]
    for warning in report["warnings"]:
        log.warning("%s", warning)
    return dataset


def _log_missing(summaries: Mapping[str, Summary]) -> None:
    for name, summary in summaries.items():
        if summary.words:
            words = ", ".join(f"'{word}' ({count:,})" for word, count in summary.words.most_common())
            log.info("column '%s': counted as missing: %s", name, words)


@dataclass(frozen=True)
class _Reader:
    """Makes the model's columns of a table's cells, from what the survey found in them."""

    columns: Sequence[Column]
    splitter: Column | None
    config: Config
    summaries: Mapping[str, Summary]

    def usable(self, found: Cells, labelled: Labelled | None) -> tuple[DataFrame, int, int]:
        """The rows that have a target, in the model's columns; how many labelled ones are below them, and how many were
        set aside: a client's slip must not stop the training."""
        target, ranges = self.config.data.target, self.config.checks.ranges
        values = self._values(found, self.summaries)
        rows = found.table.select(*[value.alias(name) for name, value in values.items()])
        rows = rows.where(F.col(f"`{target}`").isNotNull())
        if not labelled:
            return rows, 0, 0
        names = [one.name for one in self.columns]
        told = labelled.rows.select(
            *[F.col("row")[name].alias(name) for name in names],
            F.col("actual").alias(target),
            F.forall(F.array(*map(F.lit, names)), lambda name: F.map_contains_key("row", name)).alias(USABLE),
        )
        # The log holds numbers as JSON writes them, whatever the table's own way.
        read = Cells(told, frozenset(), replace(found.reading, decimal=".", thousands=""))
        values = self._values(read, {})
        numbers = {one.name for one in self.columns if one.kind == "number"}
        numbers |= {target} if self.config.data.task == "regression" else set()

        def right(name: str, value: Expression) -> Expression:
            return value.between(*ranges.get(name, (-LARGEST, LARGEST))) if name in numbers else value.isNotNull()

        fits = [F.col(USABLE), right(target, values[target])]
        for one in self.columns:  # a gap only where the file has gaps too
            gap = F.lit(self.summaries[one.name].missing > 0)
            fits.append(F.when(read.text(one.name).isNull(), gap).otherwise(right(one.name, values[one.columns[0]])))
        usable = F.coalesce(reduce(and_, fits), F.lit(False)).alias(USABLE)
        read_rows = told.select(usable, *[value.alias(name) for name, value in values.items()]).cache()
        used = read_rows.where(USABLE)
        return rows.unionByName(used.drop(USABLE)), used.count(), read_rows.count() - used.count()

    def _values(self, read: Cells, summaries: Mapping[str, Summary]) -> dict[str, Expression]:
        """The model's columns (numbers double, categories text, "" for none), the target, and what a row is split by:
        its group, or its time as a number."""
        values: dict[str, Expression] = {}
        for one in self.columns:
            if one.kind == "number":
                values[one.name] = read.number(one.name, summaries.get(one.name))
            elif one.kind == "boolean":
                values[one.name] = cells.boolean(read.text(one.name))
            elif one.kind == "category":
                values[one.name] = F.coalesce(read.text(one.name), F.lit(""))
            else:
                parts = cells.date(read.text(one.name), one.format)
                values |= {name: parts[part] for name, part in zip(one.columns, one.parts, strict=True)}
        target, splitter, regression = self.config.data.target, self.splitter, self.config.data.task == "regression"
        values[target] = read.number(target, summaries.get(target)) if regression else read.text(target, words=False)
        if splitter and self.config.split.by == "group":
            values[PLACE] = read.text(splitter.name)
        elif splitter and splitter.kind == "number":
            values[PLACE] = read.number(splitter.name, summaries.get(splitter.name))
        elif splitter:
            parts = cells.date(read.text(splitter.name), splitter.format)
            values[PLACE] = parts["days"] * 86400 + parts["seconds"]
        return values


def _parted(rows: DataFrame, features: Sequence[str], config: Config) -> tuple[DataFrame, float]:
    """The rows with their hash and part, and the hash below which a row is for the test.

    The hash is of the features alone: wines measured alike never straddle two parts, and a row keeps its side for ever.
    With split.by: group it is that of the group. With split.by: time the last rows are for the test, and those before
    them for calibration.
    """
    split = config.split
    content = _content(features, split.seed)
    if split.by == "group":
        content = F.coalesce(F.concat_ws("\x1f", F.lit(str(split.seed)), F.lit("group"), F.col(PLACE)), content)
    digest = F.sha2(content, 256)
    hashed = rows.withColumn(HASH, F.conv(F.substring(digest, 1, 12), 16, 10).cast("double") / float(16**12)).cache()
    limits = split.test, split.test + split.calibration
    if split.by == "time":
        found = hashed.agg(F.percentile(F.col(PLACE), F.array(*[F.lit(1 - limit) for limit in limits]))).first()
        last, before = found[0] if found and found[0] else (0.0, 0.0)
        part = F.when(F.col(PLACE) >= last, "test").when(F.col(PLACE) >= before, "calibration").otherwise("train")
    else:
        part = _part_of_hash(limits)
        if hashed.select(part).distinct().count() < len(PARTS):
            limits = _limits_of_few(hashed, limits)
            part = _part_of_hash(limits)
    return hashed.withColumn(PART, part).drop(PLACE), limits[0]


def _content(features: Sequence[str], seed: int) -> Expression:
    """All features of a row as one text."""
    texts = "".join(f", coalesce(cast(`{name}` AS string), '')" for name in sorted(features))
    return F.expr(f"concat_ws('\x1f', '{seed}'{texts})")


def _part_of_hash(limits: tuple[float, float]) -> Expression:
    return F.when(F.col(HASH) < limits[0], "test").when(F.col(HASH) < limits[1], "calibration").otherwise("train")


def _limits_of_few(hashed: DataFrame, shares: tuple[float, float]) -> tuple[float, float]:
    """Hashes below which rows are for the test and for calibration, where a part would be empty otherwise: those of the
    few different rows (or groups) that come nearest to the shares, and at least one of them in each part."""
    found = hashed.groupBy(HASH).count().orderBy(HASH).collect()
    hashes, below = np.array([row[0] for row in found]), np.cumsum([row[1] for row in found])
    if len(hashes) < len(PARTS):
        return shares
    first, second = np.searchsorted(below, np.array(shares) * below[-1]) + 1
    first = min(first, len(hashes) - 2)
    second = min(max(second, first + 1), len(hashes) - 1)
    middles = (hashes[:-1] + hashes[1:]) / 2
    return float(middles[first - 1]), float(middles[second - 1])


def _counts(table: DataFrame, features: Sequence[str], config: Config) -> pd.DataFrame:
    """By part and label ("" for regression): rows, different rows, the target's mean and its mean square."""
    target, labels = F.col(f"`{config.data.target}`"), config.data.task == "classification"
    value, label = (F.lit(0.0), target) if labels else (target, F.lit(""))
    measures = {"rows": F.count(F.lit(1)), "mean": F.avg(value), "square": F.avg(value * value)}
    measures["different"] = F.countDistinct(F.xxhash64(_content(features, config.split.seed), target))
    grouped = table.groupBy(F.col(PART).alias("part"), label.alias("label"))
    found: pd.DataFrame = grouped.agg(*[measure.alias(name) for name, measure in measures.items()]).toPandas()
    return found


def _texts(table: DataFrame, categories: list[str]) -> dict[str, tuple[str, ...]]:
    wanted = [F.collect_set(F.nullif(F.col(f"`{name}`"), F.lit(""))) for name in categories]
    found = table.agg(*wanted).first() or () if wanted else ()
    return {name: tuple(sorted(texts)) for name, texts in zip(categories, found, strict=True)}


def _leaks(dataset: Dataset, labels: bool) -> list[str]:
    """Looked for in the rows held back: those of training may be too many for one machine."""
    held = [dataset.part(name, ROWS_LOOKED_AT) for name in ("test", "calibration")]
    features = {name: one.name for one in dataset.columns for name in one.columns}
    return list(checks.leaks(pd.concat(held, ignore_index=True), features, dataset.target, labels).values())
