"""The pictures that a person looks at before trusting a model. Each is readable with a hundred features or labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.config import LOWER_IS_BETTER
from training.evaluation.diagnostics import Bin, Estimate, calibration_error
from training.evaluation.measurement import Measurement, Trial
from training.evaluation.metrics import SMALLEST_GROUP, Array

MOST_BARS = 30
MOST_COUNTS = 15  # labels up to which a confusion matrix has its counts written in
MOST_LABELS = 40  # labels up to which they are named at the axes
LONGEST_NAME = 28
FULL, PALE, DARK, WARM = "#2f6db3", "#b9cfe8", "#333333", "#d1602b"
# The first that has a letter draws it; those after the first are for other scripts, where they are installed.
FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Droid Sans Fallback",
    "PingFang SC",
    "Arial Unicode MS",
)
CANDIDATE_COLOURS = {"extra_trees": "#2f6db3", "random_forest": "#4a9a5b", "xgboost": "#d1602b"}


@dataclass(frozen=True)
class Names:
    """What the axes say: the target and its unit, the labels, the segment's column, the share asked of the interval."""

    target: str
    unit: str | None
    labels: Sequence[str]
    segment: str | None
    coverage: float

    @property
    def in_unit(self) -> str:
        return f" ({self.unit})" if self.unit else ""


def save(folder: Path, measured: Measurement, trials: Sequence[Trial], search_metric: str, names: Names) -> None:
    """Draws every picture of a version into a folder."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = [name for name in FONTS if name in installed]
    with rc_context({"text.parse_math": False, "font.family": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as a box
        for name, picture in draw(measured, trials, search_metric, names).items():
            picture.savefig(folder / name)


def draw(measured: Measurement, trials: Sequence[Trial], search_metric: str, names: Names) -> dict[str, Figure]:
    """Every picture of a version, by the name of its file."""
    pictures = {"importance.png": importance(measured, names), "trials.png": learning(trials, search_metric)}
    if names.labels:
        pictures |= {
            "confusion-matrix.png": confusion(measured, names),
            "calibration.png": reliability(measured, names),
        }
    else:
        pictures |= {"residuals.png": residuals(measured, names), "calibration.png": coverage(measured, names)}
    if measured.groups:
        pictures["segments.png"] = segments(measured, names)
    return pictures


def residuals(measured: Measurement, names: Names) -> Figure:
    """What was measured against what was predicted, and how the residuals are spread."""
    actual, predicted = measured.actual, measured.predicted
    figure, (left, right) = _figure(2)
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    left.plot(ends, ends, color=DARK, linewidth=0.8)
    left.scatter(predicted, actual, s=8, alpha=0.3, color=FULL, linewidths=0)
    left.set(
        xlabel=f"predicted {_short(names.target)}{names.in_unit}",
        ylabel=f"actual {_short(names.target)}{names.in_unit}",
        title=f"{len(actual):,} test rows",
    )
    right.hist(actual - predicted, bins=40, color=FULL)
    right.axvline(0, color=DARK, linewidth=0.8)
    right.set(xlabel=f"actual - predicted{names.in_unit}", ylabel="rows", title="Residuals")
    return figure


def confusion(measured: Measurement, names: Names) -> Figure:
    """Confusion matrix: colours by the share of each actual label's rows, counts where there is room."""
    actual, labels, classes = measured.actual, names.labels, len(names.labels)
    counts = np.bincount(actual * classes + measured.served, minlength=classes**2)
    counts = counts.reshape(classes, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, (axes,) = _figure(1, width=6.5, height=5.5)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= MOST_COUNTS:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9 if classes < 9 else 7)
    axes.set(xlabel="served", ylabel="actual", title=f"{_short(names.target)}: {len(actual):,} test rows")
    if classes <= MOST_LABELS:
        size, short = 9 if classes < 9 else 6, [_short(label) for label in labels]
        tilted = max(map(len, short)) * classes > 40
        axes.set_xticks(range(classes), short, fontsize=size, rotation=90 if tilted else 0)
        axes.set_yticks(range(classes), short, fontsize=size)
    figure.colorbar(image, label="share of the actual label's rows")
    return figure


def reliability(measured: Measurement, names: Names) -> Figure:
    """What the probabilities say against what happened, before and after calibration."""
    before, after = measured.bins_before, measured.bins
    figure, (axes,) = _figure(1, width=6, height=5)
    axes.plot([0, 1], [0, 1], color=DARK, linewidth=0.8, label="as it should be")
    if before != after:
        axes.plot(*_line(before), "o--", color=PALE, label=f"before calibration, error {calibration_error(before):.3f}")
    _points(axes, after, f"as served, error {calibration_error(after):.3f}")
    of = f"'{_short(names.labels[1])}'" if len(names.labels) == 2 else "the label given"
    seen = f"share that is {of}" if len(names.labels) == 2 else "share that is right"
    axes.set(xlabel=f"probability of {of}", ylabel=seen, title="Do the probabilities hold? Tenths of the test rows")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="best", framealpha=0.7)
    return figure


