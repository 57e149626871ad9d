"""OpenDocument files: texts (.odt), spreadsheets (.ods) and presentations (.odp), streamed out of their archive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rag_service.errors import LoadFailed
from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.drawings import picture_pieces
from rag_service.reading.equations import mathml
from rag_service.reading.list_numbers import list_number
from rag_service.reading.ooxml import Element, Package, only_pictures, opened
from rag_service.reading.sheets import sheet_pieces
from rag_service.reading.slides import slide_pieces
from rag_service.reading.tables import is_header, joined_names, row_pieces

_OF_MATH = frozenset("mi mn mo mtext ms".split())
_FACTS = {"title": "title", "subject": "subject", "initial-creator": "author", "creation-date": "created",
          "date": "modified"}  # fmt: skip
_LEFT_OUT = frozenset(
    "tracked-changes ruby-text hidden-text placeholder page-number page-count note-citation forms".split()
)
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
        return Reading(pieces, metadata=_facts(package), pages=reader.page or None)


def _facts(package: Package) -> dict[str, str]:
    meta = package.tree("meta.xml", None).child("meta") if "meta.xml" in package else None
    said = {_FACTS[one.tag]: one.text().strip() for one in meta.elements() if one.tag in _FACTS} if meta else {}
    return {name: words for name, words in said.items() if words}


@dataclass
class _Level:
    """How the numbers of a list's level are written; `shown`: how many levels stand in one, as in 1.2."""

    how: str = ""
    repeats_letters: bool = False
    before: str = ""
    after: str = ""
    shown: int = 1
    start: int = 1
    bullet: bool = False


@dataclass
class _List:
    """A list whose end has not come: its style, and the numbers of its levels from the highest."""

    style: str
    counts: list[int] = field(default_factory=list)


