"""PowerPoint files (.pptx): each slide a page, its title a heading, items with their levels, tables as rows, notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.characters import flat, superscript
from rag_service.reading.drawings import drawn_pieces, picture_pieces
from rag_service.reading.equations import equation
from rag_service.reading.list_numbers import list_number
from rag_service.reading.ooxml import Element, Package, only_pictures, opened, properties
from rag_service.reading.tables import Cell, cell_of, document_table
from rag_service.types import ReadingWarning

_TITLES = ("title", "ctrTitle")
_YES = ("1", "true")
_REPEATED = ("dt", "ftr", "sldNum", "hdr")  # placeholders of dates, footers and numbers
_NUMBERS = {"alphaLc": "a", "alphaUc": "A", "romanLc": "i", "romanUc": "I"}


def read(data: bytes, text_bytes: int) -> Reading:
    """The blocks of a presentation. Raises LoadFailed: damaged, encrypted, too large, only pictures."""
    with opened(data, text_bytes) as package:
        main = package.main()
        listed = package.tree(main).child("sldIdLst")
        parts = {identity: one.part for identity, one in package.relations(main).items()}
        order = [parts.get(one.get("r:id"), "") for one in listed.elements()]
        pieces: list[Piece] = []
        warnings: list[ReadingWarning] = []
        for page, part in enumerate(order, 1):
            slide = _Slide(package, part, page) if part in package else None
            if slide and slide.is_hidden:
                warnings.append(ReadingWarning("not read", "The slide is hidden and is not read.", page))
            elif slide:
                pieces += slide.pieces()
        if not pieces and any(one.kind == "image" for part in order for one in package.relations(part).values()):
            raise only_pictures()
        return Reading(pieces, tuple(warnings), properties(package), len(order) or None)


def slide_pieces(title: str, rest: Iterable[Piece], page: int) -> list[Piece]:
    """A slide's title and the rest of it; without a title it is named by its number. Nothing for an empty slide."""
    rest = [one for one in rest if one.text.strip()]
    title = title.strip() or (f"Slide {page}" if rest else "")
    return [replace(one, page=page) for one in (Piece("heading", title, 1), *rest)] if title else []


class _Slide:
    def __init__(self, package: Package, part: str, page: int) -> None:
        self._package = package
        self._root = package.tree(part)
        self._part = part
        self._page = page
        self.is_hidden = self._root.attributes.get("show") in ("0", "false")

    def pieces(self) -> list[Piece]:
        """The title first, whatever stands above it; then what the slide shows and the remarks on it."""
        tree = self._root.child("cSld", "spTree")
        body = [piece for piece in self._shapes(tree) if piece.text.strip()]
        title = next((one for one in body if one.kind == "heading"), None)
        rest = [one for one in body if one is not title]
        return slide_pieces(title.text if title else "", [*rest, *self._remarks()], self._page)

    def _shapes(self, parent: Element) -> Iterator[Piece]:
        for one in parent.elements():
            if one.tag == "sp":
                yield from self._shape(one)
            elif one.tag == "graphicFrame":
                yield from self._frame(one)
            elif one.tag == "pic":
                yield from picture_pieces(_description(one))
            elif one.tag == "grpSp":
                yield from self._shapes(one)

    def _shape(self, shape: Element) -> Iterator[Piece]:
        place = shape.child("nvSpPr", "nvPr", "ph")
        kind = place.attributes.get("type", "obj") if place else "box"
        text = shape.child("txBody")
        if kind in _REPEATED:
            return
        if kind in _TITLES:
            yield Piece("heading", " ".join(map(_words, text.all("p"))), 1)
        else:
            yield from self._paragraphs(text.all("p"), listed=kind in ("obj", "body"))

    def _paragraphs(self, paragraphs: Iterable[Element], listed: bool) -> Iterator[Piece]:
        """`listed`: paragraphs are items unless they say otherwise, as on the main part of a slide."""
        counts: dict[int, int] = {}
        for one in paragraphs:
            said = one.child("pPr")
            depth = int(said.attributes.get("lvl", "0")) + 1
            counts = {level: count for level, count in counts.items() if level <= depth}
            numbered = said.child("buAutoNum")
            words = _words(one)
            if numbered and words.strip():
                start = int(numbered.attributes.get("startAt", "1"))
                counts[depth] = counts.get(depth, start - 1) + 1
                label = _number(counts[depth], numbered.get("type"))
                yield Piece("item", words, depth, label)
            elif said.child("buChar") or (listed and not said.child("buNone")):
                yield Piece("item", words, depth, "-")
            else:
                yield Piece("paragraph", words)

    def _frame(self, frame: Element) -> Iterator[Piece]:
        data = frame.child("graphic", "graphicData")
        if table := data.child("tbl"):
            marked = table.child("tblPr").get("firstRow") in _YES
            yield from document_table(list(map(self._cells, table.all("tr"))), marked)
        elif chart := data.child("chart"):
            yield from self._drawn(chart.get("r:id"))
        elif diagram := data.child("relIds"):
            yield from self._drawn(diagram.get("r:dm"))
        yield from picture_pieces(_description(frame))

    def _cells(self, row: Element) -> list[Cell]:
        cells = []
        for one in row.all("tc"):
            pieces = [Piece("paragraph", _text(one))]
            if one.attributes.get("hMerge") not in _YES:  # else the cell to its left covers it
                span, goes_on = one.get("gridSpan"), one.attributes.get("vMerge") in _YES
                cells.append(cell_of(pieces, columns=int(span) if span.isdigit() else 1, goes_on=goes_on))
        return cells

    def _drawn(self, identity: str) -> list[Piece]:
        relation = self._package.relations(self._part).get(identity)
        return drawn_pieces(self._package.tree(relation.part)) if relation and relation.part in self._package else []

    def _remarks(self) -> Iterator[Piece]:
        """The comments and the speaker's notes."""
        for comments in self._package.used("comments", self._part):
            yield from (Piece("note", one.text(), label="Comment:") for one in comments.descendants("cm"))
        for notes in self._package.used("notesSlide", self._part):
            for shape in notes.descendants("sp"):
                if shape.child("nvSpPr", "nvPr", "ph").get("type") == "body":
                    yield Piece("note", _text(shape, "\n"), label="Notes:")


def _text(parent: Element, between: str = " ") -> str:
    return between.join(words for one in parent.descendants("p") if (words := _words(one)).strip())


def _words(paragraph: Element) -> str:
    """A paragraph's text; a raised number is marked, as 10^6."""
    words = ""
    for one in paragraph.elements():
        if one.tag == "br":
            words += "\n"
        elif one.tag == "m":
            words += equation(one).strip()
        elif one.tag == "r" or (one.tag == "fld" and one.attributes.get("type") != "slidenum"):
            run = "".join(part.text() for part in one.all("t"))
            raised = re.fullmatch(r"[1-9]\d*%?", one.child("rPr").get("baseline"))
            words += superscript(run, words) if raised else run
    return words


def _number(count: int, kind: str) -> str:
    """A number as a list of this kind shows it, such as `alphaLcParenR`."""
    number = list_number(count, _NUMBERS.get(kind[:7], "1"), repeats_letters=True)
    if kind.endswith("ParenBoth"):
        return f"({number})"
    return number + (")" if kind.endswith("ParenR") else "" if kind.endswith("Plain") else ".")


def _description(shape: Element) -> str:
    names = (one.child("cNvPr") for one in shape.elements() if one.tag.startswith("nv"))
    return flat(next((one.get("descr") for one in names if one), ""))
