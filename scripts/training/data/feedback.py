"""Predictions whose truth arrived later become rows of the training table, where data.feedback asks for it.

They pass the checks of the file's rows, but one that does not is set aside and counted: a client's slip must not stop
the training. They are split by the same hash, so the rows held back for the gate hold some of them too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce
from operator import and_

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from training.config import Config
from training.data import prediction_log


@dataclass(frozen=True)
class Labelled:
    """`rows`: row (feature to text) and actual (text). `digest` names their content, whatever the order."""

    rows: DataFrame
    digest: str


def read(spark: SparkSession, config: Config) -> Labelled:
    """The feedback until a moment ago. What arrives later, also on the same prediction, changes nothing here."""
    until = datetime.now(UTC) - prediction_log.SETTLING
    found = prediction_log.read(spark, config.name)
    settled = replace(found, feedback=found.feedback.where(F.col("at") <= F.lit(until)))
    rows = prediction_log.labelled(settled).select("row", "actual")
    cells = F.map_from_entries(F.array_sort(F.map_entries("row")))
    content = F.sha2(F.to_json(F.struct(cells.alias("row"), "actual"), {"ignoreNullFields": "false"}), 256)
    digest = rows.agg(F.sha2(F.concat_ws("", F.array_sort(F.collect_list(content))), 256)).collect()
    return Labelled(rows, digest[0][0])


def join(
    table: DataFrame, labelled: Labelled, values: Mapping[str, Column], fits: Sequence[Column]
) -> tuple[DataFrame, int, int]:
    """`table` with the labelled rows below it, whose columns are `values`; how many these are, and how many were set
    aside, because they lack a feature or one of `fits` does not hold."""
    usable = reduce(and_, (F.coalesce(condition, F.lit(False)) for condition in fits))
    rows = labelled.rows.select(usable.alias("__usable"), *[value.alias(name) for name, value in values.items()])
    rows = rows.cache()
    arrived, used = rows.count(), rows.where("__usable").count()
    return table.unionByName(rows.where("__usable").drop("__usable")), used, arrived - used
