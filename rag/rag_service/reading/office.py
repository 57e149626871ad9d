"""Office files: which program wrote them is found by their bytes. Those of today have readers of their own; older ones
are read by kreuzberg, and what it cannot survive ends this child process alone."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

from rag_service.errors import LoadFailed
from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.ooxml import Package, encrypted, opened
from rag_service.reading.sheets import sheet_pieces
from rag_service.reading.tables import is_header, row_pieces

_OLE = b"\xd0\xcf\x11\xe0"
# How kreuzberg calls a type, how people do, and as what it may be saved where it is not read.
_TYPES = {
    "doc": ("application/msword", "a Word file of before 2007 (.doc)", "DOCX or PDF"),
    "xls": ("application/vnd.ms-excel", "an Excel workbook of before 2007 (.xls)", "XLSX or CSV"),
    "xlsb": ("application/vnd.ms-excel.sheet.binary.macroEnabled.12", "a binary Excel workbook (.xlsb)", "XLSX or CSV"),
    "ppt": ("application/vnd.ms-powerpoint", "a presentation of before 2007 (.ppt)", "PPTX or PDF"),
    "msg": ("application/vnd.ms-outlook", "an Outlook message (.msg)", "EML or PDF"),
    "rtf": ("application/rtf", "a Rich Text file (.rtf)", "DOCX or PDF"),
}
_VISIO = "a Visio drawing; save it as PDF"
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
_SPREADSHEETS = ("xls", "xlsb")


def read(data: bytes, text_bytes: int) -> Reading:
    """The blocks of an office file. Raises LoadFailed: damaged, encrypted, too large, unknown type, empty."""
    if data.startswith(b"PK"):
        return _read_archive(data, text_bytes)
    if data.startswith(_OLE):
        kind = next((kind for name, kind in _STREAMS.items() if name.encode("utf-16-le") in data), "")
        if kind == "encrypted":
            raise encrypted()
        if kind not in _TYPES:
            raise _not_read(kind or "of an old kind of Office; save it as PDF")
        return _read_by_kreuzberg(kind, data)
    return _read_by_kreuzberg("rtf", data if data.startswith(b"{\\rtf") else b"{\\rtf1\\ansi " + data + b"}")


def _read_archive(data: bytes, text_bytes: int) -> Reading:
    with opened(data, text_bytes) as package:
        kind = _kind(package)
    if kind in _READERS:
        reader = importlib.import_module(f"rag_service.reading.{kind}")
        reading: Reading = reader.read(data, text_bytes)
        return reading
    if kind in _TYPES:
        return _read_by_kreuzberg(kind, data)
    raise _not_read(kind)


def _kind(package: Package) -> str:
    """The reader of an archive, a key of `_TYPES`, or in words what the file is."""
    if "mimetype" in package:
        said = package.content("mimetype").decode("ascii", "replace").strip()
        if "META-INF/manifest.xml" in package and b"encryption-data" in package.content("META-INF/manifest.xml"):
            raise encrypted()
        kind = _MIME_TYPES.get(said.removesuffix("-template").removesuffix("-master"))
        return kind or f"of the type {said[:80]}; save it as PDF"
    main = package.main()
    if main == "xl/workbook.bin":
        return "xlsb"
    if main:
        found = _MAIN_ELEMENTS.search(package.opening(main))
        if found:
            return _OF_ELEMENTS[found[1].decode()]
        if main.startswith("word/"):
            return "word"
    if "Index/Document.iwa" in package or "index.apxl" in package:
        return "of Apple's Pages, Numbers or Keynote; export it as PDF"
    return "an archive, not a document; add the files in it"


def _not_read(what: str) -> LoadFailed:
    return LoadFailed("unknown type", f"The file is {what}.")


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
    pieces = _sheets(nodes) if kind in _SPREADSHEETS else list(_pieces(nodes))
    counted = max((piece.page or 0 for piece in pieces), default=0)
    return Reading(pieces, metadata=_metadata(facts), pages=counted or None)


def _metadata(facts: dict[str, Any]) -> dict[str, str]:
    names = {"title": "title", "subject": "subject", "language": "language", "created_at": "created",
             "modified_at": "modified"}  # fmt: skip
    said = {ours: str(facts[theirs]) for theirs, ours in names.items() if facts.get(theirs)}
    authors = ", ".join(facts.get("authors") or ())
    return said | ({"author": authors} if authors else {})


def _message(nodes: list[dict[str, Any]], facts: dict[str, Any]) -> Reading:
    from rag_service.reading import mail, text  # here: most files need no reader of pages

    head = {"subject": facts.get("subject"), "from": facts.get("from_email"), "date": facts.get("created_at")}
    head |= {"to": ", ".join(facts.get("to_emails") or ()), "cc": ", ".join(facts.get("cc_emails") or ())}
    body = "\n\n".join(str(one["content"]["text"]) for one in nodes if one["content"]["node_type"] == "paragraph")
    said = {name: str(words) for name, words in head.items() if words}
    return mail.letter(said, text.pieces(body), [str(one) for one in facts.get("attachments") or ()])


def _pieces(nodes: list[dict[str, Any]]) -> Iterator[Piece]:
    """Kreuzberg's nodes as pieces. Footnotes come before the paragraphs that name them: they are put behind them."""
    notes = [str(one["content"].get("text", "")) for one in nodes if one["content"]["node_type"] == "footnote"]
    page = None
    for node in nodes:
        content = node["content"]
        kind, words = content["node_type"], str(content.get("text") or "")
        if kind == "slide":
            page = int(content["number"])
            yield Piece("heading", str(content.get("title") or f"Slide {page}"), 1, page=page)
        elif kind == "heading":
            yield Piece("heading", words, int(content.get("level") or 1), page=page)
        elif kind == "title":
            yield Piece("heading", words, 1, page=page)
        elif kind == "list_item":
            yield Piece("item", words, _depth(nodes, node), "-", page=page)
        elif kind == "code":
            yield Piece("code", words, page=page)
        elif kind == "table":
            yield from _table(content["grid"], page)
        elif kind == "image":
            yield Piece("note", str(content.get("description") or ""), label="Picture:", page=page)
        elif kind in ("paragraph", "formula"):
            yield from _paragraphs(words, page)
            for number in re.findall(r"\[\^(\d{1,6})\]", words):
                if int(number) <= len(notes):
                    yield Piece("note", notes[int(number) - 1], label=f"[{number}]", page=page)
                    notes[int(number) - 1] = ""
    seen = (one["content"] for one in nodes if one["content"]["node_type"] != "footnote")
    shown = {str(one.get("text") or one.get("title") or "") for one in seen}
    for words in notes:
        if words and not shown.issuperset(words.split("\n")):  # of old presentations each slide's words come again
            yield Piece("note", words)


