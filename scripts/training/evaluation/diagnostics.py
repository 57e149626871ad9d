"""How well figures are known, and where a model holds: bootstrap, groups, reliability, permutation importance.

Pure functions of arrays, in the shapes of `metrics`. All intervals hold the truth in 95 of 100 repetitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.evaluation import bootstrap, metrics
from training.evaluation.metrics import Array

Predict = Callable[[pd.DataFrame], Array]

CONFIDENCE = 0.95
RESAMPLES, FEWEST_RESAMPLES = 1000, 200
MOST_RESAMPLED = 500_000_000  # predictions to look at in all for the intervals
REPEATS = 5
MOST_PERMUTED = 60_000  # rows to predict in all for the permutation importance
FEWEST_PERMUTED = 200  # rows of each feature and repeat, however many features there are


@dataclass(frozen=True)
class Estimate:
    """A value with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """Rows of one segment, and the metric on them."""

    name: str
    rows: int
    metric: Estimate


@dataclass(frozen=True)
class Bin:
    """About a tenth of the rows, by what was predicted: its mean, and what was seen there.

    Classification: the mean probability of the chosen label, and the share in which it was right (two labels: of the
    second label, and the share that has it). Regression: the mean prediction, and the share that the interval covers.
    """

    rows: int
    predicted: float
    seen: Estimate


@dataclass(frozen=True)
class Importance:
    """(features,) growth of `metrics.loss` when a feature is shuffled: mean and standard deviation of the repeats."""

    names: tuple[str, ...]
    mean: Array
    spread: Array


def estimates(
    actual: Array, predicted: Array, seed: int, clusters: Array | None = None, chosen: Array | None = None
) -> dict[str, Estimate]:
    """The usual figures of the task that are defined for these rows, each with its interval by the percentile bootstrap
    (Efron and Tibshirani 1993, chapter 13), in which the rows of one cluster are drawn together."""
    names = metrics.FIGURES["classification" if predicted.ndim == 2 else "regression"]
    figures = [metrics.scorer(name, actual, predicted, chosen) for name in names]
    found = zip(names, _between(figures, len(actual), clusters, seed, _times(predicted)), strict=True)
    return {name: estimate for name, estimate in found if not np.isnan(estimate.value)}


def _between(
    figures: Sequence[metrics.Scorer], rows: int, clusters: Array | None, seed: int, times: int
) -> list[Estimate]:
    resamples = bootstrap.resamples(rows, clusters, seed, times)
    drawn = np.array([[figure(weights) for figure in figures] for weights in resamples])
    tail, found = (1 - CONFIDENCE) / 2, []
    for figure, values in zip(figures, drawn.T, strict=True):
        defined = values[~np.isnan(values)]
        low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (np.nan, np.nan)
        found.append(Estimate(figure(np.ones(rows)), float(low), float(high)))
    return found


def _times(predicted: Array) -> int:
    """Fewer resamples of very many rows and labels, so that the time stays bounded."""
    return int(np.clip(MOST_RESAMPLED // predicted.size, FEWEST_RESAMPLES, RESAMPLES))


def by_group(
    metric: str,
    actual: Array,
    predicted: Array,
    groups: Array,
    seed: int,
    clusters: Array | None = None,
    chosen: Array | None = None,
) -> tuple[Group, ...]:
    """The metric in each group of rows, the largest group first."""
    numbers, found = metrics.clustered(clusters, len(actual)), []
    for name, rows in sorted(pd.Series(groups).value_counts().items(), key=lambda item: (-item[1], item[0])):
        own = groups == name
        figure = metrics.scorer(metric, actual[own], predicted[own], None if chosen is None else chosen[own])
        (estimate,) = _between([figure], int(rows), numbers[own], seed, _times(predicted))
        found.append(Group(str(name), int(rows), estimate))
    return tuple(found)


def reliability(probabilities: Array, actual: Array, clusters: Array | None = None) -> tuple[Bin, ...]:
    """What the probabilities say beside what happened (DeGroot and Fienberg 1983), in bins of about as many rows."""
    if probabilities.shape[1] == 2:
        return _bins(probabilities[:, 1], actual == 1, clusters)
    return _bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == actual, clusters)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error (Guo et al. 2017, equation 3), over bins of about as many rows."""
    rows = sum(one.rows for one in bins)
    return float(sum(one.rows * abs(one.seen.value - one.predicted) for one in bins) / rows)


def coverage(actual: Array, predicted: Array, half_width: float, clusters: Array | None = None) -> tuple[Bin, ...]:
    """How often the interval holds the truth, by what is predicted."""
    return _bins(predicted, np.abs(actual - predicted) <= half_width, clusters)


def _bins(predicted: Array, seen: Array, clusters: Array | None) -> tuple[Bin, ...]:
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, metrics.BINS + 1)))
    place = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, max(len(edges) - 2, 0))
    found, numbers = [], metrics.clustered(clusters, len(seen))
    for number in np.unique(place):
        own = place == number
        found.append(Bin(int(own.sum()), float(predicted[own].mean()), share(seen[own], numbers[own])))
    return tuple(found)


def share(seen: Array, clusters: Array | None = None) -> Estimate:
    """The share of True, with Wilson's interval (Wilson 1927).

    Rows of one cluster may all be alike, so clusters count, the larger the less: (sum of sizes)² / sum of their
    squares (Kish 1965, section 8.2).
    """
    sizes = np.bincount(metrics.clustered(clusters, len(seen))).astype(np.float64)
    rows, value, z = float(sizes.sum() ** 2 / np.square(sizes).sum()), float(np.mean(seen)), 1.96
    middle = (value + z**2 / (2 * rows)) / (1 + z**2 / rows)
    reach = z / (1 + z**2 / rows) * np.sqrt(value * (1 - value) / rows + z**2 / (4 * rows**2))
    return Estimate(value, float(max(0.0, middle - reach)), float(min(1.0, middle + reach)))


def importance(metric: str, actual: Array, features: pd.DataFrame, predict: Predict, seed: int) -> Importance:
    """By how much the loss grows when one feature's values are shuffled (Breiman 2001, section 10), REPEATS times.

    With many features only some of the rows are used, evenly spaced, so that the time stays bounded.
    """
    generator, names = np.random.default_rng(seed), [str(name) for name in features.columns]
    most = max(FEWEST_PERMUTED, MOST_PERMUTED // (REPEATS * len(names)))
    kept = np.unique(np.linspace(0, len(actual) - 1, min(most, len(actual))).astype(int))
    features, actual = features.iloc[kept], actual[kept]
    base = metrics.loss(metric, actual, predict(features))
    copies, rows = pd.concat([features] * REPEATS, ignore_index=True), len(actual)
    growth = []
    for name in features.columns:
        column = features[name].to_numpy()
        shuffled = np.concatenate([generator.permutation(column) for _ in range(REPEATS)])
        predicted = predict(copies.assign(**{str(name): shuffled}))
        parts = [predicted[start : start + rows] for start in range(0, REPEATS * rows, rows)]
        growth.append([metrics.loss(metric, actual, part) - base for part in parts])
    return Importance(tuple(names), np.mean(growth, axis=1), np.std(growth, axis=1, ddof=1))
