"""Tables of Word files: which rows name the columns, what merged cells say, and rows that can be read alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from rag_service.reading.blocks import Piece
from rag_service.reading.ooxml import Element
from rag_service.reading.tables import is_header, joined_names, row_pieces
from rag_service.reading.word_styles import Styles


@dataclass(frozen=True)
class Cell:
    """A cell and how many columns it reaches over."""

    pieces: list[Piece]
    span: int
    goes_on: bool  # a merged cell that began in a row above
    bold: bool

    @property
    def text(self) -> str:
        return " ".join(f"{one.label} {one.text}".strip() for one in self.pieces if not _is_note(one))


@dataclass(frozen=True)
class Row:
    """A row; `before`: columns that are left out before its first cell."""

    cells: list[Cell]
    before: int
    is_header: bool


def table_pieces(rows: Sequence[Row], properties: Element | None, styles: Styles) -> list[Piece]:
    """A table's rows, then the notes of its cells; of a table of one column what its cells hold: it is a frame."""
    if all(len(row.cells) <= 1 for row in rows):
        return [piece for row in rows for cell in row.cells for piece in cell.pieces]
    titles = list(takewhile(lambda row: len(row.cells) == 1, rows))
    named = rows[len(titles) :]  # not empty: one has more cells
    headers = _header_rows(named, properties, styles)
    grid = _grid(named, headers)
    notes = [piece for row in rows for cell in row.cells for piece in cell.pieces if _is_note(piece)]
    pieces = row_pieces([[row.cells[0].text] for row in titles])
    return pieces + row_pieces(grid[headers:], joined_names(grid[:headers])) + notes


def _header_rows(rows: Sequence[Row], properties: Element | None, styles: Styles) -> int:
    """How many rows name the columns."""
    marked = len(list(takewhile(lambda row: row.is_header, rows)))
    if 0 < marked < len(rows) or len(rows) < 2:
        return marked if len(rows) > 1 else 0
    begun = 1  # cells that go on below make the next row a part of the header
    while _spans(rows[0]) and begun < len(rows) - 1 and any(cell.goes_on for cell in rows[begun].cells):
        begun += 1
    grid = _grid(rows, begun)
    named = [joined_names(grid[:begun]), *grid[begun:]]
    return begun if is_header(named, _looks_headed(rows, properties, styles)) else 0


def _looks_headed(rows: Sequence[Row], properties: Element | None, styles: Styles) -> bool:
    first, second = rows[0].cells, rows[1].cells
    if all(cell.bold for cell in first if cell.text) and not all(cell.bold for cell in second):
        return True
    look = properties.child("tblLook") if properties else None
    if look is None or not _marks_first_row(look):
        return False
    pairs = len(first) == 2
    if pairs and any(row.cells[0].text.rstrip().endswith(":") or row.cells[0].bold for row in rows if row.cells):
        return False
    # Word sets this for every new table; it says something where the table's style shows it, or where the rows
    # can hardly be pairs of a name and a value.
    shown = styles.marks_first_row(properties.value("tblStyle") or "") if properties else None
    return shown is not False or (not pairs and len(rows) > 2)


def _grid(rows: Sequence[Row], headers: int) -> list[list[str]]:
    """The text of each column, row by row. A merged cell says its text in each row that it reaches over, and in each
    column of the header; elsewhere in its first column."""
    grid: list[list[str]] = []
    above: dict[int, str] = {}
    for number, row in enumerate(rows):
        line = [""] * row.before
        for cell in row.cells:
            words = above.get(len(line), "") if cell.goes_on else cell.text
            above[len(line)] = words
            line += [words] * cell.span if number < headers else [words, *[""] * (cell.span - 1)]
        grid.append([words] if len(row.cells) == 1 else line)
    return grid


def _spans(row: Row) -> bool:
    return any(cell.span > 1 for cell in row.cells)


def is_bold(cell: Element) -> bool:
    """Whether all words of a cell are bold."""
    runs = [run for run in cell.descendants("r") if any(one.text().strip() for one in run.elements() if one.tag == "t")]
    return bool(runs) and all(run.is_on("rPr", "b") for run in runs)


def _marks_first_row(look: Element) -> bool:
    said = look.attributes.get("firstRow")
    if said is not None:
        return said in ("1", "true", "on")
    value = look.attributes.get("val", "")
    return bool(re.fullmatch(r"[0-9A-Fa-f]{1,8}", value)) and bool(int(value, 16) & 0x20)


def _is_note(piece: Piece) -> bool:
    """A note that stands behind a table; a picture's description may be all that a cell holds."""
    return piece.kind == "note" and piece.label != "Picture:"
