"""Excel workbooks (.xlsx): each sheet a heading, its rows with the names of their columns, values as they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.characters import flat
from rag_service.reading.drawings import drawn_pieces, fifteen_digits
from rag_service.reading.ooxml import NOTHING, Element, Package, opened, properties
from rag_service.reading.tables import is_header, is_number, row_pieces

_WIDEST = 16_384  # columns of a sheet, as Excel has them
_TITLE_ROWS = 5  # how many rows may stand above a table's header
# Formats of numbers that files name by their identity alone.
_BUILT_IN = {"9": "0%", "10": "0.00%", "22": "d h", **dict.fromkeys(("14", "15", "16", "17"), "d"),
             **dict.fromkeys(("18", "19", "20", "21", "45", "46", "47"), "h")}  # fmt: skip


def read(data: bytes, text_bytes: int) -> Reading:
    """The blocks of a workbook. Raises LoadFailed: damaged, encrypted, too large."""
    with opened(data, text_bytes) as package:
        workbook = _Workbook(package)
        return Reading([piece for one in workbook.sheets() for piece in one], metadata=properties(package))


def sheet_pieces(name: str, grid: Sequence[Sequence[str]], remarks: Sequence[Piece] = ()) -> list[Piece]:
    """A sheet: its name as a heading, and the tables in it that empty rows part; one without a header goes on with the
    names of the one above it. Nothing for an empty sheet."""
    pieces = [Piece("heading", name, 1)]
    names: Sequence[str] = ()
    columns: range | None = None
    for filled, rows in groupby(grid, key=any):
        if not filled:
            continue
        block = list(rows)
        used = [place for place in range(max(map(len, block))) if any(place < len(row) and row[place] for row in block)]
        here = range(used[0], used[-1] + 1)
        if columns is not None and here[0] in columns and here[-1] in columns:
            here = columns
        block = [[row[place] if place < len(row) else "" for place in here] for row in block]
        header = _header(block)
        if header is not None:
            pieces += [_title(row) for row in block[:header]]
            names, columns, block = block[header], here, block[header + 1 :]
        elif here != columns:
            names, columns = (), None
        for row in block:  # one of a single cell among others is a title or a remark
            pieces += [_title(row)] if len(here) > 2 and sum(map(bool, row)) == 1 else row_pieces([row], names)
    return [*pieces, *remarks] if len(pieces) > 1 or any(one.text for one in remarks) else []


def _header(block: Sequence[Sequence[str]]) -> int | None:
    """Which row names the columns: the first that can, below titles of fewer cells; None for none."""
    for place, row in enumerate(block[:_TITLE_ROWS]):
        count = sum(map(bool, row))
        if any(sum(map(bool, above)) >= count for above in block[:place]):
            break
        if is_header(block[place:], marked=count > 2 and not any(map(is_number, row))):
            return place
    return None


def _title(row: Sequence[str]) -> Piece:
    cells = [cell for cell in row if cell]
    return Piece("paragraph", cells[0]) if len(cells) == 1 else Piece("row", " | ".join(cells))


class _Workbook:
    """The sheets of a workbook, with what they share: texts and formats of numbers."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._main = package.main()
        self._book = package.tree(self._main)
        self._relations = package.relations(self._main)
        self._texts = [_text(one) for root in package.used("sharedStrings", self._main) for one in root.elements()]
        styles = next(package.used("styles", self._main), NOTHING)
        formats = _BUILT_IN | {one.get("numFmtId"): one.get("formatCode") for one in styles.child("numFmts").elements()}
        self._formats = [formats.get(one.get("numFmtId"), "") for one in styles.child("cellXfs").elements()]
        in_1904 = self._book.child("workbookPr").get("date1904") in ("1", "true")
        self._epoch = datetime(1904, 1, 1) if in_1904 else datetime(1899, 12, 30)

    def sheets(self) -> Iterator[list[Piece]]:
        """The pieces of each sheet that is not hidden."""
        for sheet in self._book.descendants("sheet"):
            relation = self._relations.get(sheet.get("r:id"))
            if relation and relation.part in self._package and sheet.attributes.get("state", "visible") == "visible":
                comments = (
                    one for root in self._package.used("comments", relation.part) for one in root.descendants("comment")
                )
                remarks = [Piece("note", one.text(), label=f"Comment on {one.get('ref')}:") for one in comments]
                # Of drawings the text boxes: charts show what cells say.
                remarks += [one for root in self._package.used("drawing", relation.part) for one in drawn_pieces(root)]
                yield sheet_pieces(sheet.get("name"), self._grid(relation.part), remarks)

    def _grid(self, part: str) -> list[list[str]]:
        rows: list[list[str]] = []
        last = 0

        def take(row: Element) -> None:
            nonlocal last
            number = row.get("r")
            # Rows that the file leaves out part two tables; how many there are does not count.
            if rows and number.isdigit() and int(number) > last + 1:
                rows.append([])
            last = int(number) if number.isdigit() else last + 1
            if row.attributes.get("hidden") not in ("1", "true"):
                rows.append(self._cells(row))

        self._package.tree(part, handled="row", handler=take)
        return rows

    def _cells(self, row: Element) -> list[str]:
        cells: list[str] = []
        for cell in row.elements():
            if cell.tag == "c":
                place = min(_column(cell.get("r")) or len(cells), _WIDEST)
                cells += [""] * (place - len(cells))
                cells.append(self._package.text.take(flat(self._value(cell))))
        return cells

    def _value(self, cell: Element) -> str:
        kind, value = cell.attributes.get("t", "n"), cell.child("v")
        if kind == "inlineStr":
            return _text(cell.child("is"))
        words = value.text()
        if kind == "s":
            return self._texts[int(words)] if words.isdigit() and int(words) < len(self._texts) else ""
        if kind == "b":
            return "TRUE" if words == "1" else "FALSE"
        if kind != "n":
            return words
        style = cell.get("s")
        code = self._formats[int(style)] if style.isdigit() and int(style) < len(self._formats) else ""
        return _shown(words, code, self._epoch)


def _text(parent: Element) -> str:
    """A shared text, without the reading of its characters (`rPh`)."""
    runs = [parent, *parent.all("r")]
    return "".join(one.text() for run in runs for one in run.elements() if one.tag == "t")


def _column(place: str) -> int:
    """A cell's column from 0, of its place such as "AB12"."""
    number = 0
    for letter in re.match(r"[A-Z]{0,3}", place)[0]:  # type: ignore[index]
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1 if number else 0


def _shown(words: str, code: str, epoch: datetime) -> str:
    """A number as a format shows it: a date, a time, both, a percentage, else as it is."""
    code = re.sub(r'"[^"]*"|\\.|\[[^\]hms]*\]|_.', "", code.split(";")[0]).lower()
    has_date, has_time = re.search(r"[yd]|mmm", code), re.search(r"[hs]", code)
    try:
        number = float(words)
        if percent := re.search(r"(?:[.,]([0#]+))?%", code):
            return f"{number:.{len(percent[1] or '')}%}"
        if (has_date or has_time) and 0 <= number < 2_958_466:  # the year 9999 ends Excel's calendar
            moment = epoch + timedelta(seconds=round(number * 86_400))
            time = moment.strftime("%H:%M:%S" if moment.second else "%H:%M")
            return " ".join([f"{moment:%Y-%m-%d}"] * bool(has_date) + [time] * bool(has_time))
        return fifteen_digits(words)
    except (ValueError, OverflowError):
        return words
