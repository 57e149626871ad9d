"""Predictions whose truth was told later become rows of the training table, where data.feedback asks for it.

They pass the checks of the file's rows, but one that does not is set aside and counted: a client's slip must not stop
the training. They are split by the same hash, so the rows held back for the gate hold some of them too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from training.config import Config
from training.data import prediction_log

LARGEST = 3.4e38  # float32, in which the model computes


@dataclass(frozen=True)
class Labelled:
    """`rows`: row (feature to text) and actual (text). `digest` names their content, whatever the order."""

    rows: DataFrame
    digest: str


@dataclass(frozen=True)
class Joined:
    """A table with the labelled rows that could be used, how many these are, and how many were set aside."""

    table: DataFrame
    used: int
    set_aside: int


def read(spark: SparkSession, config: Config) -> Labelled:
    """What was told until a moment ago. What is told later, also anew on the same prediction, changes nothing here."""
    until = datetime.now(UTC) - prediction_log.SETTLING
    found = prediction_log.read(spark, config.name)
    told = replace(found, feedback=found.feedback.where(F.col("at") <= F.lit(until)))
    rows = prediction_log.labelled(told).select("row", "actual")
    cells = F.map_from_entries(F.array_sort(F.map_entries("row")))
    content = F.sha2(F.to_json(F.struct(cells.alias("row"), "actual"), {"ignoreNullFields": "false"}), 256)
    digest = rows.agg(F.sha2(F.concat_ws("", F.array_sort(F.collect_list(content))), 256)).collect()
    return Labelled(rows, digest[0][0])


def join(table: DataFrame, labelled: Labelled, config: Config, numbers: set[str], gaps: set[str]) -> Joined:
    """`table` (numbers as double, categories as text, "" for none) with the labelled rows below.

    `numbers` are its columns of numbers; `gaps` those where the file itself has missing values. A row is set aside that
    lacks a column, has a gap where the file has none, or a value of the wrong kind or out of checks.ranges.
    """
    target = config.data.target
    cells = {name: F.col("actual") if name == target else F.col("row")[name] for name in table.columns}
    fits = [_fits(cells[name], name in numbers, name in gaps, config.checks.ranges.get(name)) for name in cells]
    known = [F.map_contains_key("row", name) for name in cells if name != target]
    usable = F.lit(True)
    for condition in [*known, *fits]:
        usable = usable & F.coalesce(condition, F.lit(False))
    rows = labelled.rows.select(
        usable.alias("__usable"),
        *[
            cell.try_cast("double").alias(name) if name in numbers else F.coalesce(cell, F.lit("")).alias(name)
            for name, cell in cells.items()
        ],
    ).cache()
    told, used = rows.count(), rows.where("__usable").count()
    return Joined(table.unionByName(rows.where("__usable").drop("__usable")), used, told - used)


def _fits(cell: Column, number: bool, gap: bool, bounds: tuple[float, float] | None) -> Column:
    empty = cell.isNull() | (F.trim(cell) == "")
    value = cell.try_cast("double")
    low, high = bounds or (-LARGEST, LARGEST)
    right = value.between(low, high) if number else F.lit(True)
    return F.when(empty, F.lit(gap)).otherwise(right)
