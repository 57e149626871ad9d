"""Word files (.docx), streamed out of their archive by expat: the text in order, headings, tables as rows, notes.

Written here and not left to python-docx: that one builds every part in memory, pictures too, brings lxml along, and
leaves out what stands in content controls and in tracked insertions.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any
from xml.parsers import expat

from rag_service.errors import LoadFailed
from rag_service.loaders.text import flat, heading

# Markup is many times its text; beyond this it is no document but an attempt to fill the memory.
_MARKUP_FOR_TEXT = 32
_DEEPEST = 256
_UNSEEN = frozenset(("del", "moveFrom", "Fallback", "rPr", "sectPr", "instrText", "tblPr", "trPr", "tcPr"))
_MARKS = {"tab": " ", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_OTHERS = {"xl": "an Excel workbook; save it as CSV", "ppt": "a presentation; save it as PDF"}


def to_text(data: bytes, text_bytes: int) -> str:
    """The words of a Word file. Raises LoadFailed: damaged, encrypted, too large, unknown type."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            main = _main_part(archive)
            folder = posixpath.dirname(main)
            styles = _Styles()
            limit = _MARKUP_FOR_TEXT * text_bytes
            if f"{folder}/styles.xml" in archive.namelist():
                _read(archive, f"{folder}/styles.xml", styles, limit)
            blocks: list[str] = []
            for part in (main, f"{folder}/footnotes.xml", f"{folder}/endnotes.xml"):
                if part in archive.namelist():
                    body = _Body(styles, text_bytes)
                    _read(archive, part, body, limit)
                    blocks.append(body.text())
    # zipfile raises NotImplementedError for versions and flags of the format that it does not know, and ValueError for
    # a place before the file's beginning.
    except (zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, NotImplementedError, ValueError) as error:
        raise LoadFailed("damaged", f"The Word file is damaged ({type(error).__name__}). Save it again.") from error
    return "\n\n".join(blocks)


def _main_part(archive: zipfile.ZipFile) -> str:
    """The name of the part that holds the text, as the archive itself says. Raises LoadFailed `unknown type`."""
    names = set(archive.namelist())
    main = "word/document.xml"
    if "_rels/.rels" in names:
        relations = _Relations()
        _read(archive, "_rels/.rels", relations, 1_000_000)
        main = posixpath.normpath(relations.main.lstrip("/")) if relations.main else main
    if main.startswith("word/") and main in names:
        return main
    kind = _OTHERS.get(main.split("/")[0], "an archive, not a document; add the files in it")
    raise LoadFailed("unknown type", f"The file is {kind}.")


