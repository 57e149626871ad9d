"""Rows of a table that can be read alone: each says its column's names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag_service.reading.blocks import Piece
from rag_service.reading.characters import flat

_LONGEST_NAME = 80
_NUMBER = re.compile(r"[-+−]?[\d.,\s]*\d[\d.,\s]*%?")


def row_pieces(grid: Sequence[Sequence[str]], names: Sequence[str] = (), page: int | None = None) -> list[Piece]:
    """Each row as `name: value | name: value` without its empty cells; without names as `a | b`, where empty cells keep
    their place. A row of a single cell under several names is shown as it is."""
    pieces = []
    for row in grid:
        cells = [flat(cell) for cell in row]
        if not any(cells):
            continue
        if names and (len(row) > 1 or len(names) == 1):
            named = zip([*names, *[""] * len(cells)], cells, strict=False)
            words = " | ".join(f"{name}: {cell}" if name else cell for name, cell in named if cell)
        else:
            words = " | ".join(cells)
        pieces.append(Piece("row", words, names=tuple(names), page=page))
    return pieces


def is_header(grid: Sequence[Sequence[str]], told: bool) -> bool:
    """Whether a table's first row names its columns. `told`: its looks say so. Names are short and most of them differ;
    without a word of the looks, a column whose values are numbers and whose first cell is none tells."""
    if len(grid) < 2:
        return False
    first, others = [flat(cell) for cell in grid[0]], grid[1:]
    named = [cell for cell in first if cell]
    if len(named) < max(len(first) / 2, 2) or len(set(named)) <= len(named) / 2:
        return False
    if max(map(len, named)) > _LONGEST_NAME:
        return False
    return told or (not any(map(_NUMBER.fullmatch, named)) and _contrasts(first, others))


def _contrasts(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    for place, name in enumerate(first):
        column = [row[place] for row in others if place < len(row) and row[place].strip()]
        if name and column and not re.search(r"\d", name) and all(re.match(r"\W*\d", cell.strip()) for cell in column):
            return True
    return False


def joined_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """The names of columns that several rows of a header give together, such as "Depth 2020"."""
    width = max(map(len, rows), default=0)
    columns = ([flat(row[place]) for row in rows if place < len(row)] for place in range(width))
    return [" ".join(dict.fromkeys(name for name in column if name)) for column in columns]
