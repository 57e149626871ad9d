"""OpenDocument files: texts (.odt), spreadsheets (.ods) and presentations (.odp)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rag_service.errors import LoadFailed
from rag_service.reading.blocks import Piece, Reading, lines_of
from rag_service.reading.characters import superscript
from rag_service.reading.drawings import picture_pieces
from rag_service.reading.equations import equation
from rag_service.reading.list_numbers import Level, list_label
from rag_service.reading.ooxml import NOTHING, Element, Package, facts, only_pictures, opened
from rag_service.reading.sheets import sheet_pieces
from rag_service.reading.slides import slide_pieces
from rag_service.reading.tables import Cell, cell_of, document_table

_OF_MATH = frozenset("mi mn mo mtext ms".split())
_FACTS = {"title": "title", "subject": "subject", "initial-creator": "author", "creation-date": "created",
          "date": "modified"}  # fmt: skip
_LEFT_OUT = frozenset(
    "tracked-changes ruby-text hidden-text placeholder page-number page-count note-citation forms".split()
)
_CODE_STYLE = re.compile(r"(?i)preformatted|source_?20_?code")
_MOST_REPEATED = 1000  # cells; a file says with a few bytes that millions are the same


def read(data: bytes, text_bytes: int) -> Reading:
    """The blocks of an OpenDocument file. Raises LoadFailed: damaged, encrypted, too large, only pictures."""
    with opened(data, text_bytes) as package:
        if "content.xml" not in package:
            raise LoadFailed("damaged", "The OpenDocument file has no part with its content. Save it again.")
        reader = _Reader(package)
        pieces = reader.read()
        if not any(piece.text.strip() for piece in pieces) and any(
            name.startswith("pictures/") for name in package.names()
        ):
            raise only_pictures()
        return Reading(
            pieces, metadata=facts(package.tree("meta.xml", None).child("meta"), _FACTS), pages=reader.page or None
        )


@dataclass(frozen=True)
class _List:
    """A list whose end has not come: its style, and the numbers of its levels from the highest."""

    style: str
    counts: list[int]


class _Reader:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._pieces: list[Piece] = []
        self._after: list[Piece] = []  # what comes after the line that is being read
        self._styles: dict[str, Element] = {}
        self._levels: dict[str, dict[int, Level]] = {}  # of a list style, "" is that of headings
        self._lists: list[_List] = []
        self._ended: dict[str, list[int]] = {}  # the numbers of lists that may go on, by their style
        self._outline: list[int] = []
        self._notes = 0
        self.page = 0

    def read(self) -> list[Piece]:
        """All pieces in order, with headers first and footers last."""
        margins: dict[str, dict[str, Piece]] = {"header": {}, "footer": {}}
        root = self._package.tree("styles.xml", None)
        for one in root.elements():
            self._learn(one)
        for margin in (one for master in root.descendants("master-page") for one in master.elements()):
            if margin.tag in margins:
                words = (piece.text for piece in self._inside(margin.elements()))
                # A page's number alone is left out.
                said = {one: Piece("note", one) for one in words if re.search(r"[^\W\d_]{2}|\d{5}", one)}
                margins[margin.tag] |= said
        content = self._package.tree("content.xml", None)
        self._learn(content.child("automatic-styles"))
        self._block(content.child("body"))
        return [*margins["header"].values(), *self._pieces, *margins["footer"].values()]

    def _learn(self, styles: Element) -> None:
        for one in styles.elements():
            name = one.get("name")
            if one.tag == "style":
                self._styles[name] = one
            elif one.tag in ("list-style", "outline-style"):
                self._levels[name if one.tag == "list-style" else ""] = _levels(one)

    def _inside(self, elements: Iterable[Element]) -> list[Piece]:
        """The pieces of a separate text: of a cell, a note, a text box."""
        outer = self._pieces, self._after, self._lists
        self._pieces, self._after, self._lists = [], [], []
        for one in elements:
            self._block(one)
        inner = self._pieces
        self._pieces, self._after, self._lists = outer
        return inner

    # Blocks

    def _block(self, element: Element) -> None:
        tag = element.tag
        if tag in ("p", "h"):
            self._line(element)
        elif tag == "list":
            self._list(element)
        elif tag == "table":
            rows = (self._cells(row, is_head) for row, is_head in _rows(element))
            shown = [[cell for cell in row if not cell.repeated] for row in rows]
            self._pieces += document_table(shown)
        elif tag == "spreadsheet":
            for table in element.all("table"):
                self._sheet(table)
        elif tag == "page":
            self._slide(element)
        elif tag == "annotation":
            self._pieces.append(Piece("note", lines_of(self._inside(element.all("p"))), label="Comment:"))
        elif tag == "object":
            part = f"{element.get('href').removeprefix('./')}/content.xml"
            root = self._package.tree(part, _OF_MATH)
            if root.tag == "math":
                self._pieces.append(Piece("paragraph", equation(root).strip()))
        elif tag in ("title", "desc"):
            self._pieces += picture_pieces(element.text())
        elif tag not in _LEFT_OUT and tag not in ("notes", "image"):
            for one in element.elements():
                self._block(one)

    def _line(self, element: Element, label: str = "") -> None:
        style = element.get("style-name")
        if self._property(style, "display") == "none":
            return
        words = self._words(element)
        based_on = self._styles.get(style, NOTHING).get("parent-style-name")
        if element.tag == "h":
            level = _number(element, "outline-level")
            if words.strip() and not label:
                self._outline = self._outline[:level] + [0] * (level - len(self._outline))
                self._outline[-1] += 1
                label = self._label("", self._outline)
            self._pieces.append(Piece("heading", words, level, label))
        elif self._lists:
            self._pieces.append(Piece("item", words.strip(), len(self._lists), label))
        elif _CODE_STYLE.match(style) or _CODE_STYLE.match(based_on):
            goes_on = bool(self._pieces) and self._pieces[-1].kind == "code"
            self._pieces.append(Piece("code", words, joined="\n" if goes_on else None))
        else:
            self._pieces.append(Piece("paragraph", words.strip()))
        self._pieces += self._after
        self._after = []

    def _label(self, style: str, counts: list[int]) -> str:
        """The number of an item or heading whose levels have these numbers, or its bullet; "" for none."""
        levels = self._levels.get(style, {})
        return list_label(levels.get(len(counts) - 1, Level("-" if levels else "")), levels, counts)

    def _list(self, element: Element) -> None:
        style = element.attributes.get("style-name") or (self._lists[-1].style if self._lists else "")
        goes_on = element.attributes.get("continue-numbering") == "true" or "continue-list" in element.attributes
        counts = list(self._lists[-1].counts) if self._lists else []
        start = self._levels.get(style, {}).get(len(counts), Level()).start - 1
        before = self._ended.get(style, [])
        counts.append(before[len(counts)] if goes_on and len(before) > len(counts) else start)
        self._lists.append(_List(style, counts))
        for item in element.elements():
            label = ""
            if item.tag == "list-item":
                counts[-1] = _number(item, "start-value") if "start-value" in item.attributes else counts[-1] + 1
                label = self._label(style, counts)
            for one in item.elements() if item.tag in ("list-item", "list-header") else ():
                if one.tag in ("p", "h"):
                    self._line(one, label)
                    label = ""
                else:
                    self._block(one)
        self._ended[style] = self._lists.pop().counts

    def _slide(self, page: Element) -> None:
        self.page += 1
        title, rest = "", []
        for shape in page.elements():
            if shape.tag == "notes":
                notes = [one for one in self._inside(shape.elements()) if one.kind != "heading"]
                rest.append(Piece("note", lines_of(notes), label="Notes:"))
            elif shape.attributes.get("class") == "title" and not title:
                title = " ".join(piece.text for piece in self._inside([shape]))
            else:
                rest += self._inside([shape])
        self._pieces += slide_pieces(title, rest, self.page)

    # Lines

    def _words(self, parent: Element) -> str:
        """The text of a line; white space in the source is one blank."""
        words = ""
        for one in parent.children:
            words += re.sub(r"\s+", " ", one) if isinstance(one, str) else self._inline(one, words)
        return words

    def _inline(self, one: Element, before: str) -> str:
        if one.tag in ("s", "tab", "line-break"):
            return "\n" if one.tag == "line-break" else " "
        if one.tag == "note":
            self._notes += 1
            note = lines_of(self._inside([one.child("note-body")]))
            self._after.append(Piece("note", note, label=f"[{self._notes}]"))
            return ""
        if one.tag == "frame" and (formula := one.child("object")):
            return " ".join(piece.text for piece in self._inside([formula]))
        if one.tag in ("annotation", "frame", "custom-shape", "g"):
            self._after += self._inside([one])
            return ""
        style = one.get("style-name") if one.tag == "span" else ""
        is_hidden = one.attributes.get("is-hidden") == "true" or self._property(style, "display") == "none"
        if is_hidden or one.tag in _LEFT_OUT:
            return ""
        words, position = self._words(one), self._property(style, "text-position")
        raised = position.startswith("super") or re.match(r"[1-9]", position)
        return superscript(words, before) if raised else words

    def _property(self, style: str, name: str) -> str:
        """What a style or those that it is based on say of text; "" for nothing."""
        for _ in range(20):  # styles that are based on each other have no end
            one = self._styles.get(style, NOTHING)
            said = one.child("text-properties").get(name)
            if said or not one:
                return said
            style = one.get("parent-style-name")
        return ""

    # Tables

    def _cells(self, row: Element, is_head: bool = False) -> Iterator[Cell]:
        for one in row.elements():
            is_covered = one.tag == "covered-table-cell"
            if is_covered or one.tag == "table-cell":
                columns, rows = _number(one, "number-columns-spanned"), _number(one, "number-rows-spanned")
                pieces = self._inside(one.elements())
                cell = cell_of(pieces, is_header=is_head, columns=columns, rows=rows, repeated=is_covered)
                for _ in range(min(_number(one, "number-columns-repeated"), _MOST_REPEATED)):
                    self._package.text.take(cell.words)
                    yield cell

    def _sheet(self, table: Element) -> None:
        style = self._styles.get(table.get("style-name"), NOTHING)
        if style.child("table-properties").get("display") == "false":
            return
        grid = []
        for row, _ in _rows(table):
            line = ["" if cell.repeated else cell.words for cell in self._cells(row)]
            while line and not line[-1]:
                line.pop()
            times = min(_number(row, "number-rows-repeated"), _MOST_REPEATED) if line else 1
            self._package.text.take("".join(line), times - 1)
            grid += [line] * times
        self._pieces += sheet_pieces(table.get("name"), grid)


def _rows(table: Element, is_head: bool = False) -> Iterator[tuple[Element, bool]]:
    for one in table.elements():
        if one.tag == "table-row":
            if one.attributes.get("visibility", "visible") == "visible":
                yield one, is_head
        elif one.tag in ("table-header-rows", "table-rows", "table-row-group"):
            yield from _rows(one, is_head or one.tag == "table-header-rows")


def _number(element: Element, name: str) -> int:
    """The number in an attribute; 1 if it has none."""
    said = element.get(name)
    return int(said) if said.isdigit() and len(said) < 9 else 1


def _levels(style: Element) -> dict[int, Level]:
    """The levels of a list style, from 0."""
    said = {_number(one, "level"): one.attributes for one in style.elements()}
    levels = {}
    for place, one in said.items():
        numbers = [f"%{above}" for above in range(max(place - int(one.get("display-levels", "1")), 0) + 1, place + 1)
                   if said.get(above, {}).get("num-format")]  # fmt: skip
        mark = one.get("num-prefix", "") + ".".join(numbers) + one.get("num-suffix", "")
        levels[place - 1] = Level(
            shown="-" if "bullet-char" in one else mark if one.get("num-format") else "",
            kind=one.get("num-format", ""),
            start=int(one.get("start-value", "1")),
            repeats_letters=one.get("num-letter-sync") == "true",
        )
    return levels
