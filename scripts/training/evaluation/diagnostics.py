"""All that is known of a fitted model from its test rows, and how well: figures, groups, reliability, importance.

Pure functions of arrays, in the shapes of `metrics`. All intervals hold the truth in 95 of 100 repetitions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
from sklearn.inspection import permutation_importance

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
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
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


@dataclass(frozen=True)
class Held:
    """Rows that were held back: features, the target as in `metrics`, each row's group, or None, and its cluster."""

    features: pd.DataFrame
    actual: Array
    groups: Array | None
    clusters: Array | None = None


@dataclass(frozen=True)
class Trial:
    """One finished trial of the search, numbered from 1."""

    number: int
    candidate: str
    value: float


@dataclass(frozen=True)
class Measurement:
    """A model on its test rows.

    `raw` is `predicted` before calibration (the same for regression); `served` are the labels served, as indices;
    `covered` is the share of rows whose truth the interval holds. `bins` are `reliability` or `coverage`, and
    `bins_before` the reliability of `raw`. `baseline` holds the figures of the mean, or of the labels' shares.
    """

    metric: str
    actual: Array
    raw: Array
    predicted: Array
    served: Array | None
    half_width: float | None
    covered: Estimate | None
    figures: dict[str, Estimate]
    baseline: dict[str, float]
    bins: tuple[Bin, ...]
    bins_before: tuple[Bin, ...]
    groups: tuple[Group, ...]
    importance: Importance

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by name, the gate's metric of the baseline, and how well interval or probabilities hold."""
        named = {name: figure.value for name, figure in self.figures.items()}
        if self.metric in self.baseline:
            named[f"baseline_{self.metric}"] = self.baseline[self.metric]
        if self.covered:
            return named | {"interval_coverage": self.covered.value}
        return named | {"calibration_error": calibration_error(self.bins)}

    @property
    def details(self) -> dict[str, float]:
        """What is worth plotting over versions beside `metrics`: the intervals' ends, and what calibration changed."""
        ends = {f"{name}_low": figure.low for name, figure in self.figures.items()}
        ends |= {f"{name}_high": figure.high for name, figure in self.figures.items()}
        if self.half_width is not None:
            return ends | {"interval_half_width": self.half_width}
        before = metrics.score("log_loss", self.actual, self.raw)
        error = calibration_error(self.bins_before)
        return ends | {"log_loss_uncalibrated": before, "calibration_error_uncalibrated": error}


def estimates(
    actual: Array, predicted: Array, seed: int, clusters: Array | None = None, chosen: Array | None = None
) -> dict[str, Estimate]:
    """The usual figures of the task that are defined for these rows, each with its interval by the percentile bootstrap
    (Efron and Tibshirani 1993, chapter 13), in which the rows of one cluster are drawn together."""
    names = metrics.FIGURES["classification" if predicted.ndim == 2 else "regression"]
    figures = [metrics.scorer(name, actual, predicted, chosen) for name in names]
    found = zip(names, _between(figures, len(actual), clusters, seed, predicted.size), strict=True)
    return {name: estimate for name, estimate in found if not np.isnan(estimate.value)}


def _between(
    figures: Sequence[metrics.Scorer], rows: int, clusters: Array | None, seed: int, in_all: int
) -> list[Estimate]:
    """Of very many predictions `in_all` there are fewer resamples, so that the time stays bounded."""
    times = int(np.clip(MOST_RESAMPLED // in_all, FEWEST_RESAMPLES, RESAMPLES))
    resamples = bootstrap.resamples(rows, clusters, seed, times)
    drawn = np.array([[figure(weights) for figure in figures] for weights in resamples])
    tail, found = (1 - CONFIDENCE) / 2, []
    for figure, values in zip(figures, drawn.T, strict=True):
        defined = values[~np.isnan(values)]
        low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (np.nan, np.nan)
        found.append(Estimate(figure(np.ones(rows)), float(low), float(high)))
    return found


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
        (estimate,) = _between([figure], int(rows), numbers[own], seed, predicted.size)
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
    most = max(FEWEST_PERMUTED, MOST_PERMUTED // (REPEATS * features.shape[1]))
    kept = np.unique(np.linspace(0, len(actual) - 1, min(most, len(actual))).astype(int))
    found = permutation_importance(
        SimpleNamespace(fit=predict),  # scikit-learn wants an estimator, and asks the scoring alone
        features.iloc[kept],
        actual[kept],
        scoring=lambda _, rows, truth: -metrics.loss(metric, truth, predict(rows)),
        n_repeats=REPEATS,
        random_state=seed,
    )
    return Importance(tuple(map(str, features)), found.importances_mean, found.importances.std(axis=1, ddof=1))


def measure(
    metric: str,
    rows: Held,
    predictions: tuple[Array, Array],
    half_width: float | None,
    constant: Array,
    predict: Predict,
    seed: int,
    chosen: Array | None = None,
) -> Measurement:
    """Measures a model on `rows`.

    `predictions` are those before and after calibration; `constant` is what the baseline always says, (1,) or
    (labels,); `predict` is the model, for the permutation importance; `chosen` the labels that it serves.
    """
    (raw, predicted), actual, clusters = predictions, rows.actual, rows.clusters
    covered, served = None, None
    bins_before: tuple[Bin, ...] = ()
    if half_width is None:
        served = predicted.argmax(axis=1) if chosen is None else chosen
        bins, bins_before = (reliability(one, actual, clusters) for one in (predicted, raw))
    else:
        covered = share(np.abs(actual - predicted) <= half_width, clusters)
        bins = coverage(actual, predicted, half_width, clusters)
    figures = estimates(actual, predicted, seed, clusters, chosen)
    constants = metrics.baseline(constant, len(predicted))
    baseline = {name: metrics.score(name, actual, constants) for name in figures}
    groups: tuple[Group, ...] = ()
    if rows.groups is not None:
        groups = by_group(metric, actual, predicted, rows.groups, seed, clusters, chosen)
    found = importance(metric, actual, rows.features, predict, seed)
    return Measurement(
        metric, actual, raw, predicted, served, half_width, covered, figures, baseline, bins, bins_before, groups, found
    )
