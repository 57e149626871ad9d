"""Rows of a table that can be read alone: each says its column's names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from rag_service.reading.blocks import Piece
from rag_service.reading.characters import flat

_LONGEST_NAME = 80
_NUMBER = re.compile(r"[-+−]?[\d.,\s]*\d[\d.,\s]*%?")


def row_pieces(grid: Iterable[Sequence[str]], names: Sequence[str] = (), page: int | None = None) -> list[Piece]:
    """Each row as `name: value | name: value` without its empty cells, with the names of its values; without names as
    `a | b`, where empty cells keep their place. A row of a single cell under several names is shown as it is."""
    pieces = []
    for row in grid:
        cells = [flat(cell) for cell in row]
        if not any(cells):
            continue
        if names and (len(row) > 1 or len(names) == 1):
            named = [(name, cell) for name, cell in zip_longest(names, cells, fillvalue="") if cell]
            words = " | ".join(f"{name}: {cell}" if name else cell for name, cell in named)
        else:
            named, words = [], " | ".join(cells)
        pieces.append(Piece("row", words, names=tuple(name for name, _ in named if name), page=page))
    return pieces


def is_header(grid: Sequence[Sequence[str]], marked: bool) -> bool:
    """Whether a table's first row names its columns. Names are short and most of them differ. `marked`: the file shows
    the row in another way than the others; else a column of numbers must stand under a cell that is none."""
    if len(grid) < 2:
        return False
    first, others = [flat(cell) for cell in grid[0]], grid[1:]
    named = [cell for cell in first if cell]
    if len(named) < max(len(first) / 2, 2) or len(set(named)) <= len(named) / 2:
        return False
    if max(map(len, named)) > _LONGEST_NAME:
        return False
    if marked:
        return True
    paired = any(cell.endswith(":") for cell in named)  # the names of values beside them
    return not paired and not any(map(is_number, named)) and _contrasts(first, others)


def is_number(cell: str) -> bool:
    """Whether a cell holds a number or a percentage and nothing else."""
    return bool(_NUMBER.fullmatch(cell))


def _contrasts(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    for place, name in enumerate(first):
        column = [row[place] for row in others if place < len(row) and row[place].strip()]
        if name and column and not re.search(r"\d", name) and all(re.match(r"\W*\d", cell.strip()) for cell in column):
            return True
    return False


def joined_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """The names of columns that the rows of a header say together, such as "Depth 2020"."""
    width = max(map(len, rows), default=0)
    columns = ([flat(row[place]) for row in rows if place < len(row)] for place in range(width))
    return [" ".join(dict.fromkeys(name for name in column if name)) for column in columns]
