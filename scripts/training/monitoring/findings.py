"""What one window showed and what was decided, as figures for MLflow and as words for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.data.files import identifier
from training.monitoring.drift import PREDICTIONS, Column, LiveError
from training.monitoring.policy import Decision, Window
from training.monitoring.window import Truths


@dataclass(frozen=True)
class Measured:
    """A window with all that was found in it. `unreadable` lines of the log were left out."""

    window: Window
    columns: Sequence[Column]
    error: LiveError | None
    truths: Truths
    unreadable: int


@dataclass(frozen=True)
class Findings:
    """`past` are the windows of this version before the measured one, oldest first."""

    model: str
    measured: Measured
    past: Sequence[Window]
    decision: Decision

    @property
    def headline(self) -> str:
        """What was found and what was decided, in one sentence."""
        window, error = self.measured.window, self.measured.error
        if self.decision.action == "retrain":
            return f"Training was asked for: {self.decision.text}."
        if window.alarming:
            return f"{_capital(window.findings)}, but training was not asked for: {self.decision.reasons[-1].text}."
        known = f"; the error is {error.error:.3g}, where {error.promised:.3g} was promised" if error else ""
        return f"All quiet: {window.rows:,} rows look as in training{known}."

    def metrics(self) -> dict[str, float]:
        """The figures by the names under which MLflow shows them, in groups by what is before the slash."""
        window = self.measured.window
        figures: dict[str, float] = {"rows": window.rows, "alarming": window.alarming}
        for column in self.measured.columns:
            where = place(column.name)
            figures |= {f"psi/{where}": column.psi, f"missing/{where}": column.share(column.missing)}
            kind = "unseen" if column.histogram.categories else "out_of_range"
            figures[f"{kind}/{where}"] = column.share(column.outside)
        figures["labelled_rows"] = self.measured.truths.rows
        if error := self.measured.error:
            figures |= {"live/error": error.error, "live/lower": error.lower, "live/upper": error.upper}
            figures["live/promised"] = error.promised
            if error.coverage is not None:
                figures["live/interval_coverage"] = error.coverage
        return {name: float(value) for name, value in figures.items()}


def place(name: str) -> str:
    """By what a column's figures and picture are known in MLflow. No identifier holds a dash."""
    if name == PREDICTIONS:
        return "predictions"
    return "predictions-feature" if identifier(name) == "predictions" else identifier(name)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
