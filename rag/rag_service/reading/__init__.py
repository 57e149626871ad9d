"""A file's bytes become text, in a child process with limits: what a file does to its reader stays there."""

from __future__ import annotations

import base64
import json
import re
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import PurePosixPath
from typing import Any, Literal

from rag_service.errors import LoadFailed
from rag_service.reading import reader_processes
from rag_service.types import Block, Extracted, Page, PageImage, ReadingWarning

DRAWING = "page_image"

# Suffix -> kind. A file's first bytes may contradict it; see `kind_of`.
KINDS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "text",
    ".text": "text",
    ".log": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    **dict.fromkeys(".docx .docm .dotx .pptx .pptm .ppsx .xlsx .xlsm .xlsb .odt .ods .odp .epub".split(), "office"),
    **dict.fromkeys(".doc .dot .ppt .pps .xls .msg .rtf".split(), "office"),
    ".eml": "mail",
    ".mht": "mail",
    ".mhtml": "mail",
    ".ipynb": "notebook",
    ".rst": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
}
# How files begin that are not read, whatever their names say, and what they are.
_NOT_READ = {
    b"\x89PNG": "a PNG picture; run text recognition (OCR) on it and add the PDF",
    b"\xff\xd8\xff": "a JPEG picture; run text recognition (OCR) on it and add the PDF",
    b"GIF8": "a GIF picture; run text recognition (OCR) on it and add the PDF",
    b"II*\x00": "a TIFF picture; run text recognition (OCR) on it and add the PDF",
    b"MM\x00*": "a TIFF picture; run text recognition (OCR) on it and add the PDF",
    b"AT&TFORM": "a DjVu file; save it as PDF",
    b"%!PS": "a PostScript file; save it as PDF",
    b"RIFF": "a picture, sound or film; add its text",
    b"OggS": "a sound or film; add its text",
    b"ID3": "a sound; add its text",
    b"\x1f\x8b": "a gzip archive; add the file in it",
    b"BZh": "a bzip2 archive; add the file in it",
    b"\xfd7zXZ": "an xz archive; add the file in it",
    b"Rar!": "a RAR archive; add the files in it",
    b"7z\xbc\xaf": "a 7-Zip archive; add the files in it",
    b"PK\x05\x06": "an empty ZIP archive",
    b"PAR1": "a Parquet table; save it as CSV",
    b"SQLite format 3": "a database; export its tables as CSV",
    b"\x7fELF": "a program",
    b"MZ\x90": "a program",
}
_OFFICE = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"{\\rtf")  # their reader finds out which program wrote them
# How a page begins, after its byte mark, an XML declaration and comments.
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype\s+)?html\b", re.I | re.S)
# A child waits while others work; its processor time is what a file is judged by.
_PATIENCE = 10


@dataclass(frozen=True)
class Limits:
    """What one file may take: its own size, the child's processor seconds and address space, and the text that comes
    out; and how much of an HTML page is read, its main content or all."""

    file_bytes: int
    seconds: float
    memory_bytes: int
    text_bytes: int
    html: Literal["main", "all"] = "main"


def kind_of(name: str, data: bytes) -> str:
    """The module that reads a file: by its first bytes where they decide, else by its name's suffix.

    Raises LoadFailed `unknown type`.
    """
    opening = data[:1024].lstrip()
    if opening.startswith(b"%PDF-") or (name.lower().endswith(".pdf") and b"%PDF-" in data):
        return "pdf"
    if data.startswith(_OFFICE):
        return "office"
    for mark, what in _NOT_READ.items():
        if data.startswith(mark):
            raise LoadFailed("unknown type", f"The file is {what}.")
    if _PAGE.match(opening):
        return "html"
    if opening.lower().startswith(b"mime-version:"):
        return "mail"
    kind = KINDS.get(PurePosixPath(name).suffix.lower())
    if kind is None:
        known = ", ".join(sorted(KINDS))
        raise LoadFailed("unknown type", f"Files of this type are not supported. Supported types: {known}.")
    if kind not in ("pdf", "office"):
        return kind
    # Rich Text may lack its beginning. Anything else is read as text; if it is no text either, that is its verdict.
    return "office" if name.lower().endswith(".rtf") and b"\\par" in data else "text"


def extract(name: str, data: bytes, limits: Limits) -> Extracted:
    """The text of a file, read in a child process.

    Raises LoadFailed with one of the codes: empty, too large, unknown type, encrypted, damaged, only pictures,
    not text, encoding not known, too slow, too much memory.
    """
    if len(data) > limits.file_bytes:
        raise LoadFailed("too large", f"The file has {len(data):,} bytes; at most {limits.file_bytes:,} are read.")
    if not data.strip():
        raise LoadFailed("empty", "The file is empty.")
    answer = _run_child(kind_of(name, data), data, limits)
    if "code" in answer:
        raise LoadFailed(answer["code"], answer["reason"])
    if not answer["text"].strip():
        raise LoadFailed("empty", "The file holds no text.")
    return extracted_of(answer)


def extracted_of(fields: Mapping[str, Any]) -> Extracted:
    """Of its fields as JSON has them."""
    return Extracted(
        fields["text"],
        tuple(Block(**{**one, "names": tuple(one["names"])}) for one in fields["blocks"]),
        tuple(Page(**one) for one in fields["pages"]),
        tuple(ReadingWarning(**one) for one in fields["warnings"]),
        fields["metadata"],
    )


def draw_page(data: bytes, number: int, before: str, quote: str, limits: Limits) -> PageImage:
    """A page of a PDF with a quote from it marked, drawn in a child process; `before` is the page's text before the
    quote. Raises LoadFailed."""
    asked = json.dumps({"page": number, "before": before, "quote": quote}).encode()
    answer = _run_child(DRAWING, asked + b"\n" + data, limits)
    if "code" in answer:
        raise LoadFailed(answer["code"], answer["reason"])
    return PageImage(base64.b64decode(answer["png"]), answer["marked_at"])


def _run_child(kind: str, data: bytes, limits: Limits) -> dict[str, Any]:
    options = [limits.html] if kind == "html" else []
    arguments = [kind, limits.memory_bytes, ceil(limits.seconds), limits.text_bytes, *options]
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as taken:
        given.write(data)
        given.flush()
        try:
            status = reader_processes.run(arguments, given, taken, _PATIENCE * limits.seconds)
        except TimeoutError as error:
            reason = f"The file was not read within {_PATIENCE * limits.seconds:g} seconds: this machine is too busy."
            raise LoadFailed("too slow", f"{reason} Add it again later.") from error
        if status == -signal.SIGXCPU:
            reason = f"Reading the file takes more than {limits.seconds:g} seconds of processor time. Split the file."
            raise LoadFailed("too slow", reason)
        if status != 0:
            raise LoadFailed("damaged", "The reader crashed on this file, or needed more memory than allowed.")
        taken.seek(0)
        answer: dict[str, Any] = json.loads(taken.read())
        return answer
