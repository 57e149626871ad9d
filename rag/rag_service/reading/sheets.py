"""Excel workbooks (.xlsx): each sheet a heading, its rows with the names of their columns, values as they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.characters import flat
from rag_service.reading.ooxml import Element, Package, opened, properties
from rag_service.reading.tables import is_header, is_number, row_pieces

_WIDEST = 16_384  # columns of a sheet, as Excel has them
_TITLE_ROWS = 5  # how many rows may stand above a table's header
_DATES = {14: "d", 15: "d", 16: "d", 17: "d", 18: "t", 19: "t", 20: "t", 21: "t", 22: "dt", 45: "t", 46: "t", 47: "t"}
_PERCENT = {9: 0, 10: 2}


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
    return [*pieces, *remarks] if len(pieces) > 1 else []


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
        self._relations = {one.identity: one for one in package.relations(self._main)}
        self._texts = [_text(one) for one in self._shared("sharedStrings")]
        self._formats = self._read_formats()
        said = self._book.child("workbookPr")
        in_1904 = said is not None and said.attributes.get("date1904") in ("1", "true")
        self._epoch = datetime(1904, 1, 1) if in_1904 else datetime(1899, 12, 30)

    def sheets(self) -> Iterator[list[Piece]]:
        """The pieces of each sheet that is not hidden."""
        for sheet in self._book.descendants("sheet"):
            relation = self._relations.get(sheet.attributes.get("r:id", ""))
            if relation and relation.part in self._package and sheet.attributes.get("state", "visible") == "visible":
                grid, remarks = self._grid(relation.part), list(self._comments(relation.part))
                yield sheet_pieces(sheet.attributes.get("name", ""), grid, remarks)

    def _comments(self, sheet: str) -> Iterator[Piece]:
        for relation in self._package.relations(sheet):
            if relation.kind == "comments" and relation.part in self._package:
                for one in self._package.tree(relation.part).descendants("comment"):
                    yield Piece("note", one.text(), label=f"Comment on {one.attributes.get('ref', '')}:")

    def _shared(self, kind: str) -> list[Element]:
        part = next((one.part for one in self._relations.values() if one.kind == kind), "")
        return self._package.tree(part).elements() if part in self._package else []

    def _read_formats(self) -> list[str]:
        """For each style of a cell how its number is shown: "d" a date, "t" a time, "dt" both, "%2" a percentage with
        two decimals, "" as it is."""
        parts = {one.tag: one.elements() for one in self._shared("styles")}
        own = {one.attributes.get("numFmtId"): one.attributes.get("formatCode", "") for one in parts.get("numFmts", ())}
        return [_format(one.attributes.get("numFmtId", "0"), own) for one in parts.get("cellXfs", ())]

    def _grid(self, part: str) -> list[list[str]]:
        rows: list[list[str]] = []
        last = 0

        def take(row: Element, _: list[Element]) -> None:
            nonlocal last
            number = row.attributes.get("r", "")
            # Rows that the file leaves out part two tables; how many there are does not count.
            if rows and number.isdigit() and int(number) > last + 1:
                rows.append([])
            last = int(number) if number.isdigit() else last + 1
            if row.attributes.get("hidden") not in ("1", "true"):
                rows.append(self._cells(row))

        self._package.stream(part, ("row",), (), take)
        return rows

    def _cells(self, row: Element) -> list[str]:
        cells: list[str] = []
        for cell in row.elements():
            if cell.tag == "c":
                place = min(_column(cell.attributes.get("r", "")) or len(cells), _WIDEST)
                cells += [""] * (place - len(cells))
                cells.append(self._package.text.take(flat(self._value(cell))))
        return cells

    def _value(self, cell: Element) -> str:
        kind, value = cell.attributes.get("t", "n"), cell.child("v")
        if kind == "inlineStr":
            said = cell.child("is")
            return _text(said) if said else ""
        words = value.text() if value else ""
        if kind == "s":
            return self._texts[int(words)] if words.isdigit() and int(words) < len(self._texts) else ""
        if kind == "b":
            return "TRUE" if words == "1" else "FALSE"
        if kind != "n":
            return words
        style = cell.attributes.get("s", "")
        how = self._formats[int(style)] if style.isdigit() and int(style) < len(self._formats) else ""
        return _shown(words, how, self._epoch)


def _text(parent: Element) -> str:
    """A shared text, without the reading of its characters (`rPh`)."""
    runs = [parent, *(one for one in parent.elements() if one.tag == "r")]
    return "".join(one.text() for run in runs for one in run.elements() if one.tag == "t")


def _column(place: str) -> int:
    """A cell's column from 0, of its place such as "AB12"."""
    number = 0
    for letter in re.match(r"[A-Z]{0,3}", place)[0]:  # type: ignore[index]
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1 if number else 0


def _format(identity: str, own: dict[str | None, str]) -> str:
    if identity in own:
        code = re.sub(r'"[^"]*"|\\.|\[[^\]hms]*\]|_.', "", own[identity].split(";")[0]).lower()
        if "%" in code:
            return f"%{len(re.search(r'[.,]?([0#]*)%', code)[1]) if '.' in code else 0}"  # type: ignore[index]
        date, time = bool(re.search(r"[yd]|mmm", code)), bool(re.search(r"[hs]", code))
        return "d" * date + "t" * time
    number = int(identity) if identity.isdigit() else 0
    return f"%{_PERCENT[number]}" if number in _PERCENT else _DATES.get(number, "")


def _shown(words: str, how: str, epoch: datetime) -> str:
    try:
        number = float(words)
        if how.startswith("%"):
            return f"{number:.{how[1:]}%}"
        if how and 0 <= number < 2_958_466:  # the year 9999 ends Excel's calendar
            return _moment(epoch + timedelta(seconds=round(number * 86_400)), how)
        # Excel shows at most 15 digits: 0.1 + 0.2 is 0.3.
        return f"{number:.15g}" if "e" not in f"{number:.15g}" else words
    except (ValueError, OverflowError):
        return words


def _moment(moment: datetime, how: str) -> str:
    time = moment.strftime("%H:%M:%S" if moment.second else "%H:%M")
    date = f"{moment:%Y-%m-%d}"
    return {"d": date, "t": time}.get(how, f"{date} {time}")
