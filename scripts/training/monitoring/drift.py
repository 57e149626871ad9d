"""How far live values lie from those of training: a pure function of two histograms, and of the errors where known.

The population stability index of a column is the sum over its bins of (live - training) * ln(live / training), each a
share of the rows (Lewis 1994, An Introduction to Credit Scoring). It says how large a change is: to call 0.1 a small
and 0.25 a large one is an old habit (Siddiqi 2006, Credit Risk Scorecards). It does not say whether a change is more
than chance, so a column has drifted only where a likelihood-ratio test of the same counts, with Williams'
correction for small ones (Sokal and Rohlf 1981, Biometry, chapter 17), rules chance out as well.

Rare categories are counted together with those that training never saw, or each of them would look like drift when it
comes or stays away. The share expected of them is Good and Turing's (Good 1953): the rows of training in categories
that would be rare or unseen if that row were left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import stats

from training.config import LOWER_IS_BETTER

PREDICTIONS = "(predictions)"  # no feature: a name in brackets, shown as it is
FALSE_ALARMS = 0.001  # share of windows without drift in which any column may count as drifted
SMALLEST_COUNT = 0.5  # what an empty bin counts for, or its logarithm would be infinite
RARE = 5  # rows of training below which a category's share is not known well enough to stand alone
LEAST_LABELLED = 30  # rows; the mean of fewer has no interval that could be trusted
TWO_SIDED = float(stats.norm.ppf(0.975))
EPOCH = date(1970, 1, 1)

MISSING, UNSEEN, OUTSIDE = -1, -2, -3  # bins beside the numbered ones
Pairs = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Histogram:
    """A column as training saw it: numbers (of a date, its days since 1970) by `edges`, the first and the last of which
    are the smallest and the largest number, or `categories`, with the rows in each and those without value."""

    name: str
    counts: tuple[int, ...]
    missing: int = 0
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    kind: Literal["number", "category", "boolean", "date"] = "number"

    @property
    def rows(self) -> int:
        return sum(self.counts) + self.missing

    @property
    def bins(self) -> tuple[str, ...]:
        """What each bin holds, for people."""
        if self.categories:
            return self.categories
        if len(self.edges) == 1:
            return (self.edge(self.edges[0]),)
        return tuple(f"{self.edge(low)} to {self.edge(high)}" for low, high in pairwise(self.edges))

    def edge(self, value: float) -> str:
        """An edge, for people."""
        return str(EPOCH + timedelta(days=math.floor(value))) if self.kind == "date" else f"{value:.4g}"


@dataclass(frozen=True)
class Column:
    """One column of a window against training; `outside` are rows beyond the range, or with an unseen category.

    `psi` is the index, `limit` the configured one, and `chance` the probability of counts at least as different in a
    window without drift. `level` is what `chance` must fall below. A row of training is worth `worth` independent rows:
    fewer than one where the table repeats its rows.
    """

    histogram: Histogram
    live: tuple[int, ...]
    missing: int
    outside: int
    limit: float
    level: float
    worth: float

    @property
    def name(self) -> str:
        return self.histogram.name

    @property
    def rows(self) -> int:
        return sum(self.live) + self.missing + (self.outside if self.histogram.categories else 0)

    @cached_property
    def psi(self) -> float:
        return psi(self._pairs)

    @cached_property
    def chance(self) -> float:
        return chance(self._pairs, self.worth)

    @property
    def drifted(self) -> bool:
        """Never so of a date: it moves on by itself."""
        return self.histogram.kind != "date" and self.psi > self.limit and self.chance < self.level

    def share(self, count: int) -> float:
        return count / self.rows if self.rows else 0.0

    @property
    def _pairs(self) -> list[tuple[float, float]]:
        """(training rows, live rows) in each bin."""
        known, live = self.histogram, self.live
        missing = (known.missing, self.missing)
        if known.categories and known.kind != "boolean":
            return [*_common(known.counts, live, self.outside), missing]
        if len(live) == 1 and self.outside:  # training knew one number only
            return [(known.counts[0], live[0] - self.outside), (0, self.outside), missing]
        return [*zip(known.counts, live, strict=True), missing]


def _common(trained: Sequence[int], live: Sequence[int], unseen: int) -> list[tuple[float, float]]:
    """A pair for each category of which a window of this size should hold a row at least, and one for all others."""
    rows, total = sum(trained), sum(live) + unseen
    if not total:
        return [(count, 0) for count in trained]
    rare = max(RARE, math.ceil(rows / total))
    common = [(before, now) for before, now in zip(trained, live, strict=True) if before >= rare]
    expected = sum(before for before in trained if before <= rare)
    return [*common, (expected, total - sum(now for _, now in common))]


@dataclass(frozen=True)
class LiveError:
    """The error on the predictions whose truth is known, beside that of the test rows; accuracy counts as 1 - accuracy.

    `lower` and `upper` bound its 95 % interval. `limit` is the test error grown by the allowed share.
    """

    metric: str
    rows: int
    error: float
    lower: float
    upper: float
    promised: float
    limit: float

    @property
    def worse(self) -> bool:
        return self.rows >= LEAST_LABELLED and self.lower > self.limit


def compare(
    known: Sequence[Histogram], counted: Sequence[Mapping[int, int]], psi_limit: float, worth: float = 1.0
) -> list[Column]:
    """Each column of a window against training; `counted` maps its bins (or MISSING, UNSEEN, OUTSIDE) to rows."""
    level = FALSE_ALARMS / len(known)  # shared among the columns (Bonferroni)
    return [
        Column(
            histogram,
            tuple(counts.get(index, 0) for index in range(len(histogram.counts))),
            counts.get(MISSING, 0),
            counts.get(UNSEEN if histogram.categories else OUTSIDE, 0),
            psi_limit,
            level,
            worth,
        )
        for histogram, counts in zip(known, counted, strict=True)
    ]


def psi(pairs: Pairs) -> float:
    """Population stability index of (training rows, live rows) in each bin; 0 where either has no rows at all."""
    used = [(max(a, SMALLEST_COUNT), max(b, SMALLEST_COUNT)) for a, b in pairs if a or b]
    if not any(a for a, _ in pairs) or not any(b for _, b in pairs):
        return 0.0
    trained, live = sum(a for a, _ in used), sum(b for _, b in used)
    return sum((b / live - a / trained) * math.log((b / live) / (a / trained)) for a, b in used)


def chance(pairs: Pairs, worth: float = 1.0) -> float:
    """The probability that two samples of one population differ at least as much, by the likelihood-ratio test; 1
    where there is nothing to compare. A row of training counts as `worth` independent rows."""
    table = np.array([(a * worth, b) for a, b in pairs if a or b])
    if len(table) < 2 or not table.sum(axis=0).all():
        return 1.0
    found = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    spread = [(table.sum() / table.sum(axis=axis)).sum() - 1 for axis in (0, 1)]
    williams = spread[0] * spread[1] / (6 * table.sum() * found.dof)
    return float(stats.chi2.sf(found.statistic / (1 + williams), found.dof))


def live_error(metric: str, rows: int, mean: float, spread: float, tested: float, growth: float) -> LiveError:
    """From `rows` losses (see `evaluation.losses`) with their mean and standard deviation: the error, its interval by
    the normal approximation, and the limit that `tested` (the metric on the test rows) allows with this `growth`."""
    half = TWO_SIDED * spread / math.sqrt(rows)
    lower, error, upper = max(0.0, mean - half), mean, mean + half
    if metric == "rmse":
        lower, error, upper = map(math.sqrt, (lower, error, upper))
    promised = tested if metric in LOWER_IS_BETTER else 1 - tested
    return LiveError(metric, rows, error, lower, upper, promised, promised * (1 + growth))
