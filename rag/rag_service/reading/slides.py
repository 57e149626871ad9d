"""PowerPoint files (.pptx): each slide a page, its title a heading, items with their levels, tables as rows, notes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.characters import flat
from rag_service.reading.drawings import chart_pieces, diagram_pieces, picture_pieces
from rag_service.reading.equations import equation
from rag_service.reading.list_numbers import list_number
from rag_service.reading.ooxml import Element, Package, only_pictures, opened, properties
from rag_service.reading.tables import is_header, row_pieces
from rag_service.types import ReadingWarning

_TITLES = ("title", "ctrTitle")
_REPEATED = ("dt", "ftr", "sldNum", "hdr")  # placeholders of dates, footers and numbers
_NUMBERS = {"alphaLc": "a", "alphaUc": "A", "romanLc": "i", "romanUc": "I"}


def read(data: bytes, text_bytes: int) -> Reading:
    """The blocks of a presentation. Raises LoadFailed: damaged, encrypted, too large, only pictures."""
    with opened(data, text_bytes) as package:
        main = package.main()
        listed = package.tree(main).child("sldIdLst")
        parts = {one.identity: one.part for one in package.relations(main)}
        order = [parts.get(one.attributes.get("r:id", ""), "") for one in listed.elements()] if listed else []
        pieces: list[Piece] = []
        warnings: list[ReadingWarning] = []
        for page, part in enumerate(order, 1):
            slide = _Slide(package, part, page) if part in package else None
            if slide and slide.is_hidden:
                warnings.append(ReadingWarning("not read", "The slide is hidden and is not read.", page))
            elif slide:
                pieces += slide.pieces()
        if not pieces and any(one.kind == "image" for part in order for one in package.relations(part)):
            raise only_pictures()
        return Reading(pieces, tuple(warnings), properties(package), len(order) or None)


def slide_pieces(title: str, rest: Iterable[Piece], page: int) -> list[Piece]:
    """A slide's title and the rest of it; without a title it is named by its number. Nothing for an empty slide."""
    rest = [one for one in rest if one.text.strip()]
    title = title.strip() or (f"Slide {page}" if rest else "")
    return [Piece("heading", title, 1, page=page), *rest] if title else []


