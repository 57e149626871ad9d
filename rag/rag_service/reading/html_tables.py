"""A table of a page as rows that can be read alone: spans resolved, column names found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from rag_service.reading.blocks import Piece
from rag_service.reading.tables import joined_names, row_pieces

_WIDEST = 256  # columns; cells beyond stand side by side without their spans


@dataclass(frozen=True)
class Cell:
    """`repeated`: another cell's content, which spans this place too."""

    words: str
    is_header: bool = False
    is_bold: bool = False
    columns: int = 1
    rows: int = 1
    repeated: bool = False


@dataclass
class Table:
    """Cells as they come, row by row. `in_head`: the rows that begin now stand in the table's head."""

    rows: list[list[Cell]] = field(default_factory=list)
    heads: list[bool] = field(default_factory=list)  # of each row, whether it stands in the head
    in_head: bool = False

    def begin_row(self) -> None:
        self.rows.append([])
        self.heads.append(self.in_head)

    def add(self, cell: Cell) -> None:
        self.rows[-1].append(cell)

    def pieces(self) -> Iterator[Piece]:
        """A row piece for each row with words, with the names of its columns. A header that no row follows is a row."""
        names: list[str] = []
        unused: list[list[Cell]] = []  # header rows that no row of values has followed yet
        is_wide = any(len(cells) > 1 for cells in self.rows)
        is_first = True
        for row, in_head in zip(self._grid(), self.heads, strict=True):
            if not any(cell.words for cell in row):
                continue
            if is_wide and _is_title(row):
                yield from (_plain(header) for header in unused)
                unused = []
                yield Piece("row", row[0].words)
            elif in_head or _is_header(row, is_first):
                unused.append(row)
                is_first = False
            else:
                is_first = False
                if unused:
                    names, unused = joined_names([[cell.words for cell in header] for header in unused]), []
                yield from row_pieces([[cell.words for cell in row]], names) if any(names) else [_plain(row)]
        yield from (_plain(header) for header in unused)

    def _grid(self) -> Iterator[list[Cell]]:
        """The rows with each cell at its column. A row that holds nothing but what spans down to it is empty."""
        spanning: dict[int, tuple[Cell, int]] = {}  # column -> a cell from above and for how many more rows it holds
        for cells in self.rows:
            if not cells:
                yield []
                continue
            row: list[Cell] = []
            waiting = list(reversed(cells))
            while waiting or len(row) in spanning:
                column = len(row)
                if column in spanning:
                    cell, left = spanning.pop(column)
                    row.append(cell)
                    if left > 1:
                        spanning[column] = (cell, left - 1)
                    continue
                cell = waiting.pop()
                width = cell.columns if column + cell.columns <= _WIDEST else 1
                copy = replace(cell, columns=1, rows=1, repeated=True)
                row += [cell] + [copy] * (width - 1)
                if cell.rows > 1 and column < _WIDEST:
                    spanning.update({column + offset: (copy, cell.rows - 1) for offset in range(width)})
            yield row


def _is_title(row: Sequence[Cell]) -> bool:
    """A single cell, also over the whole width, such as a part's title or a note under the table."""
    return all(cell.repeated and cell.words == row[0].words for cell in row[1:])


def _is_header(row: Sequence[Cell], is_first: bool) -> bool:
    """Whether all cells are header cells but an empty one in the corner; bold ones are in the first row alone."""
    corner, *others = row
    return all(cell.is_header or (is_first and cell.is_bold) for cell in (others if not corner.words else row))


def _plain(row: Sequence[Cell]) -> Piece:
    """A row of a table without column names; a header cell before a single value is that value's name."""
    named = [cell.is_header or cell.is_bold for cell in row]
    if named == [True, False] and all(cell.words for cell in row):
        return Piece("row", f"{row[0].words.rstrip(':')}: {row[1].words}")
    return Piece("row", " | ".join("" if cell.repeated else cell.words for cell in row))
