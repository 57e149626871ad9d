"""By how much one model is better than another on the same rows, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation import metrics

Array = np.ndarray[Any, Any]

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
    confidence: float


def gain(metric: str, actual: Array, champion: Array, challenger: Array, confidence: float, seed: int) -> Gain:
    """Paired bootstrap (Efron and Tibshirani 1993, chapter 16): both models on the same resampled rows.

    What the models' losses share cancels out row by row, so the more alike two models err, the smaller a difference
    is found.
    """
    values = contributions(metric, actual, champion, challenger)
    lower, upper = bounds_of_mean(values, confidence, seed)
    return Gain(float(values.mean()), lower, upper, confidence)


def contributions(metric: str, actual: Array, champion: Array, challenger: Array) -> Array:
    """(rows,) each row's part in the gain; their mean is the gain.

    Metrics that are means have the difference of the losses. The root mean squared error is linear in the squares near
    their means (delta method; Efron and Tibshirani 1993, chapter 21).
    """
    before, after = metrics.losses(metric, actual, champion), metrics.losses(metric, actual, challenger)
    if metric != "rmse":
        return np.asarray(before - after)
    return _root_parts(before) - _root_parts(after)


def _root_parts(squares: Array) -> Array:
    root = np.sqrt(squares.mean())
    return np.asarray((root + squares / root) / 2) if root > 0 else np.zeros_like(squares)


def bounds_of_mean(values: Array, confidence: float, seed: int) -> tuple[float, float]:
    """A lower and an upper bound of the mean of what `values` (rows,) were drawn from, each at this confidence.

    The more cautious of two bootstrap bounds, because each of the two promises too much somewhere (measured by
    benchmarks/gate_errors.py): the percentile bound where few rows carry much of the loss, the studentised one where
    only a few rows differ.
    """
    lower, upper = zip(*bootstrap_bounds(values, confidence, seed), strict=True)
    return min(lower), max(upper)


def bootstrap_bounds(values: Array, confidence: float, seed: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Lower and upper bound of the mean by percentiles, and studentised (Efron and Tibshirani 1993, chapters 13, 12).

    The studentised bound corrects for skew and small samples (Hesterberg 2015, The American Statistician 69, 371-386).
    """
    means, deviations = _resampled(values, seed)
    mean, deviation, tails = values.mean(), values.std(), [1 - confidence, confidence]
    # A mean of whole steps, as accuracy has it, is often 0 to the last digit: rounding must not lift a bound above it.
    rounding = _ROUNDING * float(np.abs(values).max())
    low, high = np.quantile(means, tails)
    percentile = float(low) - rounding, float(high) + rounding
    spread = deviations > 0  # a resample without any spread says nothing of how far off its mean may be
    if not spread.any():
        return percentile, percentile
    near, far = np.quantile((means[spread] - mean) / deviations[spread], tails)
    return percentile, (float(mean - far * deviation) - rounding, float(mean - near * deviation) + rounding)


def _resampled(values: Array, seed: int) -> tuple[Array, Array]:
    """Mean and standard deviation, (RESAMPLES,) each, of resamples with replacement."""
    generator = np.random.default_rng(seed)
    rows = len(values)
    centre = values.mean()  # taken out first, so that the mean of squares loses no digits
    centred = values - centre
    means, squares = np.empty(RESAMPLES), np.empty(RESAMPLES)
    at_once = max(1, _CELLS_AT_ONCE // rows)
    for start in range(0, RESAMPLES, at_once):
        chunk = slice(start, min(start + at_once, RESAMPLES))
        drawn = centred[generator.integers(0, rows, (chunk.stop - start, rows))]
        means[chunk] = drawn.mean(axis=1)
        squares[chunk] = np.einsum("ij,ij->i", drawn, drawn) / rows
    return centre + means, np.sqrt(np.maximum(squares - means**2, 0))
