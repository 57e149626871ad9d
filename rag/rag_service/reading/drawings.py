"""What drawings in office files say: charts, diagrams and the descriptions of pictures."""

from __future__ import annotations

import re

from rag_service.reading.blocks import Piece
from rag_service.reading.ooxml import Element
from rag_service.reading.tables import row_pieces

# What programs write where a person wrote no description.
_NO_DESCRIPTION = re.compile(r"\S+\.(png|jpe?g|gif|emf|wmf|bmp|tiff?|svg)|https?://\S+|.*AI-generated.*", re.I | re.S)


def picture_pieces(description: str, page: int | None = None) -> list[Piece]:
    """A picture's description (alternative text), where a person wrote one."""
    words = re.sub(r"\s*Description automatically generated[\w ]*", "", description).strip()
    said = words and not _NO_DESCRIPTION.fullmatch(words)
    return [Piece("note", words, label="Picture:", page=page)] if said else []


def diagram_pieces(root: Element, page: int | None = None) -> list[Piece]:
    """The words of a diagram (SmartArt), of its data part."""
    return [Piece("paragraph", one.text(), page=page) for one in root.descendants("p")]


def chart_pieces(root: Element, page: int | None = None) -> list[Piece]:
    """A chart's title and the values that its part keeps of it, a row for each category."""
    title = next(root.descendants("title"), None)
    pieces = [Piece("paragraph", title.text(), page=page)] if title else []
    series = [(" ".join(_points(one, "tx").values()), one) for one in root.descendants("ser")]
    if not series:
        return pieces
    categories = _points(series[0][1], "cat", "xVal")
    values = [_points(one, "val", "yVal") for _, one in series]
    grid = [[category, *(one.get(place, "") for one in values)] for place, category in categories.items()]
    return pieces + row_pieces(grid, ["", *(name for name, _ in series)], page)


def _points(series: Element, *tags: str) -> dict[str, str]:
    """The points of a part of a series by their place."""
    parts = [part for tag in tags if (part := series.child(tag))]
    points = (point for part in parts for point in part.descendants("pt"))
    return {point.attributes.get("idx", ""): value.text() for point in points if (value := point.child("v"))}