def _paragraphs(words: str, page: int | None) -> Iterator[Piece]:
    for line in re.sub(r"\[\^\d+\]", "", words).split("\n\n"):
        item = re.match(r"\s*[•▪●○◦‣■➢]\s*(.*)", line, re.S)
        yield Piece("item", item[1], 1, "-", page=page) if item else Piece("paragraph", line.strip(), page=page)


def _depth(nodes: list[dict[str, Any]], node: dict[str, Any]) -> int:
    """How many lists an item is in."""
    depth = 0
    while (parent := node.get("parent")) is not None and depth < 20:
        node = nodes[parent]
        depth += node["content"]["node_type"] == "list"
    return max(depth, 1)


def _grid(grid: dict[str, Any]) -> list[list[str]]:
    rows = [[""] * int(grid["cols"]) for _ in range(int(grid["rows"]))]
    for cell in grid["cells"]:
        rows[cell["row"]][cell["col"]] = str(cell["content"])
    return rows


def _table(grid: dict[str, Any], page: int | None) -> Iterator[Piece]:
    rows = _grid(grid)
    if rows and len(rows[0]) == 1:  # a frame around a text
        yield from (Piece("paragraph", row[0].strip(), page=page) for row in rows)
        return
    headed = is_header(rows, marked=bool(rows) and len(rows[0]) > 2)
    yield from row_pieces(rows[headed:], rows[0] if headed else (), page)


def _sheets(nodes: list[dict[str, Any]]) -> list[Piece]:
    pieces: list[Piece] = []
    name = ""
    for node in nodes:
        content = node["content"]
        if content["node_type"] == "heading":
            name = str(content["text"])
        elif content["node_type"] == "table":
            rows = [[_without_midnight(cell) for cell in row] for row in _grid(content["grid"])]
            pieces += sheet_pieces(name, rows)
    return pieces


def _without_midnight(cell: str) -> str:
    """A date without a time, a time without a date: both come as a point in time."""
    return re.sub(r"^1899-12-3[01] (?=\d\d:)", "", re.sub(r"^(\d{4}-\d\d-\d\d) 00:00:00$", r"\1", cell))
