"""The rows of a CSV: what is read, and what is wrong with which line."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO

from prediction_api.errors import Complaint, NotCsv
from prediction_api.models.predictor import Row
from prediction_api.predicting.rows import RowReader

CHUNK_ROWS = 500  # a few milliseconds of reading; predicting more at once is no faster
_MOST_LINE_BYTES = 1_000_000
_MOST_HEADER_LINES = 50


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table with its cells as text, and the model's row, or the faults for which there is none."""

    number: int
    cells: Sequence[str]
    row: Row | None
    faults: Sequence[Complaint] = ()


class CsvTable:
    """One reading of a CSV from its start.

    A header has each feature's name once, in any order and spelling, then comes a line per row; blank lines say
    nothing. Lines are counted from 1, the header's; a row over several lines is named by its last. With `others`, there
    may be columns that are no feature. Raises NotCsv, or WrongContent for the header.
    """

    def __init__(self, reader: RowReader, body: IO[bytes], others: bool) -> None:
        body.seek(0)
        lines = _lines(body)
        header = _header(lines)
        self._reader = reader
        self._table = csv.reader(chain(header, lines), delimiter=_separator("".join(header), reader), strict=True)
        self._cells = self._read_cells()
        self.names = [name.strip() for name in next(self._cells, [])]
        each = f"{len(self.names)} cells as in the header"
        self._layout = reader.layout(self.names, ("line", 1), each, "an empty cell", others)

    def chunks(self) -> Iterator[list[Line]]:
        """Every line in its order, up to 500 at a time."""
        numbered = ((self._table.line_num, cells) for cells in self._cells if cells)
        while chunk := list(islice(numbered, CHUNK_ROWS)):
            faults: list[Complaint] = []
            rows = self._reader.read(chunk, ("line",), faults, self._layout)
            if faults:
                yield [self._line(*line) for line in chunk]
            else:
                yield [Line(number, cells, row) for (number, cells), row in zip(chunk, rows, strict=True)]

    def _line(self, number: int, cells: list[str]) -> Line:
        faults: list[Complaint] = []
        rows = self._reader.read([(number, cells)], ("line",), faults, self._layout)
        return Line(number, cells, rows[0] if rows else None, faults)

    def _read_cells(self) -> Iterator[list[str]]:
        try:
            yield from self._table
        except csv.Error as error:
            raise NotCsv(f"line {self._table.line_num}: {error}") from None


def _separator(header: str, reader: RowReader) -> str:
    """Comma, semicolon, tab or bar: the one with which the header names the most features."""
    cells = header.replace('"', "").strip()
    return max(",;\t|", key=lambda one: sum(name.strip() in reader.accepted for name in cells.split(one)))


def _header(lines: Iterator[str]) -> list[str]:
    """The first line, and those in which a quoted name goes on."""
    found: list[str] = []
    for line in islice(lines, _MOST_HEADER_LINES):
        found.append(line)
        if sum(one.count('"') for one in found) % 2 == 0:
            break
    return found


def _lines(file: IO[bytes]) -> Iterator[str]:
    number = 0
    while line := file.readline(_MOST_LINE_BYTES):
        number += 1
        if len(line) == _MOST_LINE_BYTES:
            raise NotCsv(f"line {number} is longer than {_MOST_LINE_BYTES} bytes")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise NotCsv(f"line {number} is not UTF-8: {error.reason} at byte {error.start}") from None
        yield from io.StringIO(text, newline="") if "\r" in text[:-2] else [text]  # lines may end in it alone
