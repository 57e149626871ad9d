"""What drawings in office files say: charts, diagrams and the descriptions of pictures."""

from __future__ import annotations

import re

from rag_service.reading.blocks import Piece
from rag_service.reading.ooxml import NOTHING, Element
from rag_service.reading.tables import row_pieces

# What programs write where a person wrote no description.
_NO_DESCRIPTION = re.compile(r"\S+\.(png|jpe?g|gif|emf|wmf|bmp|tiff?|svg)|https?://\S+|.*AI-generated.*", re.I | re.S)


def picture_pieces(description: str) -> list[Piece]:
    """A picture's description (alternative text), where a person wrote one."""
    words = re.sub(r"\s*Description automatically generated[\w ]*", "", description).strip()
    said = words and not _NO_DESCRIPTION.fullmatch(words)
    return [Piece("note", words, label="Picture:")] if said else []


def drawn_pieces(root: Element) -> list[Piece]:
    """The words of a diagram (SmartArt), of its data part, and of text boxes; of a chart its title and a row for each
    category, with the values that its part keeps."""
    if root.tag != "chartSpace":
        return [Piece("paragraph", one.text()) for one in root.descendants("p")]
    pieces = [Piece("paragraph", next(root.descendants("title"), NOTHING).text())]
    series = [(" ".join(_points(one, "tx").values()), one) for one in root.descendants("ser")]
    if not series:
        return pieces
    categories = _points(series[0][1], "cat", "xVal")
    values = [_points(one, "val", "yVal") for _, one in series]
    grid = [[category, *(one.get(place, "") for one in values)] for place, category in categories.items()]
    return pieces + row_pieces(grid, ["", *(name for name, _ in series)])


def _points(series: Element, *tags: str) -> dict[str, str]:
    """The points of a part of a series by their place."""
    points = (point for tag in tags for point in series.child(tag).descendants("pt"))
    return {point.get("idx"): fifteen_digits(point.child("v").text()) for point in points}


def fifteen_digits(words: str) -> str:
    """A number with at most 15 digits, as Excel shows it: 0.1 + 0.2 is 0.3. Other words as they are."""
    try:
        short = f"{float(words):.15g}"
    except ValueError:
        return words
    return words if re.search("[a-z]", short) else short
