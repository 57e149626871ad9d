"""A file's bytes become text, in a child process with limits: what a file does to its reader stays there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rag_service.documents import Extracted, Heading, Page
from rag_service.errors import LoadFailed

# Suffix -> kind. A file's first bytes may contradict it; see `kind_of`.
KINDS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "text",
    ".text": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "docx",
    ".csv": "csv",
    ".tsv": "csv",
}
# How files of other types begin, which are told by name whatever theirs says.
_NOT_READ = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"{\\rtf": "a Rich Text file; save it as DOCX or PDF",
    b"\x1f\x8b": "a gzip archive; add the file in it",
    b"Rar!": "a RAR archive; add the files in it",
    b"7z\xbc\xaf": "a 7-Zip archive; add the files in it",
    b"PK\x05\x06": "an empty ZIP archive",
    b"SQLite format 3": "a database",
    b"\x7fELF": "a program",
    b"MZ\x90": "a program",
}


@dataclass(frozen=True)
class Limits:
    """What one file may take: its own size, the child's seconds and address space, and the text that comes out."""

    file_bytes: int
    seconds: float
    memory_bytes: int
    text_bytes: int


def kind_of(name: str, data: bytes) -> str:
    """Which loader reads a file: by its first bytes where they tell, else by its name's suffix.

    Raises LoadFailed: unknown type, encrypted, damaged.
    """
    opening = data[:1024].lstrip()
    if opening.startswith(b"%PDF-"):
        return "pdf"
    if data.startswith(b"PK\x03\x04"):
        return "docx"  # its reader tells other archives
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise LoadFailed("encrypted", "The file is encrypted. Save it without a password, then add it again.")
        raise LoadFailed("unknown type", "The file is of Office's old kind (.doc, .xls). Save it as .docx or .csv.")
    for mark, what in _NOT_READ.items():
        if data.startswith(mark):
            raise LoadFailed("unknown type", f"The file is {what}.")
    if opening[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "html"
    kind = KINDS.get(PurePosixPath(name).suffix.lower())
    if kind is None:
        known = ", ".join(sorted(KINDS))
        raise LoadFailed("unknown type", f"Files of this type are not read. Known types: {known}.")
    if kind in ("pdf", "docx") and b"%PDF-" not in data[:1024]:
        return "text"  # whatever its name says; if it is no text either, that is its verdict
    return kind


def extract(name: str, data: bytes, limits: Limits) -> Extracted:
    """The text of a file, read in a child process.

    Raises LoadFailed with one of the codes: empty, too large, unknown type, encrypted, damaged, only pictures,
    not text, too slow, too much memory.
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
    pages, headings = answer["pages"], answer["headings"]
    return Extracted(answer["text"], tuple(Page(*one) for one in pages), tuple(Heading(*one) for one in headings))


def _run_child(kind: str, data: bytes, limits: Limits) -> dict[str, Any]:
    command = [sys.executable, "-B", "-P", "-m", "rag_service.loaders", kind]
    command += [str(limits.memory_bytes), str(int(limits.seconds) + 1), str(limits.text_bytes)]
    # Nothing of the service's environment reaches the child: it needs no setting and must see no secret.
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.defpath, "LANG": "C.UTF-8"}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as taken:
        given.write(data)
        given.seek(0)
        try:
            child = subprocess.run(
                command, stdin=given, stdout=taken, stderr=subprocess.DEVNULL, env=environment, timeout=limits.seconds
            )
        except subprocess.TimeoutExpired as error:
            reason = f"The file could not be read within {limits.seconds:g} seconds."
            raise LoadFailed("too slow", reason) from error
        if child.returncode != 0:
            raise LoadFailed("damaged", "Reading the file broke its reader, or needed more memory than allowed.")
        taken.seek(0)
        answer: dict[str, Any] = json.loads(taken.read())
        return answer
