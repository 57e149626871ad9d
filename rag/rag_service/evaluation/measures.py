"""The measures of an evaluation. Pure functions on numbers and short texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

Floats = NDArray[numpy.float64]

_RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, and the number of questions it stands on."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in one tenth: what was said, and what was so."""

    low: float
    high: float
    count: int
    said: float
    true: float


def estimate(columns: Sequence[Floats], figure: Callable[..., float], seed: int) -> Estimate | None:
    """`figure` of the columns, one row for each question, with the interval of the percentile bootstrap (Efron and
    Tibshirani 1993, chapter 13). None where the figure is not defined, as for no question at all."""
    count = len(columns[0])
    value = figure(*columns) if count else float("nan")
    if numpy.isnan(value):
        return None
    source = numpy.random.default_rng(seed)
    drawn = [source.integers(0, count, count) for _ in range(_RESAMPLES)]
    low, high = numpy.nanquantile([figure(*(column[rows] for column in columns)) for rows in drawn], [0.025, 0.975])
    return Estimate(round(value, 4), round(float(low), 4), round(float(high), 4), count)


def mean(values: Floats) -> float:
    """The mean; not a number for none."""
    return float(values.mean()) if len(values) else float("nan")


def share(of: Floats, among: Floats) -> float:
    """Of the rows that are `among`, the share that is `of` too."""
    return float((of * among).sum() / among.sum()) if among.sum() else float("nan")


def auroc(scores: Floats, labels: Floats) -> float:
    """The chance that a positive has a higher score than a negative, ties counting half (Mann and Whitney)."""
    positive, negative = int(labels.sum()), int(len(labels) - labels.sum())
    if not positive or not negative:
        return float("nan")
    _, inverse, counts = numpy.unique(scores, return_inverse=True, return_counts=True)
    ranks = (numpy.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[labels == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def reliability(confidences: Floats, labels: Floats, bins: int = 10) -> list[Bin]:
    """Confidence against truth, in bins of equal width; empty ones are left out."""
    place = numpy.minimum((confidences * bins).astype(int), bins - 1)
    return [
        Bin(one / bins, (one + 1) / bins, int(held.sum()), mean(confidences[held]), mean(labels[held]))
        for one in range(bins)
        if (held := place == one).any()
    ]


def calibration_error(confidences: Floats, labels: Floats) -> float:
    """The expected calibration error over ten bins (Guo et al. 2017)."""
    if not len(labels):
        return float("nan")
    table = reliability(confidences, labels)
    return sum(one.count * abs(one.said - one.true) for one in table) / len(labels)


def fit_logistic(features: Floats, labels: Floats, penalty: float = 1.0) -> list[float]:
    """Logistic regression by Newton's method: the constant first, then a weight for each column. `penalty` is that of
    ridge regression on the columns' standardised weights; it keeps them finite where the classes part cleanly."""
    middle, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread == 0] = 1.0
    rows = numpy.column_stack([numpy.ones(len(features)), (features - middle) / spread])
    weights = numpy.zeros(rows.shape[1])
    ridge = numpy.diag([0.0, *[penalty] * features.shape[1]]) + 1e-9 * numpy.eye(rows.shape[1])
    for _ in range(50):
        chances = 1 / (1 + numpy.exp(-numpy.clip(rows @ weights, -30, 30)))
        slope = rows.T @ (labels - chances) - ridge @ weights
        step = numpy.linalg.solve((rows.T * (chances * (1 - chances))) @ rows + ridge, slope)
        weights += numpy.clip(step, -2, 2)
        if numpy.abs(step).max() < 1e-8:
            break
    scaled = weights[1:] / spread
    return [float(weights[0] - scaled @ middle), *(float(weight) for weight in scaled)]


def normalised(text: str) -> str:
    """Lower case without punctuation and articles: how SQuAD's own evaluation compares answers."""
    words = re.sub(r"\b(a|an|the)\b", " ", re.sub(r"[^\w\s]", "", text.lower()))
    return " ".join(words.split())


def exact(answer: str, wanted: Sequence[str]) -> bool:
    """Whether the answer is one of the wanted ones, normalised."""
    return normalised(answer) in {normalised(one) for one in wanted}


def contains(text: str, wanted: Sequence[str]) -> bool:
    """Whether the text has one of the wanted answers in it, normalised, word for word."""
    return any(f" {normalised(one)} " in f" {normalised(text)} " for one in wanted)


def f1(answer: str, wanted: Sequence[str]) -> float:
    """The harmonic mean of precision and recall over words, for the best of the wanted answers."""
    given = normalised(answer).split()
    return max((_f1(given, normalised(one).split()) for one in wanted), default=0.0)


def _f1(given: Sequence[str], wanted: Sequence[str]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))
