"""How well figures are known, and where a model holds: bootstrap, groups, reliability, permutation importance.

Pure functions of arrays, in the shapes of `evaluation`. All intervals hold the truth in 95 of 100 repetitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from training.evaluation import metrics

Array = np.ndarray[Any, Any]
Predict = Callable[[pd.DataFrame], Array]

CONFIDENCE = 0.95
RESAMPLES = 1000
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
    """(features,) growth of the mean loss when a feature is shuffled: mean over the repeats, and standard deviation."""

    names: tuple[str, ...]
    mean: Array
    spread: Array


def estimates(task: str, actual: Array, predicted: Array, seed: int) -> dict[str, Estimate]:
    """Every figure of `evaluation.summary` with its interval by the percentile bootstrap (Efron and Tibshirani 1993,
    chapter 13)."""
    generator, rows = np.random.default_rng(seed), len(actual)
    drawn: list[dict[str, float]] = []
    for _ in range(RESAMPLES):
        chosen = generator.integers(0, rows, rows)
        drawn.append(metrics.summary(task, actual[chosen], predicted[chosen]))
    whole = metrics.summary(task, actual, predicted)
    return {name: _between(value, np.array([one.get(name, np.nan) for one in drawn])) for name, value in whole.items()}


def _between(value: float, drawn: Array) -> Estimate:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def by_group(metric: str, actual: Array, predicted: Array, groups: Array, seed: int) -> tuple[Group, ...]:
    """The metric in each group of rows, the largest group first."""
    generator, row_losses = np.random.default_rng(seed), metrics.losses(metric, actual, predicted)
    found = []
    for name, rows in sorted(pd.Series(groups).value_counts().items(), key=lambda item: (-item[1], item[0])):
        own = row_losses[groups == name]
        draws = [own[generator.integers(0, rows, rows)].mean() for _ in range(RESAMPLES)]
        value = float(metrics.from_mean_loss(metric, own.mean()))
        found.append(Group(str(name), int(rows), _between(value, metrics.from_mean_loss(metric, np.array(draws)))))
    return tuple(found)


def reliability(probabilities: Array, actual: Array) -> tuple[Bin, ...]:
    """What the probabilities say beside what happened (DeGroot and Fienberg 1983), in bins of about as many rows."""
    if probabilities.shape[1] == 2:
        return _bins(probabilities[:, 1], actual == 1)
    return _bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == actual)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error (Guo et al. 2017, equation 3), over bins of about as many rows."""
    rows = sum(one.rows for one in bins)
    return float(sum(one.rows * abs(one.seen.value - one.predicted) for one in bins) / rows)


def coverage(actual: Array, predicted: Array, half_width: float) -> tuple[Bin, ...]:
    """How often the interval holds the truth, by what is predicted."""
    return _bins(predicted, np.abs(actual - predicted) <= half_width)


def _bins(predicted: Array, seen: Array) -> tuple[Bin, ...]:
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, metrics.BINS + 1)))
    place = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, max(len(edges) - 2, 0))
    found = []
    for number in np.unique(place):
        own = place == number
        found.append(Bin(int(own.sum()), float(predicted[own].mean()), share(seen[own])))
    return tuple(found)


def share(seen: Array) -> Estimate:
    """The share of True, with Wilson's interval (Wilson 1927)."""
    rows, value, z = len(seen), float(np.mean(seen)), 1.96
    middle = (value + z**2 / (2 * rows)) / (1 + z**2 / rows)
    reach = z / (1 + z**2 / rows) * np.sqrt(value * (1 - value) / rows + z**2 / (4 * rows**2))
    return Estimate(value, float(max(0.0, middle - reach)), float(min(1.0, middle + reach)))


def importance(metric: str, actual: Array, features: pd.DataFrame, predict: Predict, seed: int) -> Importance:
    """By how much the mean loss grows when one feature's values are shuffled (Breiman 2001, section 10), REPEATS times.

    With many features only some of the rows are used, evenly spaced, so that the time stays bounded.
    """
    generator, names = np.random.default_rng(seed), [str(name) for name in features.columns]
    most = max(FEWEST_PERMUTED, MOST_PERMUTED // (REPEATS * len(names)))
    kept = np.unique(np.linspace(0, len(actual) - 1, min(most, len(actual))).astype(int))
    features, actual = features.iloc[kept], actual[kept]
    base = metrics.losses(metric, actual, predict(features)).mean()
    copies, again = pd.concat([features] * REPEATS, ignore_index=True), np.tile(actual, REPEATS)
    growth = []
    for name in features.columns:
        column = features[name].to_numpy()
        shuffled = np.concatenate([generator.permutation(column) for _ in range(REPEATS)])
        lost = metrics.losses(metric, again, predict(copies.assign(**{str(name): shuffled})))
        growth.append(lost.reshape(REPEATS, -1).mean(axis=1) - base)
    return Importance(tuple(names), np.mean(growth, axis=1), np.std(growth, axis=1, ddof=1))
