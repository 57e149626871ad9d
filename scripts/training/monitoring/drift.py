"""How far live values lie from those of training: a pure function of two histograms, and of the errors where known.

The population stability index of a column is the sum over its bins of (live - training) * ln(live / training), each a
share of the rows (Lewis 1994, An Introduction to Credit Scoring). To call 0.1 a small and 0.25 a large change is an old
habit (Siddiqi 2006, Credit Risk Scorecards), which knows nothing of the number of rows. Without any drift the index is
about (1/live rows + 1/training rows) times a chi-square variable with bins - 1 degrees of freedom (Yurdakul and
Naranjo 2020), which for few rows is easily more than 0.2. So a column has drifted when its index is above the
configured limit and above what chance gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from training.config import LOWER_IS_BETTER

PREDICTIONS = "(predictions)"  # no feature: a name in brackets, shown as it is
# In about this share of windows without drift chance alone exceeds `chance_limit` in any column. The index has a longer
# tail than chi-square where bins hold few rows: on the wines up to twenty times as many (docs/monitoring.md).
FALSE_ALARMS = 0.001
SMALLEST_COUNT = 0.5  # what an empty bin counts for, or its logarithm would be infinite
LEAST_LABELLED = 30  # rows; the mean of fewer has no interval that could be trusted
TWO_SIDED = float(stats.norm.ppf(0.975))

MISSING, UNSEEN, OUTSIDE = -1, -2, -3  # bins beside the numbered ones


@dataclass(frozen=True)
class Histogram:
    """A column as training saw it: numbers by `edges`, or `categories`, with the rows in each and those without value.

    `low` and `high` are the smallest and largest number of training.
    """

    name: str
    counts: tuple[int, ...]
    missing: int = 0
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf

    @property
    def bins(self) -> tuple[str, ...]:
        """What each bin holds, for people."""
        if self.categories:
            return self.categories
        if len(self.counts) == 1:
            return (f"{self.edges[0]:g}" if self.edges else "all",)
        return tuple(f"{low:.4g} to {high:.4g}" for low, high in zip(self.edges, self.edges[1:], strict=False))


@dataclass(frozen=True)
class Column:
    """What was found in one column of a window; `outside` are rows beyond the range, or with an unseen category."""

    histogram: Histogram
    live: tuple[int, ...]
    missing: int
    outside: int
    psi: float
    limit: float

    @property
    def name(self) -> str:
        return self.histogram.name

    @property
    def rows(self) -> int:
        return sum(self.live) + self.missing + (self.outside if self.histogram.categories else 0)

    @property
    def drifted(self) -> bool:
        return self.psi > self.limit

    def share(self, count: int) -> float:
        return count / self.rows if self.rows else 0.0


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
    coverage: float | None = None

    @property
    def worse(self) -> bool:
        return self.rows >= LEAST_LABELLED and self.lower > self.limit


def histograms(contract: Mapping[str, Any]) -> list[Histogram]:
    """Every feature's histogram out of a contract, then that of the predictions (or of the surest probability)."""
    found = []
    for feature in contract["features"]:
        kept = feature["histogram"]
        counts, missing = tuple(kept["counts"]), int(kept["missing"])
        if feature["type"] == "category":
            found.append(Histogram(feature["name"], counts, missing, categories=tuple(feature["categories"])))
        else:
            edges, bounds = tuple(kept["edges"]), (feature["low"], feature["high"])
            found.append(Histogram(feature["name"], counts, missing, edges, (), *bounds))
    kept = contract["prediction_histogram"]
    edges = tuple(kept["edges"])
    bounds = (edges[0], edges[-1]) if edges else (-math.inf, math.inf)
    return [*found, Histogram(PREDICTIONS, tuple(kept["counts"]), 0, edges, (), *bounds)]


def compare(known: Sequence[Histogram], counted: Sequence[Mapping[int, int]], psi_limit: float) -> list[Column]:
    """Each column of a window against training; `counted` maps its bins (or MISSING, UNSEEN, OUTSIDE) to rows."""
    columns = []
    for histogram, counts in zip(known, counted, strict=True):
        live = tuple(counts.get(index, 0) for index in range(len(histogram.counts)))
        missing, unseen = counts.get(MISSING, 0), counts.get(UNSEEN, 0)
        pairs = [*zip(histogram.counts, live, strict=True), (histogram.missing, missing)]
        if histogram.categories:
            pairs.append((0, unseen))
        elif len(live) == 1 and counts.get(OUTSIDE):  # training knew one number only
            pairs = [(histogram.counts[0], live[0] - counts[OUTSIDE]), (0, counts[OUTSIDE]), *pairs[1:]]
        index, chance = psi(pairs), chance_limit(pairs, len(known))
        outside = unseen if histogram.categories else counts.get(OUTSIDE, 0)
        columns.append(Column(histogram, live, missing, outside, index, max(psi_limit, chance)))
    return columns


def psi(pairs: Sequence[tuple[int, int]]) -> float:
    """Population stability index of (training rows, live rows) in each bin; 0 where either has no rows at all."""
    used = [(max(a, SMALLEST_COUNT), max(b, SMALLEST_COUNT)) for a, b in pairs if a or b]
    if not any(a for a, _ in pairs) or not any(b for _, b in pairs):
        return 0.0
    trained, live = sum(a for a, _ in used), sum(b for _, b in used)
    return sum((b / live - a / trained) * math.log((b / live) / (a / trained)) for a, b in used)


def chance_limit(pairs: Sequence[tuple[int, int]], columns: int) -> float:
    """The index that chance exceeds in FALSE_ALARMS of windows, shared among their `columns` (Bonferroni)."""
    bins = sum(1 for a, b in pairs if a or b)
    trained, live = sum(a for a, _ in pairs), sum(b for _, b in pairs)
    if bins < 2 or not trained or not live:
        return 0.0
    return float((1 / live + 1 / trained) * stats.chi2.ppf(1 - FALSE_ALARMS / columns, bins - 1))


def live_error(
    metric: str,
    rows: int,
    mean: float,
    spread: float,
    tested: float,
    growth: float,
    coverage: float | None = None,
) -> LiveError:
    """From `rows` losses (see `evaluation.losses`) with their mean and standard deviation: the error, its interval by
    the normal approximation, and the limit that `tested` (the metric on the test rows) allows with this `growth`."""
    half = TWO_SIDED * spread / math.sqrt(rows)
    bounds = [max(0.0, mean - half), mean, mean + half]
    if metric == "rmse":
        bounds = [math.sqrt(value) for value in bounds]
    promised = tested if metric in LOWER_IS_BETTER else 1 - tested
    return LiveError(metric, rows, bounds[1], bounds[0], bounds[2], promised, promised * (1 + growth), coverage)