class _Slide:
    def __init__(self, package: Package, part: str, page: int) -> None:
        self._package = package
        self._root = package.tree(part)
        self._relations = package.relations(part)
        self._page = page
        self.is_hidden = self._root.attributes.get("show") in ("0", "false")

    def pieces(self) -> list[Piece]:
        """The title first, whatever stands above it; then what the slide shows and the remarks on it."""
        tree = self._root.child("cSld", "spTree")
        body = [piece for piece in self._shapes(tree) if piece.text.strip()] if tree else []
        title = next((one for one in body if one.kind == "heading"), None)
        rest = [one for one in body if one is not title]
        return slide_pieces(title.text if title else "", [*rest, *self._remarks()], self._page)

    def _shapes(self, parent: Element) -> Iterator[Piece]:
        for one in parent.elements():
            if one.tag == "AlternateContent":
                chosen = one.child("Choice") or one.child("Fallback")
                yield from self._shapes(chosen) if chosen else ()
            elif one.tag == "sp":
                yield from self._shape(one)
            elif one.tag == "graphicFrame":
                yield from self._frame(one)
            elif one.tag == "pic":
                yield from picture_pieces(_description(one), self._page)
            elif one.tag == "grpSp":
                yield from self._shapes(one)

    def _shape(self, shape: Element) -> Iterator[Piece]:
        place = shape.child("nvSpPr", "nvPr", "ph")
        kind = place.attributes.get("type", "obj") if place else "box"
        text = shape.child("txBody")
        if text is None or kind in _REPEATED:
            return
        paragraphs = [one for one in text.elements() if one.tag == "p"]
        if kind in _TITLES:
            yield Piece("heading", " ".join(map(_words, paragraphs)), 1, page=self._page)
        else:
            yield from self._paragraphs(paragraphs, listed=kind in ("obj", "body"))

    def _paragraphs(self, paragraphs: Iterable[Element], listed: bool) -> Iterator[Piece]:
        """`listed`: paragraphs are items unless they say otherwise, as on the main part of a slide."""
        counts: dict[int, int] = {}
        for one in paragraphs:
            said = one.child("pPr") or Element("pPr", {})
            depth = int(said.attributes.get("lvl", "0")) + 1
            counts = {level: count for level, count in counts.items() if level <= depth}
            numbered = said.child("buAutoNum")
            words = _words(one)
            if numbered is not None and words.strip():
                start = int(numbered.attributes.get("startAt", "1"))
                counts[depth] = counts.get(depth, start - 1) + 1
                label = _number(counts[depth], numbered.attributes.get("type", ""))
                yield Piece("item", words, depth, label, page=self._page)
            elif said.child("buChar") or (listed and not said.child("buNone")):
                yield Piece("item", words, depth, "-", page=self._page)
            else:
                yield Piece("paragraph", words, page=self._page)

    def _frame(self, frame: Element) -> Iterator[Piece]:
        data = frame.child("graphic", "graphicData") or Element("graphicData", {})
        if table := data.child("tbl"):
            rows = [
                [_text(cell) for cell in row.elements() if cell.tag == "tc"]
                for row in table.elements()
                if row.tag == "tr"
            ]
            said = table.child("tblPr")
            headed = is_header(rows, marked=said is not None and said.attributes.get("firstRow") in ("1", "true"))
            yield from row_pieces(rows[headed:], rows[0] if headed else (), self._page)
        elif chart := data.child("chart"):
            yield from self._part(chart.attributes.get("r:id"), chart_pieces)
        elif diagram := data.child("relIds"):
            yield from self._part(diagram.attributes.get("r:dm"), diagram_pieces)
        yield from picture_pieces(_description(frame), self._page)

    def _part(self, identity: str | None, pieces: Callable[[Element, int], list[Piece]]) -> list[Piece]:
        part = next((one.part for one in self._relations if one.identity == identity), "")
        return pieces(self._package.tree(part), self._page) if part in self._package else []

    def _remarks(self) -> Iterator[Piece]:
        """The speaker's notes and the comments."""
        for relation in self._relations:
            if relation.kind not in ("notesSlide", "comments") or relation.part not in self._package:
                continue
            root = self._package.tree(relation.part)
            if relation.kind == "comments":
                for comment in root.descendants("cm"):
                    yield Piece("note", comment.text(), label="Comment:", page=self._page)
            for shape in root.descendants("sp"):
                place = shape.child("nvSpPr", "nvPr", "ph")
                if place is not None and place.attributes.get("type") == "body":
                    yield Piece("note", _text(shape, "\n"), label="Notes:", page=self._page)


def _text(parent: Element, between: str = " ") -> str:
    return between.join(words for one in parent.descendants("p") if (words := _words(one)).strip())


def _words(paragraph: Element) -> str:
    """A paragraph's text; a raised number is marked, as 10^6."""
    words = ""
    for one in paragraph.elements():
        if one.tag == "br":
            words += "\n"
        elif one.tag == "AlternateContent":
            words += _words(one.child("Choice") or Element("Choice", {}))
        elif one.tag == "m":
            words += equation(one).strip()
        elif one.tag == "r" or (one.tag == "fld" and one.attributes.get("type") != "slidenum"):
            said, run = one.child("rPr"), "".join(part.text() for part in one.elements() if part.tag == "t")
            raised = said is not None and re.fullmatch(r"[1-9]\d*%?", said.attributes.get("baseline", ""))
            words += "^" * bool(raised and re.fullmatch(r"[+−-]?\d+", run) and words[-1:].isalnum()) + run
    return words


def _number(count: int, kind: str) -> str:
    """A number as a list of this kind shows it, such as `alphaLcParenR`."""
    number = list_number(count, _NUMBERS.get(kind[:7], "1"), repeats_letters=True)
    if kind.endswith("ParenBoth"):
        return f"({number})"
    return number + (")" if kind.endswith("ParenR") else "" if kind.endswith("Plain") else ".")


def _description(shape: Element) -> str:
    names = (one.child("cNvPr") for one in shape.elements() if one.tag.startswith("nv"))
    return flat(next((one.attributes.get("descr", "") for one in names if one), ""))
