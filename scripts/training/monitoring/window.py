"""Measures one window of traffic in Spark: rows by the bins of each column's histogram, losses where truth is known."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
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

BOOLEANS = ("false", "true")  # the bins of a boolean's histogram

FAR_OFF = 20  # times the promised error: so far off, a truth is rather a slip than a rare case


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
    prediction, `unusable` as a value. The losses of `far_off` rows count as the largest that still counts in full."""

    rows: int
    mean: float
    spread: float
    coverage: float | None
    other_versions: int
    unmatched: int
    unusable: int
    far_off: int


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
    counted = count_bins(ours, contract.features, contract.prediction_histogram.edges)
    if not told.isEmpty():
        predictions, _ = prediction_log.read(spark, name, "predictions", since)
    half_width = contract.interval.half_width if contract.interval else None
    promised = contract.metrics.get(metric, 0.0)
    most = (
        (FAR_OFF * promised) ** (2 if metric == "rmse" else 1) if metric in ("mae", "rmse") and promised else math.inf
    )
    feedback = measure_feedback(predictions, told, span, metric, half_width, most)
    error = None
    if feedback.rows > 1 and metric in contract.metrics:
        found = (feedback.rows, feedback.mean, feedback.spread)
        error = drift.live_error(metric, *found, promised, rules.max_error_growth)
    columns = drift.compare(histograms(contract), counted, rules.psi, 1 / contract.design_effect)
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
    return [*map(_histogram, contract.features), Histogram(PREDICTIONS, tuple(kept.counts), 0, tuple(kept.edges))]


def _histogram(feature: TypedFeature) -> Histogram:
    kept = feature.histogram
    categories = BOOLEANS if feature.type == "boolean" else getattr(feature, "categories", ())
    edges = tuple(getattr(kept, "edges", ()))
    return Histogram(feature.name, tuple(kept.counts), kept.missing, edges, tuple(categories), feature.type)


def count_bins(
    predictions: DataFrame, features: Sequence[TypedFeature], edges: Sequence[float]
) -> list[dict[int, int]]:
    """For every feature, and for the predictions with these edges: rows by number of the bin, or MISSING, UNSEEN,
    OUTSIDE.

    A number beyond training's range counts in the outermost bin and once more as OUTSIDE.
    """
    # A label's histogram is that of the surest probability.
    surest = F.coalesce(F.array_max(F.map_values("probabilities")), _number(F.col("prediction")))
    columns = [*map(_bins, features), _number_bins(surest, edges)]
    structs = [
        F.struct(F.lit(index).alias("column"), bin_.alias("bin")) for index, bins in enumerate(columns) for bin_ in bins
    ]
    counted: list[dict[int, int]] = [{} for _ in columns]
    exploded = predictions.select(F.explode(F.array(*structs)).alias("cell")).select("cell.*")
    for row in exploded.dropna().groupBy("column", "bin").count().collect():
        counted[row["column"]][row["bin"]] = row["count"]
    return counted


def measure_feedback(
    predictions: DataFrame, told: DataFrame, span: Span, metric: str, half_width: float | None, most: float
) -> Feedback:
    """The feedback that came within the span, on whichever prediction of this version. No loss counts for more than
    `most` (winsorised): one wrong truth would hide the error of all others, or raise an alarm by itself."""
    whole = _loss(metric)
    loss = F.when(whole.isNotNull(), F.least(whole, F.lit(most)))  # `least` alone takes null for the other
    truths = prediction_log.labelled(predictions, told).where(span.holds("actual_at"))
    ours = F.col("version") == span.version
    within = F.abs(_number(F.col("actual")) - _number(F.col("prediction"))) <= F.lit(half_width)
    [found] = truths.agg(
        F.count_if(ours & whole.isNotNull()).alias("rows"),
        F.coalesce(F.avg(F.when(ours, loss)), F.lit(0.0)).alias("mean"),
        F.coalesce(F.stddev_samp(F.when(ours, loss)), F.lit(0.0)).alias("spread"),
        F.avg(F.when(ours, within.cast("double"))).alias("coverage"),
        F.count_if(~ours).alias("other_versions"),
        F.count_if(ours & whole.isNull()).alias("unusable"),
        F.count_if(ours & (whole > most)).alias("far_off"),
    ).collect()
    unmatched = told.where(span.holds("at")).join(predictions, "id", "left_anti")
    return Feedback(**found.asDict(), unmatched=unmatched.select("id").distinct().count())


def _number(text: Column) -> Column:
    return text.try_cast("double")


def _bins(feature: TypedFeature) -> list[Column]:
    cell = F.col("row")[feature.name]
    match feature:
        case CategoryFeature():
            return _category_bins(cell, feature.categories)
        case BooleanFeature():  # the log has true and false of JSON
            truth = cells.boolean(cell, [*feature.true, "true", "1.0"], [*feature.false, "false", "0.0"])
            return _category_bins(F.when(truth == 1, "true").when(truth == 0, "false").otherwise(cell), BOOLEANS)
        case DateFeature():
            return _number_bins(cells.date(cell, feature.format)["days"], feature.histogram.edges)
        case NumberFeature():
            return _number_bins(_number(cell), feature.histogram.edges)


def _number_bins(number: Column, edges: Sequence[float]) -> list[Column]:
    """Compared in float32, as the training rows were counted."""
    value, bounds = number.cast("float").cast("double"), [float(np.float32(edge)) for edge in edges]
    bin_ = sum((F.when(value >= edge, 1).otherwise(0) for edge in bounds[1:-1]), F.lit(0))
    outside = F.when((value < bounds[0]) | (value > bounds[-1]), OUTSIDE)
    return [F.when(value.isNull() | F.isnan(value), MISSING).otherwise(bin_), outside]


def _category_bins(value: Column, categories: Sequence[str]) -> list[Column]:
    place = F.array_position(F.array(*map(F.lit, categories)), value).cast("int") - 1
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