def coverage(measured: Measurement, names: Names) -> Figure:
    """How often the interval holds the truth, by what is predicted."""
    figure, (axes,) = _figure(1, width=6, height=4.5)
    axes.axhline(names.coverage, color=DARK, linewidth=0.8, label=f"asked: {names.coverage:.0%}")
    _points(axes, measured.bins, "test rows, with 95 % interval")
    axes.set(
        xlabel=f"predicted {_short(names.target)}{names.in_unit}",
        ylabel="share of rows inside the interval",
        title="Does the interval hold? Tenths of the test rows",
        ylim=(min(0.5, *(one.seen.low for one in measured.bins)), 1.01),
    )
    axes.legend(loc="lower left", frameon=False)
    return figure


def importance(measured: Measurement, names: Names) -> Figure:
    """By how much the error grows when a feature's values are shuffled over the test rows."""
    found = measured.importance
    order = np.argsort(-found.mean)[:MOST_BARS][::-1]
    figure, (axes,) = _figure(1, width=7, height=1.3 + 0.24 * max(len(order), 6))
    labels = [_short(found.names[index]) for index in order]
    axes.barh(range(len(order)), found.mean[order], xerr=found.spread[order], color=FULL, ecolor=DARK, capsize=2)
    axes.set_yticks(range(len(order)), labels)
    grown = {"mae": f"absolute error{names.in_unit}", "rmse": "squared error", "accuracy": "share of wrong labels"}
    axes.set_xlabel(f"growth of the {grown.get(measured.metric, 'log loss')}, ± 1 standard deviation")
    left = len(found.names) - len(order)
    figure.suptitle("When a feature is shuffled" + (f": the first {len(order)}, {left} more not shown" if left else ""))
    return figure


def segments(measured: Measurement, names: Names) -> Figure:
    """The metric of each group, with its interval, beside that of all test rows."""
    metric, shown = measured.metric, measured.groups[:MOST_BARS][::-1]
    figure, (axes,) = _figure(1, width=7, height=1.5 + 0.3 * max(len(shown), 4))
    values = [group.metric.value for group in shown]
    reach = _reach([group.metric for group in shown])
    colours = [FULL if group.rows >= SMALLEST_GROUP else PALE for group in shown]
    axes.barh(range(len(shown)), values, xerr=reach, color=colours, ecolor=DARK, capsize=3)
    axes.axvline(measured.figures[metric].value, color=WARM, linewidth=1, label="all test rows")
    axes.set_yticks(range(len(shown)), [f"{_short(group.name)} ({group.rows:,} rows)" for group in shown])
    unit = names.in_unit if metric in ("mae", "rmse") else ""
    axes.set_xlabel(
        f"{metric}{unit}, with 95 % interval; {'lower' if metric in LOWER_IS_BETTER else 'higher'} is better"
    )
    pale = f"; pale: under {SMALLEST_GROUP} rows" if any(group.rows < SMALLEST_GROUP for group in shown) else ""
    left = len(measured.groups) - len(shown)
    figure.suptitle(f"By {_short(str(names.segment))}{f': the largest, {left} more not shown' if left else ''}{pale}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def learning(trials: Sequence[Trial], metric: str) -> Figure:
    """Every trial, and the best so far."""
    figure, (axes,) = _figure(1, width=7, height=4)
    ordered = sorted(trials, key=lambda trial: trial.number)
    best = np.minimum if metric in LOWER_IS_BETTER else np.maximum
    numbers = [trial.number for trial in ordered]
    axes.step(numbers, best.accumulate([t.value for t in ordered]), where="post", color=DARK, label="best so far")
    for candidate in sorted({trial.candidate for trial in ordered}):
        own = [trial for trial in ordered if trial.candidate == candidate]
        colour = CANDIDATE_COLOURS.get(candidate, FULL)
        axes.scatter([t.number for t in own], [t.value for t in own], color=colour, label=candidate, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    better = "lower" if metric in LOWER_IS_BETTER else "higher"
    axes.set(xlabel="trial", ylabel=f"{metric} in cross-validation ({better} is better)", title="Learning from trials")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def _line(bins: Sequence[Bin]) -> tuple[list[float], list[float]]:
    return [one.predicted for one in bins], [one.seen.value for one in bins]


def _points(axes: Any, bins: Sequence[Bin], label: str) -> None:
    reach = _reach([one.seen for one in bins])
    axes.errorbar(*_line(bins), yerr=reach, fmt="o-", color=FULL, capsize=3, label=label)


def _reach(estimates: Sequence[Estimate]) -> Array:
    """(2, estimates) how far each interval goes down and up."""
    return np.maximum(0, [[one.value - one.low for one in estimates], [one.high - one.value for one in estimates]])


def _short(name: str) -> str:
    """Long names would push the picture aside, and often differ at their end; a dollar sign would start a formula."""
    half = LONGEST_NAME // 2
    text = name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[1 - half :]}"
    return text.replace("$", r"\$")


def _figure(columns: int, width: float = 10, height: float = 4) -> tuple[Figure, Array]:
    figure = Figure(figsize=(width, height), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display and without pyplot's global state
    return figure, figure.subplots(1, columns, squeeze=False)[0]