def _read(archive: zipfile.ZipFile, part: str, handler: Any, limit: int) -> None:
    """Lets `handler` hear of a part's elements; nothing of it is kept, and no entity is ever declared."""
    entry = archive.getinfo(part)
    if entry.flag_bits & 1:
        raise LoadFailed("encrypted", "The Word file is encrypted. Save it without a password, then add it again.")
    # Other methods inflate without a bound, and the format does not know them.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise LoadFailed("damaged", "The Word file is packed in a way that Word does not know. Save it again.")
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    depth = 0

    def started(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise LoadFailed("damaged", "The Word file nests its parts too deeply. Save it again.")
        handler.started(_local(tag), {_local(name): value for name, value in attributes.items()})

    def ended(tag: str) -> None:
        nonlocal depth
        depth -= 1
        handler.ended(_local(tag))

    def refused(*_: object) -> None:
        raise LoadFailed("damaged", "The Word file declares entities, as no word processor does. Save it again.")

    parser.StartElementHandler = started
    parser.EndElementHandler = ended
    parser.CharacterDataHandler = handler.said
    parser.StartDoctypeDeclHandler = refused
    with archive.open(entry) as stream:
        for piece in _bounded(stream, limit):
            parser.Parse(piece)
        parser.Parse(b"", True)


def _bounded(stream: IO[bytes], limit: int) -> Iterator[bytes]:
    read = 0
    while piece := stream.read(65536):
        read += len(piece)
        if read > limit:
            raise LoadFailed("too large", f"The Word file unpacks to more than {limit:,} bytes. Split the file.")
        yield piece


def _local(name: str) -> str:
    return name.rsplit(" ", 1)[-1]


class _Relations:
    """Which part is the document."""

    main = ""

    def started(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "Relationship" and attributes.get("Type", "").endswith("/officeDocument"):
            self.main = attributes.get("Target", "")

    def ended(self, tag: str) -> None: ...

    def said(self, words: str) -> None: ...


class _Styles:
    """Which styles are headings, of which level, and which are lists; a style takes what it does not say from the one
    it is based on."""

    def __init__(self) -> None:
        self._levels: dict[str, int] = {}
        self._lists: set[str] = set()
        self._based_on: dict[str, str] = {}
        self._style = ""

    def level(self, style: str) -> int | None:
        return next((self._levels[one] for one in self._line(style) if one in self._levels), None)

    def is_list(self, style: str) -> bool:
        return any(one in self._lists for one in self._line(style))

    def _line(self, style: str) -> Iterator[str]:
        for _ in range(20):  # styles that are based on each other have no end
            yield style
            style = self._based_on.get(style, "")

    def started(self, tag: str, attributes: dict[str, str]) -> None:
        value = attributes.get("val", "")
        if tag == "style":
            self._style = attributes.get("styleId", "")
        elif tag == "name" and (named := re.fullmatch(r"(?i)(title)|heading ([1-9])", value)):
            self._levels[self._style] = 1 if named[1] else int(named[2])
        elif tag == "outlineLvl" and value in set("012345678"):
            self._levels[self._style] = int(value) + 1
        elif tag == "basedOn":
            self._based_on[self._style] = value
        elif tag == "numPr":
            self._lists.add(self._style)

    def ended(self, tag: str) -> None: ...

    def said(self, words: str) -> None: ...


class _Body:
    """Paragraphs and rows in the order of the file. Paragraphs stand in cells, and text boxes in paragraphs: each
    opens a list of words of its own."""

    def __init__(self, styles: _Styles, text_bytes: int) -> None:
        self._styles = styles
        self._left = text_bytes
        self._blocks: list[str] = []
        self._words: list[list[str]] = []  # open paragraphs
        self._cells: list[list[str]] = []  # open cells: their paragraphs
        self._rows: list[list[str]] = []  # open rows: their cells
        self._unseen = 0
        self._in_text = False
        self._level: int | None = None
        self._item = False

    def text(self) -> str:
        return "\n".join(self._blocks)

    def started(self, tag: str, attributes: dict[str, str]) -> None:
        if self._unseen or tag in _UNSEEN:
            self._unseen += 1
        elif tag == "p":
            self._words.append([])
            self._level, self._item = None, False
        elif tag == "tr":
            self._rows.append([])
        elif tag == "tc":
            self._cells.append([])
        elif tag == "t":
            self._in_text = True
        elif tag == "pStyle":
            self._level = self._styles.level(attributes.get("val", ""))
            self._item = self._styles.is_list(attributes.get("val", ""))
        elif tag == "outlineLvl" and attributes.get("val", "") in set("012345678"):
            self._level = int(attributes["val"]) + 1
        elif tag == "numPr":
            self._item = True
        elif tag in _MARKS and self._words:
            self._words[-1].append(_MARKS[tag])

    def ended(self, tag: str) -> None:
        if self._unseen:
            self._unseen -= 1
        elif tag == "t":
            self._in_text = False
        elif tag == "p" and self._words:
            self._end_paragraph("".join(self._words.pop()))
        elif tag == "tc" and self._cells and self._rows:
            self._rows[-1].append(flat(" ".join(self._cells.pop())))
        elif tag == "tr" and self._rows:
            self._put(" | ".join(self._rows.pop()))
        elif tag == "tbl":
            self._put("")

    def said(self, words: str) -> None:
        if self._in_text and not self._unseen and self._words:
            self._left -= len(words)
            if self._left < 0:
                raise LoadFailed("too large", "The Word file holds more text than is taken. Split the file.")
            self._words[-1].append(words)

    def _end_paragraph(self, words: str) -> None:
        if self._level is not None and not self._cells and words.strip():
            words = heading(self._level, words)
        elif self._item and words.strip():
            words = "- " + words.lstrip()
        self._put(words if self._cells else words + "\n")
        self._level, self._item = None, False

    def _put(self, block: str) -> None:
        (self._cells[-1] if self._cells else self._blocks).append(block)
