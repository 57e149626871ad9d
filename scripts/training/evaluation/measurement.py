"""All that is known of a fitted model from its test rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.evaluation import diagnostics
from training.evaluation import metrics as evaluation
from training.evaluation.diagnostics import Bin, Estimate, Group, Importance, Predict, calibration_error
from training.evaluation.metrics import Array


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
        before = evaluation.score("log_loss", self.actual, self.raw)
        error = calibration_error(self.bins_before)
        return ends | {"log_loss_uncalibrated": before, "calibration_error_uncalibrated": error}


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
    raw, predicted = predictions
    clusters = rows.clusters
    if half_width is None:
        covered, served = None, predicted.argmax(axis=1) if chosen is None else chosen
        bins, bins_before = (diagnostics.reliability(one, rows.actual, clusters) for one in (predicted, raw))
    else:
        served = None
        covered = diagnostics.share(np.abs(rows.actual - predicted) <= half_width, clusters)
        bins, bins_before = diagnostics.coverage(rows.actual, predicted, half_width, clusters), ()
    figures = diagnostics.estimates(rows.actual, predicted, seed, clusters, chosen)
    constants = evaluation.baseline(constant, len(predicted))
    baseline = {name: evaluation.score(name, rows.actual, constants) for name in figures}
    groups: tuple[Group, ...] = ()
    if rows.groups is not None:
        groups = diagnostics.by_group(metric, rows.actual, predicted, rows.groups, seed, clusters, chosen)
    importance = diagnostics.importance(metric, rows.actual, rows.features, predict, seed)
    return Measurement(
        metric,
        rows.actual,
        raw,
        predicted,
        served,
        half_width,
        covered,
        figures,
        baseline,
        bins,
        bins_before,
        groups,
        importance,
    )