class _Reader:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._pieces: list[Piece] = []
        self._after: list[Piece] = []
        self._styles: dict[str, Element] = {}
        self._levels: dict[str, dict[int, _Level]] = {}
        self._lists: list[_List] = []
        self._ended: dict[str, list[int]] = {}  # the numbers of lists that may go on, by their style
        self._outline: list[int] = []
        self._notes = 0
        self.page = 0

    def read(self) -> list[Piece]:
        """All pieces in order, with headers first and footers last."""
        margins: dict[str, list[Piece]] = {"header": [], "footer": []}
        if "styles.xml" in self._package:
            root = self._package.tree("styles.xml", None)
            for one in root.elements():
                self._learn(one)
            margins = {kind: self._margins(root, kind) for kind in margins}
        whole = ("p", "h", "list", "page", "table-row")
        others = ("automatic-styles", "table", "tracked-changes")
        self._package.stream("content.xml", whole, others, self._streamed, texts=None)
        return margins["header"] + self._pieces + margins["footer"]

    def _streamed(self, element: Element, around: list[Element]) -> Element | None:
        tags = [one.tag for one in around]
        if element.tag == "automatic-styles":
            self._learn(element)
        elif element.tag == "table-row":
            return element  # until its table ends
        elif element.tag == "table" and "spreadsheet" in tags:
            self._sheet(element)
        elif not _LEFT_OUT.intersection(tags):
            self._block(element)
        return None

    def _learn(self, styles: Element) -> None:
        for one in styles.elements():
            name = one.attributes.get("name", "")
            if one.tag == "style":
                self._styles[name] = one
            elif one.tag in ("list-style", "outline-style"):
                levels = {int(level.attributes.get("level", "1")): _level(level) for level in one.elements()}
                self._levels[name if one.tag == "list-style" else ""] = levels

    def _margins(self, root: Element, kind: str) -> list[Piece]:
        found = {}
        for master in root.descendants("master-page"):
            for margin in master.elements():
                if margin.tag == kind:
                    for piece in self._inside(margin.elements()):
                        if re.search(r"[^\W\d_]{2}|\d{5}", piece.text):  # more than a page's number
                            found[piece.text] = Piece("note", piece.text)
        return list(found.values())

    def _inside(self, elements: Iterable[Element]) -> list[Piece]:
        outer, self._pieces = self._pieces, []
        after, self._after = self._after, []
        lists, self._lists = self._lists, []
        for one in elements:
            self._block(one)
        inner, self._pieces, self._after, self._lists = self._pieces, outer, after, lists
        return inner

    # Blocks

    def _block(self, element: Element) -> None:
        tag = element.tag
        if tag in ("p", "h"):
            self._line(element)
        elif tag == "list":
            self._list(element)
        elif tag == "table":
            self._table(element)
        elif tag == "page":
            self._slide(element)
        elif tag == "annotation":
            said = "\n".join(piece.text for piece in self._inside(one for one in element.elements() if one.tag == "p"))
            self._pieces.append(Piece("note", said, label="Comment:", page=self.page or None))
        elif tag == "frame":
            self._frame(element)
        elif tag not in _LEFT_OUT and tag != "notes":
            for one in element.elements():
                self._block(one)

    def _line(self, element: Element, label: str = "") -> None:
        style = element.attributes.get("style-name", "")
        if self._property(style, "display") == "none":
            return
        words = self._words(element)
        if element.tag == "h":
            level = int(element.attributes.get("outline-level", "1"))
            label = label or self._outline_number(level) if words.strip() else ""
            piece = Piece("heading", words, level, label, page=self.page or None)
        elif self._lists:
            piece = Piece("item", words.strip(), len(self._lists), label, page=self.page or None)
        elif re.match(r"(?i)preformatted|source_?20_?code", style) or self._is_based_on(style, "Preformatted_20_Text"):
            goes_on = bool(self._pieces) and self._pieces[-1].kind == "code"
            piece = Piece("code", words, joined="\n" if goes_on else None)
        else:
            piece = Piece("paragraph", words.strip(), page=self.page or None)
        self._pieces.append(piece)
        self._pieces += self._after
        self._after = []

    def _outline_number(self, level: int) -> str:
        levels = self._levels.get("", {})
        self._outline = self._outline[:level] + [0] * (level - len(self._outline))
        self._outline[-1] += 1
        return _label(levels, self._outline)

    def _list(self, element: Element) -> None:
        style = element.attributes.get("style-name") or (self._lists[-1].style if self._lists else "")
        goes_on = element.attributes.get("continue-numbering") == "true" or "continue-list" in element.attributes
        counts = list(self._lists[-1].counts) if self._lists else []
        start = self._levels.get(style, {}).get(len(counts) + 1, _Level()).start - 1
        before = self._ended.get(style, [])
        counts.append(before[len(counts)] if goes_on and len(before) > len(counts) else start)
        self._lists.append(_List(style, counts))
        for one in element.elements():
            if one.tag in ("list-item", "list-header"):
                self._item(one)
        self._ended[style] = self._lists.pop().counts

    def _item(self, element: Element) -> None:
        current = self._lists[-1]
        label = ""
        if element.tag == "list-item":
            start = element.attributes.get("start-value", "")
            current.counts[-1] = int(start) if start.isdigit() else current.counts[-1] + 1
            label = _label(self._levels.get(current.style, {}), current.counts)
        for one in element.elements():
            if one.tag in ("p", "h"):
                self._line(one, label)
                label = ""
            else:
                self._block(one)

    def _frame(self, element: Element) -> None:
        for one in element.elements():
            if one.tag == "object":
                self._object(one.attributes.get("href", ""))
            elif one.tag in ("title", "desc"):
                self._pieces += picture_pieces(self._package.text.take(one.text()), self.page or None)
            elif one.tag != "image":
                self._block(one)

    def _object(self, place: str) -> None:
        part = f"{place.removeprefix('./')}/content.xml"
        if part in self._package:
            root = self._package.tree(part, _OF_MATH)
            if root.tag == "math":
                self._pieces.append(Piece("paragraph", self._package.text.take(mathml(root))))

    def _slide(self, page: Element) -> None:
        self.page += 1
        title, rest = "", []
        for shape in page.elements():
            if shape.tag == "notes":
                notes = [
                    one.text for one in self._inside(shape.elements()) if one.kind != "heading" and one.text.strip()
                ]
                rest.append(Piece("note", "\n".join(notes), label="Notes:", page=self.page))
            elif shape.attributes.get("class") == "title" and not title:
                title = " ".join(piece.text for piece in self._inside([shape]))
            else:
                rest += self._inside([shape])
        self._pieces += slide_pieces(title, rest, self.page)

    # Lines

    def _words(self, parent: Element) -> str:
        return "".join(one if isinstance(one, str) else self._inline(one) for one in _flat(parent))

    def _inline(self, one: Element) -> str:
        if one.tag in ("s", "tab"):
            return " "
        if one.tag == "line-break":
            return "\n"
        if one.tag == "note":
            self._notes += 1
            body = one.child("note-body")
            note = "\n".join(piece.text for piece in self._inside(body.elements())) if body else ""
            self._after.append(Piece("note", note, label=f"[{self._notes}]"))
            return ""
        if one.tag == "frame" and (formula := one.child("object")) is not None:
            pieces = self._inside([Element("frame", {}, [formula])])
            return " ".join(piece.text for piece in pieces)
        if one.tag in ("annotation", "frame", "custom-shape", "g"):
            self._after += self._inside([one])
            return ""
        if one.tag in _LEFT_OUT or one.attributes.get("is-hidden") == "true":
            return ""
        style = one.attributes.get("style-name", "")
        if one.tag == "span" and self._property(style, "display") == "none":
            return ""
        words = self._words(one)
        position = self._property(style, "text-position") if one.tag == "span" else ""
        raised = position.startswith("super") or re.match(r"[1-9]", position)
        return f"^{words}" if raised and re.fullmatch(r"[+−-]?\d+", words) else words

    def _property(self, style: str, name: str) -> str:
        """What a style or those that it is based on say of text; "" for nothing."""
        for one in self._line_of(style):
            said = one.child("text-properties")
            if said is not None and name in said.attributes:
                return said.attributes[name]
        return ""

    def _is_based_on(self, style: str, name: str) -> bool:
        return any(one.attributes.get("parent-style-name") == name for one in self._line_of(style))

    def _line_of(self, style: str) -> Iterator[Element]:
        for _ in range(20):  # styles that are based on each other have no end
            one = self._styles.get(style)
            if one is None:
                return
            yield one
            style = one.attributes.get("parent-style-name", "")

    # Tables

    def _table(self, table: Element) -> None:
        rows = list(_rows(table))
        if all(
            sum(cell.tag == "table-cell" for cell in row.elements()) <= 1 for row, _ in rows
        ):  # a frame around a text
            for row, _ in rows:
                for cell in row.elements():
                    self._pieces += self._inside(cell.elements())
            return
        marked = sum(is_head for _, is_head in rows)
        grid = self._grid([row for row, _ in rows], marked)
        headers = marked if marked < len(rows) else 0
        headers = headers or int(is_header(grid, marked=False))
        self._pieces += row_pieces(grid[headers:], joined_names(grid[:headers]), self.page or None)

    def _grid(self, rows: list[Element], headers: int) -> list[list[str]]:
        """The text of each column; a merged cell says it in each row, and in each column of the header."""
        grid: list[list[str]] = []
        for number, row in enumerate(rows):
            line: list[str] = []
            for cell in row.elements():
                times = min(_repeated(cell, "columns"), _MOST_REPEATED)
                if cell.tag == "table-cell":
                    words = " ".join(f"{one.label} {one.text}".strip() for one in self._inside(cell.elements()))
                    line += [self._package.text.take(words) for _ in range(times)]
                elif cell.tag == "covered-table-cell":
                    line += [self._covered(grid, rows, line, number, headers)] * times
            grid.append(line)
        return grid

    def _covered(self, grid: list[list[str]], rows: list[Element], line: list[str], number: int, headers: int) -> str:
        """What a cell says that a merged one lies over: the same as above, or to its left in a header."""
        place = len(line)
        above = [cell for cell in rows[number - 1].elements() if cell.tag.endswith("table-cell")] if number else []
        reaches = place < len(above) and (_spanned(above[place]) > 1 or above[place].tag == "covered-table-cell")
        if reaches and place < len(grid[-1]):
            return grid[-1][place]
        return line[-1] if line and number < headers else ""

    def _sheet(self, table: Element) -> None:
        style = self._styles.get(table.attributes.get("style-name", ""))
        shown = style.child("table-properties") if style else None
        if shown is not None and shown.attributes.get("display") == "false":
            return
        grid = []
        for row, _ in _rows(table):
            line = self._grid([row], 0)[0]
            while line and not line[-1]:
                line.pop()
            times = min(_repeated(row, "rows"), _MOST_REPEATED) if line else 1
            self._package.text.take("".join(line), times - 1)
            grid += [line] * times
        self._pieces += sheet_pieces(table.attributes.get("name", ""), grid)


