"""The model card: what a person must know before trusting a version, as Markdown (Mitchell et al. 2019).

It becomes the version's page in MLflow, which holds DESCRIPTION_LIMIT characters. Its last section is the gate's.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from training.config import SMALLEST_GROUP
from training.evaluation.diagnostics import Measurement
from training.model.onnx_runtime import model_columns

TEMPLATE = Path(__file__).with_name("card.md")
GATE_HEADING = "## Gate verdict"
NOT_JUDGED = "not judged yet"
DESCRIPTION_LIMIT = 5000  # the registry's column in a database that enforces it
ROOM_FOR_VERDICT = 1500
TOO_GOOD = 0.999  # accuracy or R²: rarely a good model, mostly a column that is made from the target
LENGTHS = (30, 15, 10, 6, 3, 1)  # items of a list, tried in turn until the page fits


@dataclass(frozen=True)
class Card:
    """What the card of a version says: the contract that it carries, the report of the checks, how it was measured, the
    winning parameters, how many trials there were, the column that `measured.groups` are of, and the file's bytes."""

    contract: dict[str, Any]
    report: dict[str, Any]
    measured: Measurement
    parameters: dict[str, Any]
    trials: int
    segment: str | None
    size: int


def page(card: Card) -> str:
    """The card with lists as long as the version's page has room for, the verdict's included."""
    for items in LENGTHS:
        text = render(card, items)
        if len(text) <= DESCRIPTION_LIMIT - ROOM_FOR_VERDICT:
            break
    return text


def render(card: Card, items: int = 1000) -> str:
    terms, measured = card.contract, card.measured
    found, leaks = measured.importance, card.report["leaks"]
    order = np.argsort(-found.mean)
    by_column = {column: feature for feature in terms["features"] for column in model_columns({"features": [feature]})}
    ranked = list({by_column[found.names[i]]["name"]: by_column[found.names[i]] for i in order}.values())
    counts: Any = np.bincount(measured.actual, minlength=len(terms["labels"])) if terms["labels"] else []
    example = json.dumps({feature["name"]: feature["example"] for feature in terms["features"]}, ensure_ascii=False)
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701  Markdown: `text` escapes
    environment.filters |= {"text": _text, "figure": _figure, "count": "{:,}".format, "more": _more, "range": _range}
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        card=card,
        items=items,
        missing=sorted(card.report["missing"].items(), key=lambda item: -item[1]),
        warnings=[warning for warning in card.report["warnings"] if warning not in leaks],
        worst=min(measured.bins, key=lambda one: one.seen.value),
        importance=[(found.names[i], found.mean[i], found.spread[i]) for i in order],
        example=example.replace("'", "'\\''"),
        ranked=ranked,
        too_good=max(measured.metrics.get("accuracy", 0), measured.metrics.get("r2", 0)) > TOO_GOOD,
        complete=sum(not feature["nullable"] for feature in terms["features"]),
        smallest=SMALLEST_GROUP,
        small=sum(group.rows < SMALLEST_GROUP for group in measured.groups),
        rare=[label for label, rows in zip(terms["labels"], counts, strict=True) if rows < SMALLEST_GROUP],
        gate_heading=GATE_HEADING,
        not_judged=NOT_JUDGED,
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _range(feature: dict[str, Any]) -> str:
    name, kinds = _text(feature["name"]), feature.get("categories", [])
    if feature["type"] == "boolean":
        return f"{name} true or false"
    if feature["type"] == "category":
        return f"{name} {', '.join(map(_text, kinds[:5]))}{_more(len(kinds) - 5, 'kinds', ', ')}"
    unit = f" {_text(feature['unit'])}" if feature["unit"] else ""
    return f"{name} {_figure(feature['low'])} to {_figure(feature['high'])}{unit}"


def _more(left: int, what: str, before: str) -> str:
    return f"{before}and {left} more {what}" if left > 0 else ""


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _text(name: Any) -> str:
    """A name from the data as Markdown shows it: on one line, and never read as markup."""
    return re.sub(r"([\\`*_|<>\[\]#~])", r"\\\1", " ".join(str(name).split()))
