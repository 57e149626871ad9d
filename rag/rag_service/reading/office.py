"""Office files: which program wrote them is found by their bytes. Those of today have readers of their own; older ones
are read by kreuzberg, and what it cannot survive ends this child process alone."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rag_service.errors import LoadFailed
from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.ooxml import Package, encrypted, only_pictures, opened
from rag_service.reading.sheets import sheet_pieces
from rag_service.reading.tables import Cell, document_table

_OLE = b"\xd0\xcf\x11\xe0"
# A type's name in kreuzberg, its name for users, and the formats to save it as where it is not read.
_TYPES = {
    "doc": ("application/msword", "a Word file of before 2007 (.doc)", "DOCX or PDF"),
    "xls": ("application/vnd.ms-excel", "an Excel workbook of before 2007 (.xls)", "XLSX or CSV"),
    "xlsb": ("application/vnd.ms-excel.sheet.binary.macroEnabled.12", "a binary Excel workbook (.xlsb)", "XLSX or CSV"),
    "ppt": ("application/vnd.ms-powerpoint", "a presentation of before 2007 (.ppt)", "PPTX or PDF"),
    "msg": ("application/vnd.ms-outlook", "an Outlook message (.msg)", "EML or PDF"),
    "rtf": ("application/rtf", "a Rich Text file (.rtf)", "DOCX or PDF"),
}
_VISIO = "a Visio drawing; save it as PDF"
_OLD = "of an old kind of Office; save it as PDF"
# Names of streams in files of Office's old kind; the first that is found decides.
_STREAMS = {
    "EncryptedPackage": "encrypted", "WordDocument": "doc", "PowerPoint Document": "ppt", "__substg1.0_": "msg",
    "Workbook": "xls", "Book": "xls", "VisioDocument": _VISIO,
}  # fmt: skip
_MIME_TYPES = {
    "application/epub+zip": "epub",
    "application/vnd.oasis.opendocument.text": "opendocument",
    "application/vnd.oasis.opendocument.spreadsheet": "opendocument",
    "application/vnd.oasis.opendocument.presentation": "opendocument",
}
_MAIN_ELEMENTS = re.compile(rb"<(?:\w+:)?(document|presentation|workbook|VisioDocument)[\s>]")
_OF_ELEMENTS = {"document": "word", "presentation": "slides", "workbook": "sheets", "VisioDocument": _VISIO}
_READERS = ("word", "slides", "sheets", "opendocument", "epub")  # modules beside this one
_FACTS = {"title": "title", "subject": "subject", "language": "language", "created_at": "created",
          "modified_at": "modified", "authors": "author"}  # fmt: skip
_SPREADSHEETS = ("xls", "xlsb")


def read(data: bytes, text_bytes: int) -> Reading:
    """The blocks of an office file. Raises LoadFailed: damaged, encrypted, too large, unknown type, empty."""
    if data.startswith(b"PK"):
        with opened(data, text_bytes) as package:
            kind = _kind(package)
    elif data.startswith(_OLE):
        kind = next((kind for name, kind in _STREAMS.items() if name.encode("utf-16-le") in data), _OLD)
    else:
        kind, data = "rtf", data if data.startswith(b"{\\rtf") else b"{\\rtf1\\ansi " + data + b"}"
    if kind in _READERS:
        reading: Reading = importlib.import_module(f"rag_service.reading.{kind}").read(data, text_bytes)
        return reading
    if kind == "encrypted":
        raise encrypted()
    if kind not in _TYPES:
        raise LoadFailed("unknown type", f"The file is {kind}.")
    return _read_by_kreuzberg(kind, data)


def _kind(package: Package) -> str:
    """The reader of an archive, a key of `_TYPES`, "encrypted", or in words what the file is."""
    if "mimetype" in package:
        if "META-INF/manifest.xml" in package and b"encryption-data" in package.content("META-INF/manifest.xml"):
            return "encrypted"
        said = package.content("mimetype").decode("ascii", "replace").strip()
        kind = _MIME_TYPES.get(said.removesuffix("-template").removesuffix("-master"))
        return kind or f"of the type {said[:80]}; save it as PDF"
    main = package.main()
    if main == "xl/workbook.bin":
        return "xlsb"
    if main and (found := _MAIN_ELEMENTS.search(package.opening(main))):
        return _OF_ELEMENTS[found[1].decode()]
    if main.startswith("word/"):
        return "word"
    if "Index/Document.iwa" in package or "index.apxl" in package:
        return "of Apple's Pages, Numbers or Keynote; export it as PDF"
    return "an archive, not a document; add the files in it"


def _read_by_kreuzberg(kind: str, data: bytes) -> Reading:
    import kreuzberg

    mime, name, other = _TYPES[kind]
    settings = kreuzberg.ExtractionConfig(
        use_cache=False, include_document_structure=True, enable_quality_processing=False
    )
    try:
        result = kreuzberg.extract_bytes_sync(data, mime, config=settings)
    except kreuzberg.KreuzbergError as error:
        said = str(error).lower()
        if "password" in said or "encrypt" in said:
            raise LoadFailed("encrypted", f"The file is {name} with a password. Save it without one.") from error
        if "out of memory" in said:
            raise LoadFailed("too large", f"The file is {name} that unpacks to more than is read. Split it.") from error
        reason = f"The file is {name}, but damaged or of a version that is not read. Save it as {other}."
        raise LoadFailed("damaged", reason) from error
    nodes: list[Any] = list(result.document["nodes"]) if result.document else []
    facts: dict[str, Any] = dict(result.metadata)
    if kind == "msg":
        return _message(nodes, facts)
    pieces = list(_sheets(nodes) if kind in _SPREADSHEETS else _pieces(nodes))
    if not pieces and any(one["content"]["node_type"] == "image" for one in nodes):
        raise only_pictures()
    counted = max((piece.page or 0 for piece in pieces), default=0)
    return Reading(pieces, metadata=_said(facts, _FACTS), pages=counted or None)


def _message(nodes: list[dict[str, Any]], facts: dict[str, Any]) -> Reading:
    from rag_service.reading import mail, text  # here: most files need no reader of pages

    names = {"subject": "subject", "from_email": "from", "to_emails": "to", "cc_emails": "cc", "created_at": "date"}
    body = "\n\n".join(str(one["content"]["text"]) for one in nodes if one["content"]["node_type"] == "paragraph")
    return mail.letter(_said(facts, names), text.pieces(body), list(map(str, facts.get("attachments") or ())))


def _said(facts: dict[str, Any], names: dict[str, str]) -> dict[str, str]:
    """What is known of a file, by our names."""
    said = {ours: facts.get(theirs) or "" for theirs, ours in names.items()}
    return {name: ", ".join(one) if isinstance(one, list) else str(one) for name, one in said.items() if one}


def _pieces(nodes: list[dict[str, Any]]) -> Iterator[Piece]:
    """Kreuzberg's nodes as pieces; the notes of a text last."""
    page = None
    shown: set[str] = set()
    for node in sorted(nodes, key=lambda one: one["content"]["node_type"] == "footnote"):
        content = node["content"]
        words = str(content.get("text") or content.get("title") or "")
        if content["node_type"] == "slide":
            page = int(content["number"])
        if content["node_type"] != "footnote" or not shown.issuperset(words.split("\n")):  # some repeat a slide's words
            yield from (replace(piece, page=page) for piece in _of_node(content, words))
        shown.add(words)


