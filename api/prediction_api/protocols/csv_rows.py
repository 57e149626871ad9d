"""Rows in a CSV file, of any size: read in chunks, so that memory stays bounded and other requests get their turn."""

import csv
from collections.abc import Iterator
from itertools import chain, islice
from typing import IO, Any

from prediction_api.errors import Complaint, NotCsv
from prediction_api.models.contract import CategoryFeature
from prediction_api.models.predictor import Row
from prediction_api.predicting.rows import MOST_COMPLAINTS, RowReader, wrong_content

CHUNK_ROWS = 500  # a few milliseconds of reading; predicting more at once is no faster
_MOST_LINE_BYTES = 1_000_000
_EMPTY = "an empty cell"


class CsvRows:
    """A header with each feature's name once, in any order and spelling, then a line per row; blank lines say nothing.

    The separator (comma, semicolon or tab) is the one with which the header names the most features. An empty cell is
    a missing value. Lines are counted from 1, the header's; a row over several lines is named by its last.
    """

    def __init__(self, reader: RowReader, file: IO[bytes]) -> None:
        self._reader = reader
        self._file = file

    def check(self) -> Iterator[None]:
        """Looks at every row, a chunk a step. Raises NotCsv, or WrongContent naming lines and columns."""
        complaints: list[Complaint] = []
        found = 0
        for chunk in self._chunks(complaints):
            found += len(self._reader.read(chunk, ("line",), complaints, _EMPTY))
            if len(complaints) >= MOST_COMPLAINTS:
                break
            yield
        if complaints:
            raise wrong_content(sorted(complaints, key=lambda one: one.loc[1]))
        if not found:
            raise wrong_content([Complaint(("line", 2), "expected a row under the header, found the end of the body")])

    def chunks(self) -> Iterator[list[Row]]:
        """The rows in their order, up to 500 at a time; of a file that passed `check`."""
        for chunk in self._chunks([]):
            yield self._reader.read(chunk, ("line",), [], _EMPTY)

    def _chunks(self, complaints: list[Complaint]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        rows = self._rows(complaints)
        while chunk := list(islice(rows, CHUNK_ROWS)):
            yield chunk

    def _rows(self, complaints: list[Complaint]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Line number and values by name. Lines with too few or too many cells become complaints."""
        self._file.seek(0)
        lines = _lines(self._file)
        header = next(lines, "")
        table = csv.reader(chain([header], lines), delimiter=self._separator(header), strict=True)
        try:
            names = [name.strip() for name in next(table, [])]
            complaints += self._reader.check_names(names, ("line", 1))
            if complaints:
                return
            texts = [isinstance(self._reader.accepted[name], CategoryFeature) for name in names]
            for cells in table:
                if len(cells) == len(names):
                    typed = zip(names, cells, texts, strict=True)
                    yield (
                        table.line_num,
                        {name: (cell or None) if text else _number(cell) for name, cell, text in typed},
                    )
                elif cells:
                    what = f"expected {len(names)} cells as in the header, found {len(cells)}"
                    complaints.append(Complaint(("line", table.line_num), what))
                    if len(complaints) >= MOST_COMPLAINTS:
                        return
        except csv.Error as error:
            raise NotCsv(f"line {table.line_num}: {error}") from None

    def _separator(self, header: str) -> str:
        def known(separator: str) -> int:
            names = header.replace('"', "").strip().split(separator)
            return sum(name.strip() in self._reader.accepted for name in names)

        return max(",;\t", key=known)


def _lines(file: IO[bytes]) -> Iterator[str]:
    number = 0
    while line := file.readline(_MOST_LINE_BYTES):
        number += 1
        if len(line) == _MOST_LINE_BYTES:
            raise NotCsv(f"line {number} is longer than {_MOST_LINE_BYTES} bytes")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise NotCsv(f"line {number} is not UTF-8: {error.reason} at byte {error.start}") from None


def _number(cell: str) -> float | str | None:
    """The number in a cell, None for an empty one; what is no number stays text, to be refused with its place."""
    if not cell:
        return None
    try:
        return cell if "_" in cell else float(cell)  # Python would take 1_000
    except ValueError:
        return cell
