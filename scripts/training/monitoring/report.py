"""What one window showed and what was decided: figures for MLflow, and one page for a person, without any script."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from training.data.files import identifier
from training.monitoring.drift import PREDICTIONS, Column
from training.monitoring.policy import Decision, Window
from training.monitoring.window import FAR_OFF, Statistics

MOST_PICTURES = 60
WIDTH, LEFT, RIGHT = 360, 34, 6  # of a picture, and of its axis within
MOST_BINS = 12
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Report:
    """`past` are the windows of this version before the measured one, oldest first."""

    model: str
    found: Statistics
    past: Sequence[Window]
    decision: Decision

    @property
    def headline(self) -> str:
        """What was found and what was decided, in one sentence."""
        window, error = self.found.window, self.found.error
        if self.decision.action == "retrain":
            return f"Training was requested: {self.decision.text}."
        if window.alarming:
            found = window.summary[:1].upper() + window.summary[1:]
            return f"{found}, but training was not requested: {self.decision.reasons[-1].text}."
        known = f"; the error is {error.error:.3g}, where {error.promised:.3g} was promised" if error else ""
        return f"No alarm: {window.rows:,} rows look as in training{known}."

    @property
    def columns(self) -> list[Column]:
        """Those that drifted first, then the others, each by the size of its index."""
        return sorted(self.found.columns, key=lambda column: (not column.drifted, -column.psi))

    def metrics(self) -> dict[str, float]:
        """The figures by the names under which MLflow shows them, in groups by what is before the slash."""
        window = self.found.window
        figures: dict[str, float] = {"rows": window.rows, "alarming": window.alarming}
        for column in self.found.columns:
            key = metric_key(column.name)
            figures |= {f"psi/{key}": column.psi, f"missing/{key}": column.share(column.missing)}
            kind = "unseen" if column.histogram.categories else "out_of_range"
            figures[f"{kind}/{key}"] = column.share(column.outside)
        judged = [column for column in self.found.columns if column.histogram.kind != "date"]
        figures["drift/worst"] = max(column.psi for column in judged)  # the predictions are always among them
        figures["drift/limit"] = judged[0].limit
        figures |= {"labelled_rows": self.found.feedback.rows, "far_off_rows": self.found.feedback.far_off}
        if error := self.found.error:
            figures |= {"live/error": error.error, "live/lower": error.lower, "live/upper": error.upper}
            figures |= {"live/promised": error.promised, "live/limit": error.limit}
            if self.found.feedback.coverage is not None:
                figures["live/interval_coverage"] = self.found.feedback.coverage
        return {name: float(value) for name, value in figures.items()}

    def files(self) -> dict[str, str]:
        """The page, and a picture of each column in it."""
        charts = {column.name: draw(column) for column in self.columns[:MOST_PICTURES]}
        shown = [Markup(picture) for picture in charts.values()]  # noqa: S704  its template escapes
        text = TEMPLATES.get_template("report.html").render(
            report=self, pictures=shown, verdict=verdict, far_off=FAR_OFF
        )
        return {"report.html": text} | {f"plots/{metric_key(name)}.svg": picture for name, picture in charts.items()}


def metric_key(name: str) -> str:
    """What a column's figures and picture are called in MLflow. No identifier holds a dash."""
    if name == PREDICTIONS:
        return "predictions"
    return "predictions-feature" if identifier(name) == "predictions" else identifier(name)


def draw(column: Column) -> str:
    """The share of rows in each bin, in training and live, as an SVG that stands alone."""
    bars, hidden = _bars(column)
    most = max([share for _, *pair in bars for share in pair] + [0.01])
    return TEMPLATES.get_template("column.svg").render(
        column=column,
        verdict=verdict(column),
        bars=bars,
        hidden=hidden,
        most=most,
        labels=_labels(column, [name for name, *_ in bars]),
        **{"WIDTH": WIDTH, "LEFT": LEFT, "RIGHT": RIGHT},
    )


def verdict(column: Column) -> str:
    """Whether a column drifted, in words."""
    if column.histogram.kind == "date":
        return "not judged: dates move on"
    if column.drifted:
        return "drifted"
    return "may be chance" if column.psi > column.limit else "as in training"


def _bars(column: Column) -> tuple[list[tuple[str, float, float]], int]:
    """Name, training share and live share of each bar, and how many rare categories are left out."""
    histogram = column.histogram
    trained = histogram.rows or 1
    bars = [
        (name, before / trained, column.share(now))
        for name, before, now in zip(histogram.bins, histogram.counts, column.live, strict=True)
    ]
    hidden = max(0, len(bars) - MOST_BINS)
    if hidden:
        bars = sorted(bars, key=lambda bar: -max(bar[1:]))[:MOST_BINS]
    if histogram.missing or column.missing:
        bars.append(("missing", histogram.missing / trained, column.share(column.missing)))
    if histogram.categories and column.outside:
        bars.append(("unseen", 0.0, column.share(column.outside)))
    return bars, hidden


def _labels(column: Column, names: list[str]) -> list[tuple[float, str]]:
    """Where to write what: numbers at the bounds of the bins; names under their bars, cut to fit."""
    edges, slot = column.histogram.edges, (WIDTH - LEFT - RIGHT) / len(names)
    if len(edges) < 2:
        fits = max(3, int(slot / 5.5))
        return [(LEFT + (index + 0.5) * slot, _cut(name, fits)) for index, name in enumerate(names)]
    every = 4 if column.histogram.kind == "date" and len(edges) > 6 else 2  # a date takes the room of two numbers
    places = [(LEFT + at * slot, column.histogram.edge(edges[at])) for at in range(0, len(edges), every)]
    return places + [(LEFT + (at + 0.6) * slot, names[at]) for at in range(len(edges) - 1, len(names))]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


TEMPLATES.filters["cut"] = _cut
