"""Thresholds on an evaluation's figures, and the figures as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rag_service.errors import BadGate
from rag_service.evaluation import Report

# Of these, less is better: their threshold is the most that is allowed.
_LESS_IS_BETTER = frozenset({"ece", "quotes", "answerable_withheld", "bad_repeated"})
FIGURES = frozenset(
    "mrr answer_containment answer_containment_first_quote quotes exact_match f1 abstention_precision "
    "abstention_recall auroc ece near_miss_auroc near_miss_withheld answerable_withheld bad_repeated".split()
)


def read_gate(given: Sequence[str]) -> dict[str, float]:
    """Thresholds by figure, from words such as `auroc=0.9` and from JSON files that hold an object of the same. Raises
    BadGate."""
    gate: dict[str, float] = {}
    for word in given:
        name, equals, value = word.partition("=")
        try:
            gate |= {name.strip(): float(value)} if equals else json.loads(Path(word).read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise BadGate(word, str(error)) from error
    return check_gate(gate)


def check_gate(gate: Mapping[str, object]) -> dict[str, float]:
    """The thresholds, if each names a figure and is a number. Raises BadGate."""
    checked: dict[str, float] = {}
    for name, value in gate.items():
        if name not in FIGURES and not (name.startswith("recall@") and name[7:].isdigit()):
            raise BadGate(name, f"there is no such figure; there are recall@k and {', '.join(sorted(FIGURES))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadGate(name, f"the threshold must be a number, not {value!r}")
        checked[name] = float(value)
    return checked


def missed(report: Report, gate: Mapping[str, float]) -> list[str]:
    """A sentence for each threshold that is not met; a figure that could not be measured does not meet its own."""
    sentences = []
    for name, threshold in gate.items():
        figure, less = report.figures.get(name), name in _LESS_IS_BETTER
        found = f"is {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})" if figure else "was not measured"
        if figure is None or (figure.value > threshold if less else figure.value < threshold):
            sentences.append(f"{name} {found}; wanted: {'at most' if less else 'at least'} {threshold:g}.")
    return sentences


_IN_ROW = (
    "recall@1", "recall@3", "mrr", "answer_containment", "answer_containment_first_quote", "quotes", "auroc",
    "near_miss_auroc",
)  # fmt: skip


def as_row(name: str, figures: Mapping[str, str] | None = None) -> str:
    """A row of a table in Markdown; without figures its head."""
    return f"| {name} | " + " | ".join(figures.get(one, "") if figures else one for one in _IN_ROW) + " |"


def as_text(report: Report) -> str:
    """The report as a table for people."""
    lines = [f"{report.questions} questions, {report.answerable} of them answerable; top_k {report.top_k}", ""]
    for name, figure in report.figures.items():
        said = "not measured" if figure is None else f"{figure.value:6.3f}   {figure.low:.3f} to {figure.high:.3f}"
        lines.append(f"{name:32}{said}")
    lines += ["", "confidence    questions   said    so"]
    for one in report.reliability:
        lines.append(f"{one.low:.1f} to {one.high:.1f}    {one.count:9}   {one.said:.2f}    {one.true:.2f}")
    return "\n".join(lines)
