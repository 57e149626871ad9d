"""Word files (.docx): headings, paragraphs, items with their numbers, tables as rows,
notes where they are referred to.

Written here and not left to python-docx: that one builds every part in memory, pictures too, brings lxml along, and
leaves out what stands in content controls and in tracked insertions.
"""

from __future__ import annotations

import importlib
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from rag_service.errors import LoadFailed
from rag_service.reading import kind_of
from rag_service.reading.blocks import Piece, Reading, lines_of
from rag_service.reading.characters import flat, superscript
from rag_service.reading.drawings import drawn_pieces, picture_pieces
from rag_service.reading.equations import equation, equation_field
from rag_service.reading.list_numbers import list_number
from rag_service.reading.ooxml import NOTHING, Element, Package, only_pictures, opened, properties
from rag_service.reading.symbols import in_text, symbol
from rag_service.reading.tables import document_table
from rag_service.reading.word_styles import Numbering, Styles
from rag_service.reading.word_tables import LEFT_OUT, looks_headed, rows_of
from rag_service.types import ReadingWarning

_MARKS = {"tab": " ", "ptab": " ", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes", "commentReference": "comments"}
_LEAVES = frozenset(("t", "sym", "ruby", "oMath", "drawing", "pict", "object", *_MARKS, *_NOTES))
_CODE_STYLE = re.compile(r"(?i)(source ?code|code( block)?|html preformatted|preformatted text|verbatim|listing)")
_BULLET = re.compile(r"[•●▪◦‣➢]\s+")
# What is left of a page's number in a header or footer, without the fields that count.
_PAGE_NUMBER = re.compile(r"(?i)\W*(page|seite|strana|strona|página|pagina)?\W*(of|von|de|z|di)?\W*")


def read(data: bytes, text_bytes: int) -> Reading:
    """The blocks of a Word file. Raises LoadFailed: damaged, encrypted, too large, only pictures, unknown type."""
    with opened(data, text_bytes) as package:
        main = package.main()
        if not main:
            raise LoadFailed("unknown type", "The file is an archive, not a document. Add the files in it.")
        body = _Body(_Document(package, main), main)
        pieces = body.read()
        pictures = any(relation.kind == "image" for relation in package.relations(main).values())
        if pictures and not any(piece.text.strip() for piece in pieces):
            raise only_pictures()
        return Reading(pieces, tuple(body.document.warnings), properties(package))


@dataclass
class _Document:
    """What the parts of a file share."""

    package: Package
    main: str
    warnings: list[ReadingWarning] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.styles = Styles(self.root("styles"))
        self.numbering = Numbering(self.root("numbering"), self.styles)
        self.notes = {kind: self._notes(kind) for kind in _NOTES.values()}
        self.drawn: set[str] = set()

    def root(self, kind: str) -> Element:
        """The part of this kind that the main part uses."""
        return next(self.package.used(kind, self.main), NOTHING)

    def _notes(self, kind: str) -> dict[str, Element]:
        notes = (one for one in self.root(kind).elements() if one.get("type") in ("", "normal"))
        return {one.get("id"): one for one in notes}

    def warn(self, detail: str) -> None:
        warning = ReadingWarning("not read", detail)
        if warning not in self.warnings:
            self.warnings.append(warning)


@dataclass
class _Field:
    """A field whose end has not come: first its code, then its result."""

    code: str = ""
    in_code: bool = True
    mark: str = ""  # what a form's field shows without a result
    shown: bool = True
    has_result: bool = False


@dataclass(frozen=True)
class _Run:
    font: str = ""
    hidden: bool = False
    raised: bool = False


@dataclass
class _Line:
    """A paragraph's words so far, and what comes after it: notes, text boxes, descriptions of pictures."""

    run: _Run
    words: list[str] = field(default_factory=list)
    after: list[Piece] = field(default_factory=list)
    raised: bool = False


class _Body:
    """Reads one part: the main one, a header or a footer."""

    def __init__(self, document: _Document, part: str) -> None:
        self.document = document
        self._part = part
        self._is_margin = part != document.main
        self._relations = document.package.relations(part)
        self._pieces: list[Piece] = []
        self._fields: list[_Field] = []
        self._held = ""  # words of a paragraph whose end was deleted: they begin the next one
        self._margins: dict[str, list[str]] = {"headerReference": [], "footerReference": []}
        self._counts = dict.fromkeys(_NOTES.values(), 0)

    def read(self) -> list[Piece]:
        """All pieces in order: headers first, footers last, each once."""
        self._block(self.document.package.tree(self._part))
        self._flush()
        if self._is_margin:
            return self._pieces
        margins = {kind: self._margin(parts) for kind, parts in self._margins.items()}
        return margins["headerReference"] + self._pieces + margins["footerReference"]

    def _block(self, element: Element) -> None:
        if element.tag == "p":
            self._paragraph(element)
        elif element.tag == "tbl":
            rows = [row for row in rows_of(element, self._inside) if row]
            self._pieces += document_table(rows, looks_headed(rows, element.child("tblPr"), self.document.styles))
        elif element.tag == "altChunk":
            self._chunk(element.get("r:id"))
        elif element.tag == "subDoc":
            self.document.warn("A sub-document that the file only refers to is not read. Add it as a file of its own.")
        elif element.tag == "sectPr":
            self._section(element)
        elif element.tag == "oMath":
            self._pieces.append(Piece("paragraph", equation(element)))
        elif element.tag not in LEFT_OUT and not _is_placeholder(element):
            self._blocks(element.elements())

    def _blocks(self, elements: Iterable[Element]) -> None:
        for element in elements:
            self._block(element)

    def _inside(self, elements: Iterable[Element]) -> list[Piece]:
        """The pieces of a separate text: of a cell, a note, a text box."""
        outer = self._pieces, self._fields, self._held
        self._pieces, self._fields, self._held = [], [], ""
        self._blocks(elements)
        self._flush()
        inner = self._pieces
        self._pieces, self._fields, self._held = outer
        return inner

    def _flush(self) -> None:
        if self._held:
            self._pieces.append(Piece("paragraph", self._held))
            self._held = ""

    # Paragraphs

    def _paragraph(self, element: Element) -> None:
        said = element.child("pPr")
        style = self.document.styles.of(said)
        hidden = self.document.styles.is_on(style, "rPr", "vanish")
        line = _Line(_Run(hidden=hidden))
        self._inline(element, line, line.run)
        words = self._held + "".join(line.words)
        self._held = ""
        if _ends_deleted(said):
            self._held = words
        elif not hidden:
            self._pieces.append(self._piece(words, style, said))
        self._pieces += line.after
        self._section(said.child("sectPr"))

    def _piece(self, words: str, style: str, said: Element) -> Piece:
        level = self.document.styles.heading_level(style, said)
        label, depth = self.document.numbering.label(style, said) or ("", 0)
        if level is not None:
            return Piece("heading", words, level, "" if label == "-" else label)
        if label:
            return Piece("item", words, depth, label)
        if bullet := _BULLET.match(words):
            return Piece("item", words[bullet.end() :], 1, "-")
        if _CODE_STYLE.fullmatch(self.document.styles.name(style)):
            return Piece("code", words, joined="\n" if self._pieces and self._pieces[-1].kind == "code" else None)
        return Piece("paragraph", words.strip())

    def _inline(self, parent: Element, line: _Line, run: _Run) -> None:
        for one in parent.elements():
            if one.tag == "r":
                self._inline(one, line, self._run(one, line.run))
            elif one.tag in _LEAVES:
                if not run.hidden and self._is_shown():
                    self._leaf(one, line, run)
            elif one.tag == "fldChar":
                self._field_mark(one, line, run)
            elif one.tag == "instrText":
                if self._fields:
                    self._fields[-1].code += one.text()
            elif one.tag == "fldSimple":
                self._fields.append(_Field(one.get("instr")))
                self._begin_result()
                self._inline(one, line, run)
                self._end_field(line, run)
            elif one.tag == "sdt" and (box := one.child("sdtPr", "checkbox")):
                self._say(line, run, "☒" if box.is_on("checked") else "☐")
            elif not (one.tag in LEFT_OUT or one.tag.endswith("Pr") or _is_placeholder(one)):
                self._inline(one, line, run)

    def _run(self, element: Element, around: _Run) -> _Run:
        said = element.child("rPr")
        if not said:
            return around
        style = said.value("rStyle") or ""
        hidden, raised = said.is_on("vanish"), said.value("vertAlign")
        if style and hidden is None:
            hidden = self.document.styles.is_on(style, "rPr", "vanish") or None
        if style and raised is None:
            raised = self.document.styles.value(style, "rPr", "vertAlign")
        hidden = around.hidden if hidden is None else hidden
        return _Run(said.child("rFonts").get("ascii"), hidden, raised == "superscript")

    def _leaf(self, element: Element, line: _Line, run: _Run) -> None:
        tag = element.tag
        if tag == "t":
            # A line end in the source is a blank; a line's own end is an element.
            self._say(line, run, in_text(run.font, re.sub(r"\s", " ", element.text())))
        elif tag in _MARKS:
            self._say(line, run, _MARKS[tag])
        elif tag == "sym":
            code = element.get("char")
            self._say(line, run, symbol(element.get("font"), int(code, 16)) if code else "")
        elif tag == "oMath":
            self._say(line, run, equation(element).strip())
        elif tag == "ruby":
            for base in element.all("rubyBase"):
                self._inline(base, line, run)
        elif tag in _NOTES:
            line.after += self._note(_NOTES[tag], element.get("id"))
        else:
            self._graphic(element, line)

    def _say(self, line: _Line, run: _Run, words: str) -> None:
        if run.hidden or not self._is_shown() or not words:
            return
        if run.raised and not line.raised:
            words = superscript(words, "".join(line.words[-4:]))  # 10 to the 6th is not 106
        line.raised = run.raised
        line.words.append(words)
        for one in self._fields:
            one.has_result = True

    # Fields

    def _is_shown(self) -> bool:
        return not any(one.in_code or not one.shown for one in self._fields)

    def _field_mark(self, element: Element, line: _Line, run: _Run) -> None:
        kind = element.attributes.get("fldCharType")
        if kind == "begin":
            self._fields.append(_Field(mark=_form_mark(element.child("ffData"))))
        elif kind == "separate" and self._fields:
            self._begin_result()
        elif kind == "end" and self._fields:
            self._end_field(line, run)

    def _begin_result(self) -> None:
        one = self._fields[-1]
        one.in_code = False
        numbers = re.match(r"\s*(PAGE|NUMPAGES|SECTIONPAGES|STYLEREF)\b", one.code, re.IGNORECASE)
        one.shown = not (self._is_margin and numbers)

    def _end_field(self, line: _Line, run: _Run) -> None:
        one = self._fields.pop()
        if one.mark:
            self._say(line, run, "" if one.has_result else one.mark)
        elif not one.has_result and re.match(r"\s*EQ\b", one.code, re.IGNORECASE):
            self._say(line, run, equation_field(one.code))
        elif not one.has_result and (sign := re.match(r'\s*SYMBOL\s+(\d{1,5})(?:.*\\f\s+"?([^"\\]+))?', one.code)):
            self._say(line, run, symbol((sign[2] or "").strip(), int(sign[1])))

    # What stands outside of the lines

    def _note(self, kind: str, identity: str) -> list[Piece]:
        """A note, the first time that it is referred to."""
        note = self.document.notes[kind].pop(identity, None)
        if note is None:
            return []
        self._counts[kind] += 1
        count = self._counts[kind]
        label = "Comment:" if kind == "comments" else f"[{count if kind == 'footnotes' else list_number(count, 'i')}]"
        return [Piece("note", lines_of(self._inside(note.elements())), label=label)]

    def _graphic(self, element: Element, line: _Line) -> None:
        for one in element.elements():
            if one.tag == "txbxContent":
                line.after += self._inside(one.elements())
            elif one.tag == "graphicData" and one.get("uri").endswith("/diagram"):
                named = self._target(one.child("relIds"), "r:dm")
                others = (other.part for other in self._relations.values() if other.kind == "diagramData")
                for part in [named] if named else others:
                    line.after += self._drawn(part)
            elif one.tag == "chart":
                line.after += self._drawn(self._target(one, "r:id"))
            elif one.tag == "OLEObject":
                program = one.attributes.get("ProgID", "another program").split(".")[0]
                self.document.warn(f"An embedded object ({program}) is not read. Add it as a file of its own.")
            else:
                line.after += self._description(one)
                self._graphic(one, line)

    def _description(self, element: Element) -> list[Piece]:
        if element.tag == "textpath" and not self._is_margin:
            return [Piece("paragraph", element.get("string"))]
        words = element.get("descr") or element.get("title") if element.tag == "docPr" else element.get("alt")
        return picture_pieces(words) if element.tag in ("docPr", "shape") else []

    def _target(self, element: Element, attribute: str) -> str:
        relation = self._relations.get(element.get(attribute))
        return relation.part if relation else ""

    def _drawn(self, part: str) -> list[Piece]:
        """The words of a chart or a diagram (SmartArt), the latter once."""
        if part not in self.document.package or part in self.document.drawn:
            return []
        self.document.drawn.add(part)
        return drawn_pieces(self.document.package.tree(part))

    def _chunk(self, identity: str) -> None:
        """A file of another kind that Word would take in as it opens this one."""
        relation = self._relations.get(identity)
        if relation is None or relation.part not in self.document.package:
            self.document.warn("A part that the file refers to is missing in it. Save the file again in Word.")
            return
        data = self.document.package.content(relation.part)
        try:
            kind = kind_of(relation.part, data)
            reader = importlib.import_module(f"rag_service.reading.{kind}")
            whole = ("all",) if kind == "html" else ()
            self._pieces += reader.read(data, self.document.package.text.left, *whole).pieces
        except LoadFailed as failure:
            if failure.code == "too large":
                raise
            name = posixpath.basename(relation.part)
            self.document.warn(f"The part {name} is not read: {failure.detail}")

    def _section(self, element: Element) -> None:
        for one in element.elements():
            first_page = one.attributes.get("type") == "first" and not element.is_on("titlePg")
            if one.tag in self._margins and not first_page and not self._is_margin:
                part = self._target(one, "r:id")
                if part and part not in self._margins[one.tag]:
                    self._margins[one.tag].append(part)

    def _margin(self, parts: list[str]) -> list[Piece]:
        found: dict[str, Piece] = {}
        for part in parts:
            if part in self.document.package:
                for piece in _Body(self.document, part).read():
                    words = flat(piece.text)
                    if not _PAGE_NUMBER.fullmatch(words):
                        found.setdefault(words, Piece("note", piece.text, label=piece.label))
        return list(found.values())


def _ends_deleted(paragraph: Element) -> bool:
    """Whether the next paragraph goes on in this one's line: its end is deleted, or it is a large initial letter."""
    marks = paragraph.child("rPr")
    is_initial = paragraph.child("framePr").get("dropCap") not in ("", "none")
    return is_initial or bool(marks.child("del") or marks.child("moveFrom"))


def _is_placeholder(element: Element) -> bool:
    return element.tag == "sdt" and bool(element.is_on("sdtPr", "showingPlcHdr"))


def _form_mark(data: Element) -> str:
    """What a form's field shows: a box, or the chosen entry of a list."""
    if box := data.child("checkBox"):
        checked = box.is_on("checked")
        return "☒" if (box.is_on("default") if checked is None else checked) else "☐"
    choices = data.child("ddList")
    chosen = choices.value("result") or choices.value("default") or "0"
    entries = dict(enumerate(one.get("val") for one in choices.all("listEntry")))
    return entries.get(int(chosen) if chosen.isdigit() else -1, "")
