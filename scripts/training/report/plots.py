"""The pictures that a person looks at before trusting a model. Each is readable with a hundred features or labels."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.config import LOWER_IS_BETTER, SMALLEST_GROUP
from training.evaluation.diagnostics import Bin, Estimate, Trial, calibration_error
from training.evaluation.metrics import Array
from training.report.card import Card

MOST_BARS = 30
MOST_COUNTS = 15  # labels up to which a confusion matrix has its counts written in
MOST_LABELS = 40  # labels up to which they are named at the axes
LONGEST_NAME = 28
FULL, PALE, DARK, WARM = "#2f6db3", "#b9cfe8", "#333333", "#d1602b"
# The first that has a letter draws it; those after the first are for other scripts, where they are installed.
FONTS = "DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Droid Sans Fallback", "PingFang SC", "Arial Unicode MS"
CANDIDATE_COLOURS = {"extra_trees": "#2f6db3", "random_forest": "#4a9a5b", "xgboost": "#d1602b"}


def save(folder: Path, card: Card, trials: Sequence[Trial], search_metric: str) -> None:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = [name for name in FONTS if name in installed]
    with rc_context({"text.parse_math": False, "font.family": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as a box
        for name, picture in draw(card, trials, search_metric).items():
            picture.savefig(folder / name)


def draw(card: Card, trials: Sequence[Trial], search_metric: str) -> dict[str, Figure]:
    pictures = {"importance.png": importance(card), "trials.png": learning(trials, search_metric)}
    if card.contract["labels"]:
        pictures |= {"confusion-matrix.png": confusion(card), "calibration.png": reliability(card)}
    else:
        pictures |= {"residuals.png": residuals(card), "calibration.png": coverage(card)}
    return pictures | ({"segments.png": segments(card)} if card.measured.groups else {})


def residuals(card: Card) -> Figure:
    actual, predicted, named = card.measured.actual, card.measured.predicted, _target(card)
    figure, (left, right) = _figure(2)
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    left.plot(ends, ends, color=DARK, linewidth=0.8)
    left.scatter(predicted, actual, s=8, alpha=0.3, color=FULL, linewidths=0)
    left.set(xlabel=f"predicted {named}", ylabel=f"actual {named}", title=f"{len(actual):,} test rows")
    right.hist(actual - predicted, bins=40, color=FULL)
    right.axvline(0, color=DARK, linewidth=0.8)
    right.set(xlabel=f"actual - predicted{_unit(card)}", ylabel="rows", title="Residuals")
    return figure


def confusion(card: Card) -> Figure:
    """Confusion matrix: colours by the share of each actual label's rows, counts where there is room."""
    actual, labels = card.measured.actual, [_short(label) for label in card.contract["labels"]]
    classes = len(labels)
    counts = np.bincount(actual * classes + card.measured.served, minlength=classes**2).reshape(classes, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, (axes,) = _figure(1, width=6.5, height=5.5)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= MOST_COUNTS:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9 if classes < 9 else 7)
    axes.set(xlabel="served", ylabel="actual", title=f"{_short(card.contract['target'])}: {len(actual):,} test rows")
    if classes <= MOST_LABELS:
        size, tilted = 9 if classes < 9 else 6, max(map(len, labels)) * classes > 40
        axes.set_xticks(range(classes), labels, fontsize=size, rotation=90 if tilted else 0)
        axes.set_yticks(range(classes), labels, fontsize=size)
    figure.colorbar(image, label="share of the actual label's rows")
    return figure


def reliability(card: Card) -> Figure:
    """What the probabilities say against what happened, before and after calibration."""
    before, after, labels = card.measured.bins_before, card.measured.bins, card.contract["labels"]
    figure, (axes,) = _figure(1, width=6, height=5)
    axes.plot([0, 1], [0, 1], color=DARK, linewidth=0.8, label="as it should be")
    if before != after:
        axes.plot(*_line(before), "o--", color=PALE, label=f"before calibration, error {calibration_error(before):.3f}")
    _points(axes, after, f"as served, error {calibration_error(after):.3f}")
    of = f"'{_short(labels[1])}'" if len(labels) == 2 else "the label given"
    seen = f"share that is {of}" if len(labels) == 2 else "share that is right"
    axes.set(xlabel=f"probability of {of}", ylabel=seen, title="Do the probabilities hold? Tenths of the test rows")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="best", framealpha=0.7)
    return figure