def _flat(parent: Element) -> Iterator[str | Element]:
    """Text and elements of a line; white space in the source is one blank."""
    for one in parent.children:
        yield re.sub(r"\s+", " ", one) if isinstance(one, str) else one


def _rows(table: Element, is_head: bool = False) -> Iterator[tuple[Element, bool]]:
    for one in table.elements():
        if one.tag == "table-row":
            if one.attributes.get("visibility", "visible") == "visible":
                yield one, is_head
        elif one.tag in ("table-header-rows", "table-rows", "table-row-group"):
            yield from _rows(one, is_head or one.tag == "table-header-rows")


def _repeated(element: Element, what: str) -> int:
    said = element.attributes.get(f"number-{what}-repeated", "")
    return int(said) if said.isdigit() and len(said) < 9 else 1


def _spanned(cell: Element) -> int:
    said = cell.attributes.get("number-rows-spanned", "")
    return int(said) if said.isdigit() and len(said) < 9 else 1


def _level(element: Element) -> _Level:
    said = element.attributes
    return _Level(
        how=said.get("num-format", ""),
        repeats_letters=said.get("num-letter-sync") == "true",
        before=said.get("num-prefix", ""),
        after=said.get("num-suffix", ""),
        shown=int(said.get("display-levels", "1")),
        start=int(said.get("start-value", "1")),
        bullet=element.tag == "list-level-style-bullet",
    )


def _label(levels: dict[int, _Level], counts: list[int]) -> str:
    """The number of an item or heading whose levels have these numbers, or its bullet; "" for none."""
    own = levels.get(len(counts))
    if own is None or own.bullet:
        return "-" if own or levels else ""
    if not own.how:
        return ""
    first = len(counts) - min(own.shown, len(counts))
    numbers = [
        list_number(count, levels[place].how, levels[place].repeats_letters)
        for place, count in enumerate(counts[first:], first + 1)
        if place in levels and levels[place].how
    ]
    return f"{own.before}{'.'.join(numbers)}{own.after}".strip()
