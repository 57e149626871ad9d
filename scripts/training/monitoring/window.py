"""Measures one window of traffic in Spark: rows by the bins of each column's histogram, losses where truth is known."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from training.config import Config
from training.data import cells, prediction_log
from training.evaluation.metrics import SMALLEST_PROBABILITY
from training.model.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, NumberFeature, TypedFeature
from training.monitoring import drift
from training.monitoring.drift import MISSING, OUTSIDE, PREDICTIONS, UNSEEN, Histogram, LiveError
from training.monitoring.policy import Window


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
class Feedback:
    """The feedback that came within a span: `rows` with a loss, its mean and standard deviation, and the share of true
    values within the interval (regression). What did not count: feedback on `other_versions`, `unmatched` by any
    prediction, `unusable` as a value."""

    rows: int
    mean: float
    spread: float
    coverage: float | None
    other_versions: int
    unmatched: int
    unusable: int


@dataclass(frozen=True)
class Statistics:
    """A window with all that was found in it. `unreadable` lines of the log were left out."""

    window: Window
    columns: Sequence[drift.Column]
    error: LiveError | None
    feedback: Feedback
    unreadable: int


def measure(
    spark: SparkSession, config: Config, contract: Contract, span: Span, since: datetime | None
) -> Statistics | int:
    """The statistics of the traffic in `span`, or how many predictions it holds where these are too few for a window.

    `since` is when the version went into production: feedback may come on any prediction made from then on.
    """
    spark.catalog.clearCache()  # of an earlier window in this session: Spark knows a file by its path, not its content
    name, rules, metric = config.name, config.monitor, config.gate_metric
    predictions, torn = prediction_log.read(spark, name, "predictions", span.start)
    told, torn_too = prediction_log.read(spark, name, "feedback", span.start)
    ours = predictions.where((F.col("version") == span.version) & span.holds("at"))
    count, first = ours.agg(F.count(F.lit(1)), F.min(F.date_format("at", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"))).collect()[0]
    if count < rules.min_rows:
        return int(count)
    known = histograms(contract)
    counted = count_bins(ours, known)
    if not told.isEmpty():
        predictions, _ = prediction_log.read(spark, name, "predictions", since)
    half_width = contract.interval.half_width if contract.interval else None
    feedback = measure_feedback(predictions, told, span, metric, half_width)
    error = None
    if feedback.rows > 1 and metric in contract.metrics:
        found, tested = (feedback.rows, feedback.mean, feedback.spread), contract.metrics[metric]
        error = drift.live_error(metric, *found, tested, rules.max_error_growth)
    columns = drift.compare(known, counted, rules.psi)
    start = span.start or datetime.fromisoformat(first)
    content = [name, span.version, str(start), str(span.end), counted, str(feedback)]
    window = Window(
        id=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16],
        version=span.version,
        start=start,
        end=span.end,
        rows=count,
        drifted=tuple(column.name for column in columns if column.drifted),
        error_worse=bool(error and error.worse),
    )
    return Statistics(window, columns, error, feedback, torn + torn_too)


def histograms(contract: Contract) -> list[Histogram]:
    """Every feature's histogram out of a contract, then that of the predictions (or of the surest probability)."""
    kept = contract.prediction_histogram
    bounds = (kept.edges[0], kept.edges[-1]) if kept.edges else (-math.inf, math.inf)
    predictions = Histogram(PREDICTIONS, tuple(kept.counts), 0, tuple(kept.edges), (), *bounds)
    every = [*map(_histogram, contract.features), predictions]
    return [replace(one, effective=one.rows / contract.design_effect) for one in every]


