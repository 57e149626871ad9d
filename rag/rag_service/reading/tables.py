"""Tables of all formats become rows that can be read alone, because each row says its columns' names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from rag_service.reading.blocks import Piece
from rag_service.reading.characters import flat

_LONGEST_NAME = 80
_WIDEST = 256  # columns; cells beyond stand side by side without their spans
# Numbers that name columns: years, also with a month or a quarter, from one year to another, dates.
PERIOD = re.compile(
    r"(?:FY ?)?(?:1[5-9]|20)\d\d(?:[-/. ]?(?:Q[1-4]|H[12]|M?\d{1,2})|[-–/](?:1[5-9]|20)\d\d)?|"
    r"(?:Q[1-4]|H[12]|\d{1,2})[-/. ](?:1[5-9]|20)\d\d|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}"
)
_NUMBER = re.compile(r"[-+−]?[\d.,\s]*\d[\d.,\s]*%?")


@dataclass(frozen=True)
class Cell:
    """A cell that covers one or more columns and rows. `goes_on`: it continues the cell above. `repeated`: the cell to
    its left covers this column too, or the row has no cell here. `pieces`: the blocks in it, where a format has any."""

    words: str
    is_header: bool = False
    is_bold: bool = False
    columns: int = 1
    rows: int = 1
    goes_on: bool = False
    repeated: bool = False
    pieces: Sequence[Piece] = ()


def cell_of(pieces: Sequence[Piece], **more: bool | int) -> Cell:
    """A cell with these blocks; `more`: its other fields."""
    words = " ".join(f"{one.label} {one.text}".strip() for one in pieces if not _is_note(one))
    return Cell(words, pieces=pieces, **more)  # type: ignore[arg-type]


def document_table(rows: Sequence[Sequence[Cell]], marked: bool = False) -> list[Piece]:
    """The pieces of a table of an office file, then the notes of its cells. A table of one column is a frame around its
    blocks. `marked`: the first row looks different from the others."""
    if all(map(_is_single, rows)):
        return [piece for row in rows for cell in row for piece in cell.pieces]
    notes = (piece for row in rows for cell in row for piece in cell.pieces if _is_note(piece))
    return [*table_pieces(_with_header(rows, marked)), *notes]


def table_pieces(rows: Sequence[Sequence[Cell]]) -> Iterator[Piece]:
    """A row piece for each row with words. A row of header cells names the columns of those below it; one that no row
    follows is shown as a row."""
    names: list[str] = []
    unused: list[Sequence[Cell]] = []  # header rows that no row of values has followed yet
    is_wide = any(len(row) > 1 for row in rows)
    for row in _grid(rows):
        if not any(cell.words for cell in row if not cell.goes_on):
            continue
        if is_wide and _is_single(row):  # such as a part's title or a note under the table
            yield Piece("row", next(cell.words for cell in row if not cell.repeated))
        elif _is_header(row):
            unused.append(row)
        else:
            if unused:
                names, unused = joined_names([[cell.words for cell in header] for header in unused]), []
            # A cell that covers several columns is repeated for their names alone.
            kept = [any(names[place : place + 1]) or not cell.repeated for place, cell in enumerate(row)]
            words = [cell.words if is_kept else "" for cell, is_kept in zip(row, kept, strict=True)]
            yield from row_pieces([words], names) if any(names) else [_plain(row)]
    yield from map(_plain, unused)


def _with_header(rows: Sequence[Sequence[Cell]], marked: bool) -> Sequence[Sequence[Cell]]:
    """The rows; where no cell is a header cell, with the first row as the header if it looks like one, and with it the
    rows that its cells reach down to."""
    top = next(number for number, row in enumerate(rows) if not _is_single(row))
    if any(_is_header(row) for row in rows[top:]):
        return rows
    end = top + 1
    while any(cell.columns > 1 for cell in rows[top]) and end < len(rows) - 1 and any(one.goes_on for one in rows[end]):
        end += 1
    grid = [[cell.words for cell in row] for row in _grid(rows[top:])]
    bold = [all(cell.is_bold for cell in row if cell.words) for row in rows[top : top + 2]]
    if not is_header([joined_names(grid[: end - top]), *grid[end - top :]], marked or bold == [True, False]):
        return rows
    header = [[replace(cell, is_header=True) for cell in row] for row in rows[top:end]]
    return [*rows[:top], *header, *rows[end:]]


def _grid(rows: Iterable[Sequence[Cell]]) -> Iterator[list[Cell]]:
    """The rows with each cell at its column. A row that holds nothing but what spans down to it is empty."""
    spanning: dict[int, tuple[Cell, int]] = {}  # column -> a cell from above and for how many more rows it holds
    above: list[Cell] = []
    for cells in rows:
        row: list[Cell] = []
        waiting = list(reversed(cells))
        while waiting or (cells and len(row) in spanning):
            column = len(row)
            if column in spanning:
                cell, left = spanning.pop(column)
                row.append(cell)
                if left > 1:
                    spanning[column] = (cell, left - 1)
                continue
            cell = waiting.pop()
            if cell.goes_on and column < len(above):
                cell = replace(cell, words=above[column].words)
            width = cell.columns if column + cell.columns <= _WIDEST else 1
            width = next((less for less in range(1, width) if column + less in spanning), width)
            one = replace(cell, columns=1, rows=1)
            row += [one, *[replace(one, repeated=True)] * (width - 1)]
            if cell.rows > 1 and column < _WIDEST:
                spanning.update({place: (row[place], cell.rows - 1) for place in range(column, column + width)})
        above = row
        yield row


def _is_single(row: Sequence[Cell]) -> bool:
    return sum(not cell.repeated for cell in row) <= 1


def _is_header(row: Sequence[Cell]) -> bool:
    """Whether all cells are header cells but an empty one in the corner."""
    return bool(row) and all(cell.is_header for cell in (row if row[0].words or len(row) == 1 else row[1:]))


def _plain(row: Sequence[Cell]) -> Piece:
    """A row of a table without column names; a header cell before a single value is that value's name, and so is one
    with a colon."""
    is_name = (row[0].is_header or row[0].is_bold) > (row[-1].is_header or row[-1].is_bold) or row[0].words[-1:] == ":"
    if len(row) == 2 and is_name:
        words = ": ".join(filter(None, (row[0].words.rstrip(":"), row[1].words)))
        return Piece("row", words)
    return Piece("row", " | ".join("" if cell.repeated else cell.words for cell in row))


def _is_note(piece: Piece) -> bool:
    """A note that stands behind a table; a picture's description may be all that a cell holds."""
    return piece.kind == "note" and piece.label != "Picture:"


