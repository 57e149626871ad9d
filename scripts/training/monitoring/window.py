"""Counts a window of traffic in Spark: rows by the bins of each column's histogram, and losses where truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training.data.prediction_log import Traffic, labelled
from training.evaluation.metrics import SMALLEST_PROBABILITY
from training.monitoring.drift import MISSING, OUTSIDE, PREDICTIONS, UNSEEN, Histogram


@dataclass(frozen=True)
class Span:
    """Traffic of one version, after `start` (None: from the beginning) up to and including `end`."""

    version: str
    start: datetime | None
    end: datetime

    def holds(self, moment: str) -> Column:
        until = F.col(moment) <= F.lit(self.end)
        return until if self.start is None else until & (F.col(moment) > F.lit(self.start))


@dataclass(frozen=True)
class Truths:
    """The feedback that came within a span: `rows` with a loss, its mean and standard deviation, and the share of true
    values within the interval (regression). What did not count: feedback of `other_versions`, `unmatched` by any
    prediction, `unusable` as a value."""

    rows: int = 0
    mean: float = 0.0
    spread: float = 0.0
    coverage: float | None = None
    other_versions: int = 0
    unmatched: int = 0
    unusable: int = 0


def rows(traffic: Traffic, span: Span) -> tuple[int, datetime | None]:
    """How many predictions the span holds, and when the first was made."""
    found = _of_span(traffic, span).agg(F.count(F.lit(1)), F.min(F.date_format("at", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX")))
    count, first = found.collect()[0]
    return count, datetime.fromisoformat(first) if first else None


def count_bins(traffic: Traffic, span: Span, known: Sequence[Histogram]) -> list[dict[int, int]]:
    """For every histogram of `known`: rows by number of the bin, or MISSING, UNSEEN, OUTSIDE.

    A number beyond training's range counts in the outermost bin and once more as OUTSIDE.
    """
    cells = []
    for index, histogram in enumerate(known):
        bins = _category_bins(histogram) if histogram.categories else _number_bins(histogram)
        cells += [F.struct(F.lit(index).alias("column"), bin_.alias("bin")) for bin_ in bins]
    counted: list[dict[int, int]] = [{} for _ in known]
    exploded = _of_span(traffic, span).select(F.explode(F.array(*cells)).alias("cell")).select("cell.*")
    for row in exploded.dropna().groupBy("column", "bin").count().collect():
        counted[row["column"]][row["bin"]] = row["count"]
    return counted


def measure_truths(traffic: Traffic, span: Span, metric: str, half_width: float | None) -> Truths:
    """What the feedback says that came within the span, on whichever prediction of this version."""
    loss = _loss(metric)
    truths = labelled(traffic).where(span.holds("told"))
    ours = F.col("version") == span.version
    within = F.abs(_number(F.col("actual")) - _number(F.col("prediction"))) <= F.lit(half_width)
    found: dict[str, Any] = (
        truths.agg(
            F.count_if(ours & loss.isNotNull()).alias("rows"),
            F.avg(F.when(ours, loss)).alias("mean"),
            F.stddev_samp(F.when(ours, loss)).alias("spread"),
            F.avg(F.when(ours, within.cast("double"))).alias("coverage"),
            F.count_if(~ours).alias("other_versions"),
            F.count_if(ours & loss.isNull()).alias("unusable"),
        )
        .collect()[0]
        .asDict()
    )
    told = traffic.feedback.where(span.holds("at")).join(traffic.predictions, "id", "left_anti")
    return Truths(
        rows=found["rows"],
        mean=found["mean"] or 0.0,
        spread=found["spread"] or 0.0,
        coverage=found["coverage"],
        other_versions=found["other_versions"],
        unmatched=told.select("id").distinct().count(),
        unusable=found["unusable"],
    )


def _of_span(traffic: Traffic, span: Span) -> DataFrame:
    return traffic.predictions.where((F.col("version") == span.version) & span.holds("at"))


def _number(text: Column) -> Column:
    return text.try_cast("double")


def _number_bins(histogram: Histogram) -> list[Column]:
    value = _number(F.col("prediction")) if histogram.name == PREDICTIONS else _number(F.col("row")[histogram.name])
    if histogram.name == PREDICTIONS:  # a label's histogram is that of the surest probability
        value = F.coalesce(F.array_max(F.map_values("probabilities")), value)
    inner = histogram.edges[1:-1]
    bin_ = sum((F.when(value >= edge, 1).otherwise(0) for edge in inner), F.lit(0))
    outside = F.when((value < histogram.low) | (value > histogram.high), OUTSIDE)
    return [F.when(value.isNull(), MISSING).otherwise(bin_), outside]


def _category_bins(histogram: Histogram) -> list[Column]:
    value = F.col("row")[histogram.name]
    place = F.array_position(F.array(*map(F.lit, histogram.categories)), value).cast("int") - 1
    return [F.when(value.isNull() | (value == ""), MISSING).when(place < 0, UNSEEN).otherwise(place)]


def _loss(metric: str) -> Column:
    """The loss of one row, as `evaluation.losses` has it; null where the truth is not a value of its kind."""
    difference = _number(F.col("prediction")) - _number(F.col("actual"))
    if metric == "mae":
        return F.abs(difference)
    if metric == "rmse":
        return difference * difference
    if metric == "accuracy":
        return (F.col("prediction") != F.col("actual")).cast("double")
    chosen = F.coalesce(F.try_element_at("probabilities", F.col("actual")), F.lit(0.0))
    return -F.ln(F.greatest(chosen, F.lit(SMALLEST_PROBABILITY)))
