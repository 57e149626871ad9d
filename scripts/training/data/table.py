"""A file becomes typed, checked, split tables.

read      cells -> numbers and categories, by what the cells hold
check     missing values, ranges, rows; each failure names file, row, column, expected, found
split     by a hash of the row's features: repeated rows fall on one side, and a row keeps its side for ever
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training.config import Config
from training.data import cells, checks, feedback
from training.data.checks import as_number
from training.data.feedback import Joined, Labelled
from training.data.files import Source, check_rows, find
from training.data.spark import session
from training.errors import DataError

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]

PARTS = ("train", "calibration", "test")
HASH, PART = "__hash", "__part"
ROWS_A_PARTITION = 200_000  # of a shuffle: a few dozen megabytes


@dataclass(frozen=True)
class Rows:
    """Rows of one part in memory: `features` in their order, the target as numbers (label indices for classification)
    and as the file has it, and the hash, in [0, 1), that tells rows apart by their features."""

    features: pd.DataFrame
    target: Array
    given: pd.Series[Any]
    hash: Array

    @property
    def frame(self) -> pd.DataFrame:
        return self.features.assign(**{str(self.given.name): self.given})


@dataclass(frozen=True)
class Dataset:
    """A checked table: which columns are numbers, which are categories, and the rows with their part.

    `texts` are the different texts of each category column, in all parts, in order.
    """

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    target: str
    report: dict[str, Any]
    table: DataFrame
    texts: dict[str, tuple[str, ...]]

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
        """Rows of a part as a model takes them; `labels` are those of classification, or none. Raises DataError."""
        frame = self.part(name, most)
        if labels and not (known := frame[self.target].isin(labels)).all():
            log.warning("%d rows of %s have a label that training never saw; set aside", (~known).sum(), name)
            frame = frame[known].reset_index(drop=True)
        if frame.empty:
            raise DataError(f"the {name} part is empty", "Give more rows, or a larger share in split.")
        index = {label: position for position, label in enumerate(labels)}
        given = frame[self.target]
        target = given.map(index).to_numpy(np.int64) if labels else given.to_numpy(np.float64)
        return Rows(frame[list(self.features)], target, given, frame[HASH].to_numpy())

    def labels(self) -> list[str]:
        """The different texts of the target in the training part, in order. Raises DataError for fewer than two."""
        found = self.table.where(F.col(PART) == "train").select(f"`{self.target}`").distinct().collect()
        labels = sorted(row[0] for row in found)
        if len(labels) < 2:
            raise DataError(
                f"column '{self.target}': expected at least two labels, found {labels}", "Check data.target."
            )
        return labels


def check(config: Config) -> dict[str, Any]:
    """Reads and checks the table; gives what was found. Raises DataError."""
    source = find(config.data)
    spark = session(f"check {config.name}")
    checked = load(spark, source, config, feedback.read(spark, config) if config.data.feedback else None)
    log.info("usable: %s rows, %s features", checked.report["rows_used"], len(checked.features))
    return {"status": "ok", "data_digest": source.digest, "synthetic": source.synthetic, **checked.report}


def load(spark: SparkSession, source: Source, config: Config, labelled: Labelled | None = None) -> Dataset:
    """Reads, types, checks, adds `labelled` rows, cleans and splits. Raises DataError."""
    check_rows(source)
    spark.catalog.clearCache()  # of an earlier load in this session: Spark knows a file by its path, not its content
    table, target = cells.read(spark, source), config.data.target
    checks.columns(table.columns, source, config)
    names = [name for name in table.columns if name not in config.data.ignore]
    found = cells.of(table, source, names, target if config.data.task == "classification" else None)
    rows, profile = cells.profile(found, config)
    spark.conf.set("spark.sql.shuffle.partitions", max(2, rows // ROWS_A_PARTITION))
    numbers, categories = checks.types(found.table, source, config, profile, names)
    checks.missing(source, config, profile, rows, [name for name in names if name != target])
    numeric = numbers | ({target} if config.data.task == "regression" else set())
    checks.numbers(found.table, source, config, profile, numeric)
    typed = found.table.select(
        *[
            as_number(name).alias(name) if name in numeric else F.coalesce(F.col(f"`{name}`"), F.lit("")).alias(name)
            for name in names
        ]
    )
    kept = typed.where(F.col(f"`{target}`").isNotNull() & (F.col(f"`{target}`").cast("string") != ""))
    features = [name for name in names if name != target]
    gaps = {name: rows - profile[name]["present"] for name in features if profile[name]["present"] < rows}
    told = feedback.join(kept, labelled, config, numeric, set(gaps)) if labelled else Joined(kept, 0, 0)
    parted = _split(told.table, features, config)
    if config.data.duplicates == "drop":
        # Repeated rows share a hash. Brought together by it, they are told apart in partitions that fit into memory;
        # Spark alone would first look for them in each file's own rows, in a hash map of all of these.
        parted = parted.repartition(HASH).dropDuplicates()
    clean = parted.cache()
    counts = {row[PART]: row["count"] for row in clean.groupBy(PART).count().collect()}
    found.table.unpersist()
    used = sum(counts.values())
    report = {
        "file": source.name,
        "rows": rows,
        "rows_without_target": rows - profile[target]["present"],
        "rows_repeated": profile[target]["present"] + told.used - used,
        "rows_used": used,
        "missing": gaps,
        "numbers": sorted(numbers),
        "categories": sorted(categories),
        "parts": {part: counts.get(part, 0) for part in PARTS},
    }
    if labelled:
        log.info("feedback: %d labelled rows, %d set aside", told.used, told.set_aside)
        report |= {"feedback_rows": told.used, "feedback_set_aside": told.set_aside, "feedback_digest": labelled.digest}
    checks.rows(source, config, report)
    ordered = [name for name in names if name in numbers], [name for name in names if name in categories]
    return Dataset(tuple(ordered[0]), tuple(ordered[1]), target, report, clean, _texts(clean, ordered[1]))


def _texts(table: DataFrame, categories: list[str]) -> dict[str, tuple[str, ...]]:
    """The different texts of each column, in order."""
    wanted = [F.collect_set(F.nullif(F.col(f"`{name}`"), F.lit(""))) for name in categories]
    found = table.agg(*wanted).first() or () if wanted else ()
    return {name: tuple(sorted(texts)) for name, texts in zip(categories, found, strict=True)}


def _split(frame: DataFrame, features: list[str], config: Config) -> DataFrame:
    """Adds the row's hash and part. Only features enter the hash: wines measured alike never straddle two parts."""
    texts = [F.coalesce(F.col(f"`{name}`").cast("string"), F.lit("")) for name in sorted(features)]
    digest = F.sha2(F.concat_ws("\x1f", F.lit(str(config.split.seed)), *texts), 256)
    hashed = F.conv(F.substring(digest, 1, 12), 16, 10).cast("double") / float(16**12)
    test, calibration = config.split.test, config.split.test + config.split.calibration
    position = F.col(HASH)
    part = F.when(position < test, "test").when(position < calibration, "calibration").otherwise("train")
    return frame.withColumn(HASH, hashed).withColumn(PART, part)
