"""A column as a picture: the share of rows in each bin, in training and live, as an SVG that stands alone."""

from __future__ import annotations

from html import escape

from training.monitoring.drift import Column

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 34, 6, 30, 34
TRAINED, LIVE, DRIFTED = "#aab4c0", "#2563a8", "#c2410c"
MOST_BINS = 12
_GRID, _INK, _FAINT = "#e3e7ec", "#1c2733", "#5b6774"


def draw(column: Column) -> str:
    """The picture, with a title for those who cannot see it."""
    bars, hidden = _bars(column)
    most = max([share for _, *pair in bars for share in pair] + [0.01])
    colour = DRIFTED if column.drifted else LIVE
    verdict = "drifted" if column.drifted else "as in training"
    about = f"{column.name}: index {column.psi:.2f}, limit {column.limit:.2f}, {verdict}"
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


def _bars(column: Column) -> tuple[list[tuple[str, float, float]], int]:
    """Name, training share and live share of each bar, and how many rare categories are left out."""
    histogram = column.histogram
    trained = sum(histogram.counts) + histogram.missing or 1
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
    """Numbers are written at the bounds of the bins, every other one; names under their bars, cut to fit."""
    y, edges = HEIGHT - BOTTOM + 12, column.histogram.edges
    if len(edges) < 2:
        fits = max(3, int(slot / 5.5))
        places = [(LEFT + (index + 0.5) * slot, _cut(name, fits)) for index, name in enumerate(names)]
    else:
        places = [(LEFT + index * slot, f"{edge:.4g}") for index, edge in enumerate(edges) if index % 2 == 0]
        extra = range(len(edges) - 1, len(names))
        places += [(LEFT + (index + 0.6) * slot, names[index]) for index in extra]
    anchor = ["end" if x > WIDTH - RIGHT - 12 else "middle" for x, _ in places]  # the last bound would be cut off
    return [
        f'<text x="{x:.1f}" y="{y}" text-anchor="{where}">{escape(text)}</text>'
        for (x, text), where in zip(places, anchor, strict=True)
    ]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _y(part: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - part)
