"""Metrics and the interval: pure functions of arrays.

"Predicted" is (rows,) values for regression and (rows, labels) probabilities for classification; "actual" is (rows,)
values or label indices; "chosen" is (rows,) the label indices that are served, by default those of the greatest
probability. Rows that repeat each other are one cluster: `clusters` (rows,) holds the same number for them.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pandas as pd

from training.config import MEANS, METRICS

Array = np.ndarray[Any, Any]
Scorer = Callable[[Array], float]

OF_CHOICE = ("accuracy", "balanced_accuracy", "f1")  # metrics of the label that is served, whatever its probability
FIGURES = METRICS | {"regression": (*METRICS["regression"], "r2")}
BINS = 10  # of every histogram: tenths of the rows
SMALLEST_PROBABILITY = 1e-7  # float32 probabilities of 0 would make the log loss infinite


def group_names(segment: "pd.Series[Any]") -> Array:
    """(rows,) the group of each row, as it is shown."""
    return np.asarray(segment.astype(str).replace({"": "(empty)", "nan": "(empty)"}))


def losses(metric: str, actual: Array, predicted: Array, chosen: Array | None = None) -> Array:
    """(rows,) loss of each row, whose mean is the metric up to `from_mean_loss`. Always: lower is better."""
    if metric == "mae":
        return np.asarray(np.abs(predicted - actual))
    if metric == "rmse":
        return np.asarray(np.square(predicted - actual))
    if metric == "accuracy":
        return np.asarray((predicted.argmax(axis=1) if chosen is None else chosen) != actual, dtype=np.float64)
    if metric == "log_loss":
        given = predicted[np.arange(len(actual)), actual.astype(np.int64)]
        return np.asarray(-np.log(np.clip(given, SMALLEST_PROBABILITY, 1.0)))
    raise ValueError(f"unknown metric {metric}")


def from_mean_loss(metric: str, mean: Any) -> Any:
    """The metric from the mean of `losses`, or from `loss`."""
    if metric == "rmse":
        return np.sqrt(mean)
    return mean if metric in ("mae", "log_loss") else 1.0 - mean


def loss(metric: str, actual: Array, predicted: Array) -> float:
    """How bad the predictions are, lower is better: the mean of `losses`, or what the metric lacks to 1."""
    if metric in MEANS:
        return float(losses(metric, actual, predicted).mean())
    return 1.0 - score(metric, actual, predicted)


def score(
    metric: str, actual: Array, predicted: Array, chosen: Array | None = None, labels: int | None = None
) -> float:
    """The metric on these rows; NaN where it is not defined, as for an area of rows with one label."""
    return scorer(metric, actual, predicted, chosen, labels)(np.ones(len(actual)))


def scorer(
    metric: str, actual: Array, predicted: Array, chosen: Array | None = None, labels: int | None = None
) -> Scorer:
    """The metric as a function of how often each row counts, (rows,): a bootstrap asks for it a thousand times.

    F1 and average precision are those of the second of two labels, and the mean over more labels; the area under the
    ROC curve is the mean over the labels, each against the others. `labels` are how many there are, where further
    columns of `predicted` stand for labels that are never right.
    """
    if metric in MEANS:
        lost = losses(metric, actual, predicted, chosen)
        return lambda weights: float(from_mean_loss(metric, np.average(lost, weights=weights)))
    if metric == "r2":
        return lambda weights: _r2(actual, predicted, weights)
    columns = predicted.shape[1]
    labels = labels or columns
    if metric in OF_CHOICE:
        cells = actual.astype(np.int64) * columns + (predicted.argmax(axis=1) if chosen is None else chosen)

        def of_choice(weights: Array) -> float:
            confusion = np.bincount(cells, weights, columns**2).reshape(columns, columns)
            return _balanced_accuracy(confusion) if metric == "balanced_accuracy" else _f1(confusion, labels)

        return of_choice
    if metric not in ("roc_auc", "average_precision"):
        raise ValueError(f"unknown metric {metric}")
    judged = [1] if labels == 2 else range(labels)
    curves = [_ranking(metric, actual == label, predicted[:, label]) for label in judged]

    def mean(weights: Array) -> float:
        found = np.array([curve(weights) for curve in curves])
        return float(np.mean(found[~np.isnan(found)])) if not np.isnan(found).all() else np.nan

    return mean


def _r2(actual: Array, predicted: Array, weights: Array) -> float:
    spread = np.average(np.square(actual - np.average(actual, weights=weights)), weights=weights)
    unexplained = np.average(np.square(predicted - actual), weights=weights)
    return float(1 - unexplained / spread) if spread > 0 else np.nan


def _f1(confusion: Array, labels: int) -> float:
    """van Rijsbergen 1979, chapter 7; the mean is over the labels that occur or were predicted."""
    occurs = confusion.sum(axis=0) + confusion.sum(axis=1)
    if labels == 2:
        return float(2 * confusion[1, 1] / occurs[1]) if occurs[1] else 0.0
    return float((2 * np.diag(confusion)[occurs > 0] / occurs[occurs > 0]).mean())


def _balanced_accuracy(confusion: Array) -> float:
    """The mean share of each label's rows that is right (Brodersen et al. 2010), over the labels that occur."""
    rows = confusion.sum(axis=1)
    return float((np.diag(confusion)[rows > 0] / rows[rows > 0]).mean())


