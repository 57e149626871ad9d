"""Which label is served, given the probabilities: the likeliest, or another one where that was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.config import Threshold
from training.errors import DataError
from training.evaluation.metrics import Array


@dataclass(frozen=True)
class Decision:
    """The label is that of the greatest probability times its factor; without factors, of the greatest probability.

    `threshold` says the same of two labels, for the contract: {"label", "value", "chosen_for"}.
    """

    factors: tuple[float, ...] | None = None
    threshold: dict[str, Any] | None = None

    def __call__(self, probabilities: Array) -> Array:
        """(rows, labels) to (rows,) label indices."""
        return np.asarray((probabilities * (1.0 if self.factors is None else np.array(self.factors))).argmax(axis=1))


def asked_label(asked: Threshold | None, labels: Sequence[str]) -> int | None:
    """The index of the label that the threshold is for. Raises DataError if it is not one of two labels."""
    if asked is None:
        return None
    if len(labels) != 2:
        raise DataError(
            f"serving.threshold is for two labels, found {len(labels)}: {', '.join(labels[:5])}",
            "Remove serving.threshold; search.weights: balanced is for any number of labels.",
        )
    if asked.label not in labels:
        raise DataError(
            f"serving.threshold.label: expected one of {', '.join(map(repr, labels))}, found {asked.label!r}",
            "Write it as the table has it.",
        )
    return labels.index(asked.label)


def choose(
    asked: Threshold | None, labels: Sequence[str], held: Array, actual: Array, shares: Array | None
) -> Decision:
    """The decision for calibrated probabilities `held` (rows, labels) of the calibration rows.

    `shares` are the labels' shares in training where they were balanced: the label is then the one whose probability is
    greatest beside its share, which makes the balanced accuracy greatest. Raises DataError.
    """
    index = asked_label(asked, labels)
    if asked is None or index is None:
        if shares is None:
            return Decision()
        threshold = {"label": labels[1], "value": float(shares[1]), "chosen_for": "balanced labels"}
        return Decision(tuple((1 / shares).tolist()), threshold if len(labels) == 2 else None)
    scores, hits = held[:, index], actual == index
    if asked.cost:
        cost = asked.cost
        value = _of_least_cost(scores, hits, cost.false_negative, cost.false_positive)
        chosen_for = f"cost {cost.false_negative:g} of a false negative, {cost.false_positive:g} of a false positive"
    else:
        value = _of_precision(scores, hits, float(asked.precision or 0), labels[index])
        chosen_for = f"precision {asked.precision:g}"
    factors = (1 - value, value) if index == 0 else (value, 1 - value)
    return Decision(factors, {"label": labels[index], "value": value, "chosen_for": chosen_for})


def _candidates(scores: Array) -> Array:
    """Thresholds half-way between neighbouring scores, from low to high."""
    different = np.unique(scores)
    return np.asarray((different[:-1] + different[1:]) / 2)


def _of_least_cost(scores: Array, hits: Array, false_negative: float, false_positive: float) -> float:
    """The right threshold for true probabilities (Elkan 2001, theorem 1), unless another one costs clearly less here:
    by more than one standard error of the difference."""
    expected = false_positive / (false_positive + false_negative)
    if not len(candidates := _candidates(scores)):
        return expected
    missed, refused = _below(scores, hits, candidates), _below(scores, ~hits, candidates)
    best = float(candidates[np.argmin(false_negative * missed - false_positive * refused)])
    before, after = (
        np.where(hits, false_negative * (scores < threshold), false_positive * (scores >= threshold))
        for threshold in (expected, best)
    )
    fall = before - after
    return best if fall.mean() > fall.std() / np.sqrt(len(fall)) else expected


def _below(scores: Array, counted: Array, thresholds: Array) -> Array:
    """How many of the `counted` rows have a score below each threshold."""
    return np.asarray(np.searchsorted(np.sort(scores[counted]), thresholds))


def _of_precision(scores: Array, hits: Array, precision: float, label: str) -> float:
    """The lowest threshold at which hits / (served + 1) is at least `precision`: one more row may be wrong, as in
    conformal risk control (Angelopoulos et al. 2024, equation 4). Raises DataError where there is none."""
    candidates = np.concatenate([[scores.min() / 2], _candidates(scores)])
    right = hits.sum() - _below(scores, hits, candidates)
    served = right + (~hits).sum() - _below(scores, ~hits, candidates)
    kept = right / (served + 1) >= precision
    if not kept.any():
        best = float((right / (served + 1)).max())
        raise DataError(
            f"serving.threshold: no threshold has a precision of {precision:g} for '{label}' on the "
            f"{len(scores)} calibration rows; the best is {best:.2g}",
            "Ask for less, give more rows or better features, or raise split.calibration.",
        )
    return float(candidates[kept][0])
