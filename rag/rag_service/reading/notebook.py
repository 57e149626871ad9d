"""Jupyter notebooks (.ipynb): text as Markdown, code, and the text that the code wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rag_service.errors import LoadFailed
from rag_service.reading import markdown
from rag_service.reading.blocks import Piece, Reading


def read(data: bytes, text_bytes: int) -> Reading:
    """The cells of a notebook. Raises LoadFailed `damaged`."""
    try:
        notebook = json.loads(data)
        # Before version 4 cells stood in sheets, and a cell's code under another name.
        sheets = [notebook] if "cells" in notebook else notebook["worksheets"]
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
        return Reading([piece for cell in cells for piece in _pieces(cell, text_bytes)])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LoadFailed("damaged", f"The notebook is damaged ({type(error).__name__}). Save it again.") from error


def _pieces(cell: dict[str, Any], text_bytes: int) -> Iterator[Piece]:
    words = _joined(cell.get("source", cell.get("input", "")))
    if cell["cell_type"] == "markdown":
        yield from markdown.read(words.encode(), text_bytes).pieces
    elif cell["cell_type"] == "heading":
        yield Piece("heading", words, int(cell.get("level", 1)))
    else:
        yield Piece("code", words)
        for output in cell.get("outputs", ()):
            shown = output.get("text") or output.get("data", {}).get("text/plain") or ""
            yield Piece("code", _joined(shown))


def _joined(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
