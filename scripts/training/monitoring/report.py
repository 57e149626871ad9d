"""What one window showed and what was decided: figures for MLflow, and one page for a person, without any script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from training.data.files import identifier
from training.monitoring.drift import PREDICTIONS, Column
from training.monitoring.policy import Decision, Window
from training.monitoring.window import Statistics

TEMPLATE = Path(__file__).with_name("report.html")
MOST_PICTURES = 60
WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 34, 6, 30, 34
TRAINED, LIVE, DRIFTED = "#aab4c0", "#2563a8", "#c2410c"
MOST_BINS = 12
_GRID, _INK, _FAINT = "#e3e7ec", "#1c2733", "#5b6774"


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
            return f"Training was asked for: {self.decision.text}."
        if window.alarming:
            found = window.summary[:1].upper() + window.summary[1:]
            return f"{found}, but training was not asked for: {self.decision.reasons[-1].text}."
        known = f"; the error is {error.error:.3g}, where {error.promised:.3g} was promised" if error else ""
        return f"All quiet: {window.rows:,} rows look as in training{known}."

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
        figures["labelled_rows"] = self.found.feedback.rows
        if error := self.found.error:
            figures |= {"live/error": error.error, "live/lower": error.lower, "live/upper": error.upper}
            figures["live/promised"] = error.promised
            if self.found.feedback.coverage is not None:
                figures["live/interval_coverage"] = self.found.feedback.coverage
        return {name: float(value) for name, value in figures.items()}

    def files(self) -> dict[str, str]:
        """The page, and a picture of each column in it."""
        charts = {column.name: draw(column) for column in self.columns[:MOST_PICTURES]}
        pictures = {f"plots/{metric_key(name)}.svg": picture for name, picture in charts.items()}
        template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        shown = [Markup(picture) for picture in charts.values()]  # noqa: S704  drawn below, and escaped there
        text = template.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
            report=self, pictures=shown, verdict=verdict
        )
        return {"report.html": text, **pictures}


def metric_key(name: str) -> str:
    """What a column's figures and picture are called in MLflow. No identifier holds a dash."""
    if name == PREDICTIONS:
        return "predictions"
    return "predictions-feature" if identifier(name) == "predictions" else identifier(name)


def draw(column: Column) -> str:
    """The share of rows in each bin, in training and live, as an SVG that stands alone."""
    bars, hidden = _bars(column)
    most = max([share for _, *pair in bars for share in pair] + [0.01])
    colour = DRIFTED if column.drifted else LIVE
    about = f"{column.name}: index {column.psi:.2f}, limit {column.limit:.2f}, {verdict(column)}"
    more = f" · {hidden} rarer ones not drawn" if hidden else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="9" fill="{_FAINT}">',
        f"<title>{escape(about)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="4" y="14" font-size="12" font-weight="600" fill="{_INK}">{escape(_cut(column.name, 34))}</text>',
        f'<text x="{WIDTH - RIGHT}" y="14" text-anchor="end" font-size="11" fill="{colour}">'
        f"index {column.psi:.2f}{', drifted' if column.drifted else ''}{more}</text>",
    ]
    for step in (0.0, 0.5, 1.0):
        y = _y(step)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(f'<text x="{LEFT - 4}" y="{y + 3:.1f}" text-anchor="end">{most * step:.0%}</text>')
    slot = (WIDTH - LEFT - RIGHT) / len(bars)
    for index, (name, trained, live) in enumerate(bars):
        x, bar = LEFT + index * slot, slot * 0.4
        for place, share, fill in ((0.1, trained, TRAINED), (0.5, live, colour)):
            top = _y(share / most)
            parts.append(
                f'<rect x="{x + place * slot:.1f}" y="{top:.1f}" width="{bar:.1f}" height="{_y(0) - top:.1f}" '
                f'fill="{fill}"><title>{escape(name)}: {share:.1%}</title></rect>'
            )
    parts += _labels(column, [name for name, *_ in bars], slot)
    return "".join([*parts, "</svg>"])


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


def _labels(column: Column, names: list[str], slot: float) -> list[str]:
    """Numbers are written at the bounds of the bins; names under their bars, cut to fit."""
    y, edges = HEIGHT - BOTTOM + 12, column.histogram.edges
    if len(edges) < 2:
        fits = max(3, int(slot / 5.5))
        places = [(LEFT + (index + 0.5) * slot, _cut(name, fits)) for index, name in enumerate(names)]
    else:
        every = 4 if column.histogram.kind == "date" and len(edges) > 6 else 2  # a date takes the room of two numbers
        labels = [column.histogram.edge(edge) for edge in edges]
        places = [(LEFT + index * slot, text) for index, text in enumerate(labels) if index % every == 0]
        places += [(LEFT + (index + 0.6) * slot, names[index]) for index in range(len(edges) - 1, len(names))]
    anchor = ["end" if x > WIDTH - RIGHT - 12 else "middle" for x, _ in places]  # the last bound would be cut off
    return [
        f'<text x="{x:.1f}" y="{y}" text-anchor="{where}">{escape(text)}</text>'
        for (x, text), where in zip(places, anchor, strict=True)
    ]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _y(part: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - part)
