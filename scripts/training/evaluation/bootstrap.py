"""By how much one model is better than another on the same rows, and how sure that is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.config import MEANS
from training.evaluation import metrics
from training.evaluation.metrics import Array

RESAMPLES = 2000
_ROUNDING = 1e-12  # of the largest value: more than sums of doubles are off by, less than anybody would call a gain
_CELLS_AT_ONCE = 200_000  # resampled values held at a time: they fit a processor's cache, whatever the number of rows


@dataclass(frozen=True)
class Gain:
    """By how much the challenger is better (positive is better, in the metric's unit), with one-sided bounds.

    The true gain lies below `lower` with a probability of about 1 - confidence, and so above `upper`.
    """

    estimate: float
    lower: float
    upper: float


def gain(
    metric: str,
    actual: Array,
    champion: Array,
    challenger: Array,
    confidence: float,
    seed: int,
    clusters: Array | None = None,
    chosen: tuple[Array | None, Array | None] = (None, None),
) -> Gain:
    """Paired bootstrap (Efron and Tibshirani 1993, chapter 16): both models on the same resampled rows.

    What the models' losses share cancels out row by row, so the more alike two models err, the smaller a difference
    is found. Rows of one cluster are drawn together (Davison and Hinkley 1997, section 3.8): what was measured once
    and stands in the table three times is known once. `chosen` are the labels that champion and challenger serve.

    The gain of a metric that is a mean is itself a mean over the rows, of the differences of their losses. The root
    mean squared error is linear in the squares near their means (delta method; Efron and Tibshirani 1993, chapter 21).
    """
    before, after = chosen
    if metric in MEANS:
        lost = [metrics.losses(metric, actual, champion, before), metrics.losses(metric, actual, challenger, after)]
        if metric == "rmse":
            lost = [_root_parts(squares) for squares in lost]
        values = lost[0] - lost[1]
        lower, upper = bounds_of_mean(values, confidence, seed, clusters)
        return Gain(float(values.mean()), lower, upper)
    labels = challenger.shape[1]  # the champion may know others
    old = metrics.scorer(metric, actual, champion, before, labels)
    new = metrics.scorer(metric, actual, challenger, after, labels)
    once = np.ones(len(actual))
    estimate = new(once) - old(once)
    drawn = np.array([new(weights) - old(weights) for weights in resamples(len(actual), clusters, seed, RESAMPLES)])
    drawn = drawn[~np.isnan(drawn)]  # a resample with one label has no ranking
    if np.isnan(estimate) or not len(drawn):
        return Gain(np.nan, -np.inf, np.inf)
    # The more cautious of the percentile bound and the basic one (chapter 13): skew tips them to opposite sides.
    low, high = np.quantile(drawn, [1 - confidence, confidence])
    return Gain(estimate, min(low, 2 * estimate - high), max(high, 2 * estimate - low))


def resamples(rows: int, clusters: Array | None, seed: int, times: int) -> Iterator[Array]:
    """(rows,) how often each row is drawn, where whole clusters are drawn with replacement."""
    generator, numbers = np.random.default_rng(seed), metrics.clustered(clusters, rows)
    drawn = int(numbers.max()) + 1
    for _ in range(times):
        yield np.bincount(generator.integers(0, drawn, drawn), minlength=drawn)[numbers].astype(np.float64)


def _root_parts(squares: Array) -> Array:
    """(rows,) each row's part in the root of the mean, which is their mean."""
    root = np.sqrt(squares.mean())
    return np.asarray((root + squares / root) / 2) if root > 0 else np.zeros_like(squares)


def bounds_of_mean(values: Array, confidence: float, seed: int, clusters: Array | None = None) -> tuple[float, float]:
    """A lower and an upper bound of the mean of what `values` (rows,) were drawn from, each at this confidence.

    The more cautious of two bootstrap bounds, because each of the two promises too much somewhere (measured by
    benchmarks/gate_errors.py): the percentile bound where few rows carry much of the loss, the studentised one where
    only a few rows differ.
    """
    lower, upper = zip(*bootstrap_bounds(values, confidence, seed, clusters), strict=True)
    return min(lower), max(upper)


def bootstrap_bounds(
    values: Array, confidence: float, seed: int, clusters: Array | None = None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Lower and upper bound of the mean by percentiles, and studentised (Efron and Tibshirani 1993, chapters 13, 12).

    The studentised bound corrects for skew and small samples (Hesterberg 2015, The American Statistician 69, 371-386).
    """
    numbers, mean = metrics.clustered(clusters, len(values)), float(values.mean())
    sizes = np.bincount(numbers).astype(np.float64)
    # The mean is taken out first, so that the sums of squares lose no digits.
    sums, tails = np.bincount(numbers, values - mean), [1 - confidence, confidence]
    means, deviations = _resampled(sums, sizes, seed)
    deviation = float(np.square(sums).mean() ** 0.5 / sizes.mean())
    # A mean of whole steps, as accuracy has it, is often 0 to the last digit: rounding must not lift a bound above it.
    rounding = _ROUNDING * float(np.abs(values).max())
    low, high = np.quantile(means, tails)
    percentile = mean + float(low) - rounding, mean + float(high) + rounding
    spread = deviations > rounding  # a resample without any spread says nothing of how far off its mean may be
    if not spread.any():
        return percentile, percentile
    near, far = np.quantile(means[spread] / deviations[spread], tails)
    return percentile, (float(mean - far * deviation) - rounding, float(mean - near * deviation) + rounding)


def _resampled(sums: Array, sizes: Array, seed: int) -> tuple[Array, Array]:
    """Mean and standard deviation, (RESAMPLES,) each, of clusters drawn with replacement: `sums` (clusters,) of their
    rows' values, and `sizes`. The deviation is that of the ratio of both (Cochran 1977, equation 2.46)."""
    generator, clusters = np.random.default_rng(seed), len(sums)
    alike = bool((sizes == sizes[0]).all())
    means, deviations = np.empty(RESAMPLES), np.empty(RESAMPLES)
    at_once = max(1, _CELLS_AT_ONCE // clusters)
    for start in range(0, RESAMPLES, at_once):
        chunk = slice(start, min(start + at_once, RESAMPLES))
        drawn = generator.integers(0, clusters, (chunk.stop - start, clusters))
        values, rows = sums[drawn], np.broadcast_to(sizes[0], drawn.shape) if alike else sizes[drawn]
        mean = values.sum(axis=1) / rows.sum(axis=1)
        means[chunk] = mean
        values -= mean[:, None] * rows
        deviations[chunk] = np.sqrt(np.einsum("ij,ij->i", values, values) / clusters) / rows.mean(axis=1)
    return means, deviations
