"""The model card: what a person must know before trusting a version, as Markdown (Mitchell et al. 2019).

It becomes the version's page in MLflow, which holds DESCRIPTION_LIMIT characters. Its last section is the gate's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.diagnostics import Estimate
from training.evaluation.measurement import Measurement
from training.evaluation.metrics import SMALLEST_GROUP
from training.model.onnx_runtime import model_columns

GATE_HEADING = "## Gate verdict"
NOT_JUDGED = "not judged yet"
DESCRIPTION_LIMIT = 5000  # the registry's column in a database that enforces it
ROOM_FOR_VERDICT = 1500
TOO_GOOD = 0.999  # accuracy or R²: rarely a good model, mostly a column that is made from the target
LENGTHS = (30, 15, 10, 6, 3, 1)  # items of a list, tried in turn until the page fits


@dataclass(frozen=True)
class Card:
    """A version as its card tells it: the contract that it carries, the report of the checks, how it was measured, the
    winning parameters, how many trials there were, and the column that `measured.groups` are of."""

    contract: dict[str, Any]
    report: dict[str, Any]
    measured: Measurement
    parameters: dict[str, Any]
    trials: int
    segment: str | None


def page(card: Card) -> str:
    """The card with lists as long as the version's page has room for, the verdict's included."""
    for items in LENGTHS:
        text = render(card, items)
        if len(text) <= DESCRIPTION_LIMIT - ROOM_FOR_VERDICT:
            break
    return text


def render(card: Card, items: int = 1000) -> str:
    """The card with at most `items` items in each list."""
    sections = [_opening(card), _data(card), _metrics(card), _trust(card)]
    if card.measured.groups:
        sections.append(_segments(card, items))
    sections += [_importance(card, items), _use(card, items), _limits(card, items)]
    return "\n\n".join([*sections, f"{GATE_HEADING}\n{NOT_JUDGED}\n"])


def _opening(card: Card) -> str:
    terms, best = card.contract, card.parameters
    options = ", ".join(f"{name} {_figure(value)}" for name, value in best.items() if name != "candidate")
    labels = f", {len(terms['labels'])} labels" if terms["labels"] else ""
    loud = "> **Trained on SYNTHETIC data.** Its figures say nothing about real rows.\n\n"
    return (
        f"{loud if terms['data']['synthetic'] else ''}"
        f"Predicts **{_text(terms['target'])}**{_unit(card)} from {len(terms['features'])} features "
        f"({terms['task']}{labels}). {best['candidate']}, the best of {card.trials} trials: {options}. "
        f"Trained {terms['trained_at']}, code {terms['code_version']}, run {terms['run_id']}."
    )


def _data(card: Card) -> str:
    data, report = card.contract["data"], card.report
    parts = ", ".join(f"{rows:,} {part}" for part, rows in report["parts"].items())
    lines = [
        f"`{data['source']}`{', **synthetic**' if data['synthetic'] else ''}, {_digest(data['digest'])}",
        f"{report['rows']:,} rows read; set aside: {report['rows_repeated']:,} repeated, "
        f"{report['rows_without_target']:,} without a target; used: {report['rows_used']:,} ({parts})",
    ]
    if report["missing"]:
        most = sorted(report["missing"].items(), key=lambda item: -item[1])
        shown = ", ".join(f"{_text(name)} {count:,}" for name, count in most[:5])
        more = f" and {len(most) - 5} more columns" if len(most) > 5 else ""
        lines.append(f"missing values: {shown}{more}")
    return "\n".join(["## Data", *(f"- {line}" for line in lines)])


def _metrics(card: Card) -> str:
    measured = card.measured
    lines = [
        f"## Metrics\nOn the {len(measured.actual):,} test rows; intervals: bootstrap, 95 %. Baseline: always the "
        f"training {'shares of the labels' if card.contract['labels'] else 'mean'}.\n",
        "| metric | test rows | 95 % interval | baseline |\n| --- | ---: | ---: | ---: |",
    ]
    for name, value in measured.figures.items():
        base = _figure(measured.baseline[name]) if name in measured.baseline else ""
        lines.append(_row(name, f"**{_figure(value.value)}**", _interval(value), base))
    return "\n".join(lines)


def _trust(card: Card) -> str:
    """The interval, or the probabilities."""
    measured, calibrated = card.measured, card.contract["calibration"]
    rows = f"{calibrated['rows']:,} calibration rows"
    if measured.covered:
        interval = card.contract["interval"]
        worst = min(measured.bins, key=lambda one: one.seen.value)
        return (
            f"## Prediction interval\nPrediction ± {_figure(interval['half_width'])}{_unit(card)} should hold the "
            f"truth in {interval['coverage']:.0%} of cases (split conformal, {rows}). On the test rows it did in "
            f"**{measured.covered.value:.1%}** ({measured.covered.low:.1%} to {measured.covered.high:.1%}); least, "
            f"{worst.seen.value:.0%}, where about {_figure(worst.predicted)} is predicted."
        )
    before, after = measured.details, measured.metrics
    how = (
        f"Temperature scaling, fitted on {rows}"
        if calibrated["method"] != "none"
        else f"Not recalibrated: temperature scaling did not help on {rows}"
    )
    return (
        f"## Probabilities\n{how}. On the test rows: calibration error {after['calibration_error']:.3f} "
        f"(before: {before['calibration_error_uncalibrated']:.3f}), log loss {_figure(after['log_loss'])} "
        f"(before: {_figure(before['log_loss_uncalibrated'])})."
    )


def _segments(card: Card, items: int) -> str:
    groups, metric = card.measured.groups, card.measured.metric
    lines = [
        f"## By {_text(str(card.segment))}\n",
        f"| group | rows | {metric} | 95 % interval |\n| --- | ---: | ---: | ---: |",
    ]
    for group in groups[:items]:
        few = " (few)" if group.rows < SMALLEST_GROUP else ""
        shown = _figure(group.metric.value), _interval(group.metric)
        lines.append(_row(_text(group.name), f"{group.rows:,}{few}", *shown))
    return "\n".join(lines) + _more(len(groups) - items, "groups")


def _importance(card: Card, items: int) -> str:
    found = card.measured.importance
    order = np.argsort(-found.mean)[: min(items, 10)]
    lines = ["## What it relies on\nGrowth of the loss when a feature is shuffled (permutation importance):\n"]
    for place, index in enumerate(order, 1):
        spread = _figure(found.spread[index])
        lines.append(f"{place}. {_text(found.names[index])}: {_figure(found.mean[index])} ± {spread}")
    return "\n".join(lines)


def _use(card: Card, items: int) -> str:
    """A call that can be pasted, with the example row of the contract, or where to find one when there is no room."""
    features = card.contract["features"]
    if len(features) > 2 * items:
        return (
            f"## How to use\n`POST /predict` takes its {len(features)} features; `GET /model` shows an example of each."
        )
    row = json.dumps({feature["name"]: feature["example"] for feature in features}, ensure_ascii=False)
    quoted = row.replace("'", "'\\''")
    call = f"curl -s http://127.0.0.1:8000/predict -H 'Content-Type: application/json' -d '{quoted}'"
    return f"## How to use\n```sh\n{call}\n```"


def _limits(card: Card, items: int) -> str:
    return "\n".join(["## Limits of use", *(f"- {line}" for line in _limit_lines(card, items))])


def _limit_lines(card: Card, items: int) -> Iterator[str]:
    terms, measured = card.contract, card.measured
    if terms["data"]["synthetic"]:
        yield "**The data are synthetic**: good for trying the pipeline, for no decision."
    learned = f"{card.report['parts']['train']:,} rows of this one table"
    yield f"It learned from {learned}; other places and times were not tested."
    found = measured.importance
    features = {feature["name"]: feature for feature in terms["features"]}
    owners = {column: one["name"] for one in terms["features"] for column in model_columns({"features": [one]})}
    ranked = [features[name] for name in dict.fromkeys(owners[found.names[i]] for i in np.argsort(-found.mean))]
    if max(measured.metrics.get("accuracy", 0), measured.metrics.get("r2", 0)) > TOO_GOOD:
        name = _text(ranked[0]["name"])
        yield f"**Hardly an error on the test rows**: is {name} known before the target is, or does it give it away?"
    seen = "; ".join(_range(feature) for feature in ranked[:items])
    more = _more(len(ranked) - items, "features, by `GET /model`", "; ")
    yield f"Seen in training: {seen}{more}. Beyond, it guesses."
    never = [name for name, feature in features.items() if not feature["nullable"]]
    if never:
        which = "any feature" if len(never) == len(features) else f"{len(never)} of its features"
        yield f"Missing values of {which} did not occur in training."
    if measured.half_width is not None:
        yield "The interval is as wide for every row; its promise is for rows like these on average, not for each kind."
    small = [group.name for group in measured.groups if group.rows < SMALLEST_GROUP]
    if small:
        yield f"{len(small)} groups have fewer than {SMALLEST_GROUP} test rows: hardly tested there."
    counts = np.bincount(measured.actual, minlength=len(terms["labels"])) if terms["labels"] else np.array([], int)
    rare = [_text(label) for label, count in zip(terms["labels"], counts, strict=True) if count < SMALLEST_GROUP]
    if rare:
        named = f"{', '.join(rare[:items])}{_more(len(rare) - items, 'labels', ', ')}"
        yield f"Labels with fewer than {SMALLEST_GROUP} test rows, hardly tested: {named}."


def _range(feature: dict[str, Any]) -> str:
    name = _text(feature["name"])
    if feature["type"] == "number":
        unit = f" {_text(feature['unit'])}" if feature["unit"] else ""
        return f"{name} {_figure(feature['low'])} to {_figure(feature['high'])}{unit}"
    if feature["type"] == "boolean":
        return f"{name} true or false"
    if feature["type"] == "date":
        return f"{name} {feature['low']} to {feature['high']}"
    kinds = feature["categories"]
    return f"{name} {', '.join(map(_text, kinds[:5]))}{_more(len(kinds) - 5, 'kinds', ', ')}"


def _row(*cells: str) -> str:
    """A table's row. MLflow's page sets columns without a gap between them."""
    return f"| {' | &emsp;'.join(cells)} |"


def _more(left: int, what: str, before: str = "\n\n") -> str:
    return f"{before}and {left} more {what}" if left > 0 else ""


def _unit(card: Card) -> str:
    unit = card.contract["target_unit"]
    return f" {_text(unit)}" if unit else ""


def _digest(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"{algorithm.upper().replace('SHA', 'SHA-')} {value[:16]}…"


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _interval(estimate: Estimate) -> str:
    return f"{_figure(estimate.low)} to {_figure(estimate.high)}"


def _text(name: str) -> str:
    """A name from the data as Markdown shows it: on one line, and never read as markup."""
    return re.sub(r"([\\`*_|<>\[\]#~])", r"\\\1", " ".join(str(name).split()))