def coverage(card: Card) -> Figure:
    figure, (axes,) = _figure(1, width=6, height=4.5)
    asked = card.contract["interval"]["coverage"]
    axes.axhline(asked, color=DARK, linewidth=0.8, label=f"asked: {asked:.0%}")
    _points(axes, card.measured.bins, "test rows, with 95 % interval")
    axes.set(
        xlabel=f"predicted {_target(card)}",
        ylabel="share of rows inside the interval",
        title="Does the interval hold? Tenths of the test rows",
        ylim=(min(0.5, *(one.seen.low for one in card.measured.bins)), 1.01),
    )
    axes.legend(loc="lower left", frameon=False)
    return figure


def importance(card: Card) -> Figure:
    """By how much the error grows when a feature's values are shuffled over the test rows."""
    found = card.measured.importance
    order = np.argsort(-found.mean)[:MOST_BARS][::-1]
    names = [_short(found.names[index]) for index in order]
    figure, axes = _bars(names, found.mean[order], found.spread[order], [FULL] * len(order))
    grown = {"mae": f"absolute error{_unit(card)}", "rmse": "squared error", "accuracy": "share of wrong labels"}
    axes.set_xlabel(f"growth of the {grown.get(card.measured.metric, 'log loss')}, ± 1 standard deviation")
    left = len(found.names) - len(order)
    figure.suptitle("When a feature is shuffled" + (f": the first {len(order)}, {left} more not shown" if left else ""))
    return figure


def segments(card: Card) -> Figure:
    measured, metric = card.measured, card.measured.metric
    shown = measured.groups[:MOST_BARS][::-1]
    names = [f"{_short(group.name)} ({group.rows:,} rows)" for group in shown]
    colours = [FULL if group.rows >= SMALLEST_GROUP else PALE for group in shown]
    values = np.array([group.metric.value for group in shown])
    figure, axes = _bars(names, values, _reach([group.metric for group in shown]), colours)
    axes.axvline(measured.figures[metric].value, color=WARM, linewidth=1, label="all test rows")
    unit = _unit(card) if metric in ("mae", "rmse") else ""
    axes.set_xlabel(f"{metric}{unit}, with 95 % interval; {_better(metric)} is better")
    pale = f"; pale: under {SMALLEST_GROUP} rows" if any(group.rows < SMALLEST_GROUP for group in shown) else ""
    left = len(measured.groups) - len(shown)
    figure.suptitle(f"By {_short(str(card.segment))}{f': the largest, {left} more not shown' if left else ''}{pale}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def learning(trials: Sequence[Trial], metric: str) -> Figure:
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
    label = f"{metric} in cross-validation ({_better(metric)} is better)"
    axes.set(xlabel="trial", ylabel=label, title="Learning from trials")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def _bars(names: list[str], values: Array, reach: Array, colours: list[str]) -> tuple[Figure, Any]:
    figure, (axes,) = _figure(1, width=7, height=1.5 + 0.25 * max(len(names), 5))
    axes.barh(range(len(names)), values, xerr=reach, color=colours, ecolor=DARK, capsize=2)
    axes.set_yticks(range(len(names)), names)
    return figure, axes


def _line(bins: Sequence[Bin]) -> tuple[list[float], list[float]]:
    return [one.predicted for one in bins], [one.seen.value for one in bins]


def _points(axes: Any, bins: Sequence[Bin], label: str) -> None:
    reach = _reach([one.seen for one in bins])
    axes.errorbar(*_line(bins), yerr=reach, fmt="o-", color=FULL, capsize=3, label=label)


def _reach(estimates: Sequence[Estimate]) -> Array:
    """(2, estimates) how far each interval goes down and up."""
    return np.maximum(0, [[one.value - one.low for one in estimates], [one.high - one.value for one in estimates]])


def _better(metric: str) -> str:
    return "lower" if metric in LOWER_IS_BETTER else "higher"


def _unit(card: Card) -> str:
    return f" ({card.contract['target_unit']})" if card.contract["target_unit"] else ""


def _target(card: Card) -> str:
    return f"{_short(card.contract['target'])}{_unit(card)}"


def _short(name: str) -> str:
    """Long names would push the picture aside, and often differ at their end; a dollar sign would start a formula."""
    half = LONGEST_NAME // 2
    text = name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[1 - half :]}"
    return text.replace("$", r"\$")


def _figure(columns: int, width: float = 10, height: float = 4) -> tuple[Figure, Array]:
    figure = Figure(figsize=(width, height), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display and without pyplot's global state
    return figure, figure.subplots(1, columns, squeeze=False)[0]