def row_pieces(grid: Iterable[Sequence[str]], names: Sequence[str] = ()) -> list[Piece]:
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
        pieces.append(Piece("row", words, names=tuple(name for name, _ in named if name)))
    return pieces


def is_header(grid: Sequence[Sequence[str]], marked: bool) -> bool:
    """Whether a table's first row names its columns. Names are short and most of them differ. `marked`: the file shows
    the row in another way than the others; else a column of numbers must stand under a cell that is none, or one that
    is mostly of other numbers under a year: "Year | 2022" may also be the first line of a form."""
    if len(grid) < 2:
        return False
    first = [flat(cell) for cell in grid[0]]
    named = [cell for cell in first if cell]
    if len(named) < max(len(first) / 2, 2) or len(set(named)) <= len(named) / 2 or max(map(len, named)) > _LONGEST_NAME:
        return False
    numbers = [cell for cell in named if is_number(cell) and not PERIOD.fullmatch(cell)]
    if marked or numbers or any(cell.endswith(":") for cell in named):  # names of values beside them
        return marked
    columns = ([row[place].strip() for row in grid[1:] if place < len(row)] for place in range(len(first)))
    return any(
        (
            PERIOD.fullmatch(name)
            and _are_mostly_numbers(column)
            and not all(map(PERIOD.fullmatch, filter(None, column)))
        )
        if re.search(r"\d", name)
        else name and any(column) and all(re.match(r"\W*\d", cell) for cell in column if cell)
        for name, column in zip(first, columns, strict=True)
    )


def _are_mostly_numbers(column: Sequence[str]) -> bool:
    cells = [cell for cell in column if cell]
    return 2 * sum(bool(re.match(r"\W*\d", cell)) for cell in cells) > len(cells)


def is_number(cell: str) -> bool:
    """Whether a cell holds a number or a percentage and nothing else."""
    return bool(_NUMBER.fullmatch(cell))


def joined_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """The names of columns that the rows of a header say together, such as "Depth 2020"."""
    width = max(map(len, rows), default=0)
    columns = ([flat(row[place]) for row in rows if place < len(row)] for place in range(width))
    return [" ".join(dict.fromkeys(name for name in column if name)) for column in columns]