def _ranking(metric: str, hit: Array, scores: Array) -> Scorer:
    """Area under the ROC curve (Hanley and McNeil 1982), P(a hit scores higher than another), or the average
    precision: the precision at each hit's score, averaged."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=np.nan))  # rows of one score are taken together
    hit = hit[order]

    def curve(weights: Array) -> float:
        weights = weights[order]
        hits, every = np.cumsum(weights * hit)[ends], np.cumsum(weights)[ends]
        others = every - hits
        if not (hits[-1] and others[-1]):
            return np.nan
        if metric == "roc_auc":
            return float(np.trapezoid(hits, others) + hits[0] * others[0] / 2) / float(hits[-1] * others[-1])
        precision = np.divide(hits, every, out=np.zeros_like(hits), where=every > 0)
        return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])

    return curve


def baseline(constant: Array, rows: int) -> Array:
    """What a model must beat to be one: always the training mean, (1,), or `baseline_shares` of the labels."""
    return np.full(rows, constant[0]) if len(constant) == 1 else np.tile(constant, (rows, 1))


def baseline_shares(counts: Array) -> Array:
    """(labels,) probabilities that noise cannot beat, from the rows of each label in training.

    The shares are smoothed towards the same probability for each label, by as many added rows as their own noise asks
    for (Hausser and Strimmer 2009, equations 4 and 8, a James-Stein estimator): of 30 labels with 10 rows each the raw
    shares predict worse than 1/30.
    """
    rows, labels = counts.sum(), len(counts)
    shares, even = counts / rows, 1 / labels
    distance = np.square(even - shares).sum() * (rows - 1)
    smoothing = min(1.0, (1 - np.square(shares).sum()) / distance) if distance > 0 else 1.0
    return np.asarray(smoothing * even + (1 - smoothing) * shares)


def clustered(clusters: Array | None, rows: int) -> Array:
    """(rows,) the number of each row's cluster, from 0; each row is its own where `clusters` is None."""
    if clusters is None:
        return np.arange(rows)
    different, numbers = np.unique(clusters, return_inverse=True)
    return np.arange(rows) if len(different) == rows else np.asarray(numbers)


def half_width(actual: Array, predicted: Array, coverage: float, clusters: Array | None = None) -> float:
    """Half-width of the split conformal interval (Lei et al. 2018, algorithm 2): a quantile of |residual|.

    The rows must be ones that the model was not fitted on, `fewest_rows` clusters at least. Clusters, not rows, are
    drawn independently: k of them have the rank that k rows would have (Dunn et al. 2023, section 3.1).
    """
    residuals = np.abs(actual - predicted)
    numbers = clustered(clusters, len(residuals))
    drawn = len(np.unique(numbers))
    reached = np.arange(1, len(residuals) + 1) * drawn / len(residuals)
    return float(np.sort(residuals)[reached >= _rank(drawn, coverage) - 1e-9][0])


def fewest_rows(coverage: float) -> int:
    """Rows of which the largest residual is the half-width; of fewer no interval has this coverage. 9 for 0.9."""
    return next(rows for rows in count(1) if _rank(rows, coverage) <= rows)


def _rank(rows: int, coverage: float) -> int:
    return int(np.ceil((rows + 1) * coverage))


def edges(values: Array, bins: int = BINS) -> Array:
    """Histogram edges near quantiles, so that every bin of the training data is filled about alike (as PSI wants).

    Inner edges lie half-way between neighbouring values: a value that differs by a rounding stays in its bin.
    """
    present = np.unique(values.astype(np.float64))
    chosen = np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, bins + 1), method="higher"))
    inner = chosen[1:] if len(chosen) <= bins else chosen[1:-1]  # few values: a bin for the highest one too
    halfway = (inner + present[np.searchsorted(present, inner) - 1]) / 2
    return np.unique(np.concatenate([present[:1], halfway, present[-1:]]))


def stored(edges: Array) -> list[float]:
    """The different float32 values of `edges` in their shortest decimal form, as a contract keeps them."""
    return [float(str(edge)) for edge in np.unique(edges.astype(np.float32))]