def _of_node(content: dict[str, Any], words: str) -> Iterator[Piece]:
    kind = content["node_type"]
    if kind in ("slide", "heading", "title"):
        yield Piece("heading", words or f"Slide {content.get('number')}", int(content.get("level") or 1))
    elif kind in ("list_item", "footnote"):
        yield Piece("item", words, 1, "-") if kind == "list_item" else Piece("note", words)
    elif kind == "table":
        cells = [[Cell(cell, pieces=[Piece("paragraph", cell)]) for cell in row] for row in _grid(content["grid"])]
        yield from document_table(cells, marked=content["grid"]["cols"] > 2)
    elif kind in ("paragraph", "formula", "code"):
        for part in re.sub(r"\[\^\d+\]", "", words).split("\n\n"):
            item = re.match(r"\s*[•▪●○◦‣■➢]\s*(.*)", part, re.S)
            yield Piece("item", item[1], 1, "-") if item else Piece("paragraph", part.strip())


def _grid(grid: dict[str, Any]) -> list[list[str]]:
    rows = [[""] * int(grid["cols"]) for _ in range(int(grid["rows"]))]
    for cell in grid["cells"]:
        # A date without a time and a time without a date both come as a point in time.
        words = re.sub(r"^(\d{4}-\d\d-\d\d) 00:00:00$|^1899-12-3[01] (?=\d\d:)", r"\1", str(cell["content"]))
        rows[cell["row"]][cell["col"]] = words
    return rows


def _sheets(nodes: list[dict[str, Any]]) -> Iterator[Piece]:
    name = ""
    for content in (node["content"] for node in nodes):
        if content["node_type"] == "heading":
            name = str(content["text"])
        elif content["node_type"] == "table":
            yield from sheet_pieces(name, _grid(content["grid"]))