def _histogram(feature: TypedFeature) -> Histogram:
    counts, missing, name = tuple(feature.histogram.counts), feature.histogram.missing, feature.name
    match feature:
        case CategoryFeature():
            return Histogram(name, counts, missing, categories=tuple(feature.categories), kind="category")
        case BooleanFeature():
            words = tuple(feature.true), tuple(feature.false)
            return Histogram(name, counts, missing, categories=("false", "true"), kind="boolean", words=words)
        case DateFeature():
            edges = tuple(feature.histogram.edges)
            return Histogram(name, counts, missing, edges, (), edges[0], edges[-1], "date", date_format=feature.format)
        case NumberFeature():
            return Histogram(name, counts, missing, tuple(feature.histogram.edges), (), feature.low, feature.high)


def count_bins(predictions: DataFrame, known: Sequence[Histogram]) -> list[dict[int, int]]:
    """For every histogram of `known`: rows by number of the bin, or MISSING, UNSEEN, OUTSIDE.

    A number beyond training's range counts in the outermost bin and once more as OUTSIDE.
    """
    structs = []
    for index, histogram in enumerate(known):
        bins = _category_bins(histogram) if histogram.categories else _number_bins(histogram)
        structs += [F.struct(F.lit(index).alias("column"), bin_.alias("bin")) for bin_ in bins]
    counted: list[dict[int, int]] = [{} for _ in known]
    exploded = predictions.select(F.explode(F.array(*structs)).alias("cell")).select("cell.*")
    for row in exploded.dropna().groupBy("column", "bin").count().collect():
        counted[row["column"]][row["bin"]] = row["count"]
    return counted


def measure_feedback(
    predictions: DataFrame, told: DataFrame, span: Span, metric: str, half_width: float | None
) -> Feedback:
    """The feedback that came within the span, on whichever prediction of this version."""
    loss = _loss(metric)
    truths = prediction_log.labelled(predictions, told).where(span.holds("actual_at"))
    ours = F.col("version") == span.version
    within = F.abs(_number(F.col("actual")) - _number(F.col("prediction"))) <= F.lit(half_width)
    [found] = truths.agg(
        F.count_if(ours & loss.isNotNull()).alias("rows"),
        F.coalesce(F.avg(F.when(ours, loss)), F.lit(0.0)).alias("mean"),
        F.coalesce(F.stddev_samp(F.when(ours, loss)), F.lit(0.0)).alias("spread"),
        F.avg(F.when(ours, within.cast("double"))).alias("coverage"),
        F.count_if(~ours).alias("other_versions"),
        F.count_if(ours & loss.isNull()).alias("unusable"),
    ).collect()
    unmatched = told.where(span.holds("at")).join(predictions, "id", "left_anti")
    return Feedback(**found.asDict(), unmatched=unmatched.select("id").distinct().count())


def _number(text: Column) -> Column:
    return text.try_cast("double")


def _number_bins(histogram: Histogram) -> list[Column]:
    """Compared in float32, as the training rows were counted."""
    cell = F.col("row")[histogram.name]
    value = cells.date(cell, histogram.date_format)["days"] if histogram.kind == "date" else _number(cell)
    if histogram.name == PREDICTIONS:  # a label's histogram is that of the surest probability
        value = F.coalesce(F.array_max(F.map_values("probabilities")), _number(F.col("prediction")))
    value = value.cast("float").cast("double")
    low, *inner, high = (float(np.float32(x)) for x in (histogram.low, *histogram.edges[1:-1], histogram.high))
    bin_ = sum((F.when(value >= edge, 1).otherwise(0) for edge in inner), F.lit(0))
    outside = F.when((value < low) | (value > high), OUTSIDE)
    return [F.when(value.isNull() | F.isnan(value), MISSING).otherwise(bin_), outside]


def _category_bins(histogram: Histogram) -> list[Column]:
    value = F.col("row")[histogram.name]
    if histogram.kind == "boolean":
        true, false = histogram.words  # the log has true and false of JSON
        truth = cells.boolean(value, [*true, "true", "1.0"], [*false, "false", "0.0"])
        value = F.when(truth == 1, "true").when(truth == 0, "false").otherwise(value)
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
