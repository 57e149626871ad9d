"""A file's bytes become text, in a child process with limits: what a file does to its reader stays there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rag_service.documents import Extracted, Page
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
}


@dataclass(frozen=True)
class Limits:
    """What one file may take: its own size, the child's seconds and address space, and the text that comes out."""

    file_bytes: int
    seconds: float
    memory_bytes: int
    text_bytes: int


def kind_of(name: str, data: bytes) -> str:
    """Which loader reads a file. Raises LoadFailed `unknown type`."""
    if data[:1024].lstrip().startswith(b"%PDF-"):
        return "pdf"
    kind = KINDS.get(PurePosixPath(name).suffix.lower())
    if kind is None:
        known = ", ".join(sorted(KINDS))
        raise LoadFailed("unknown type", f"Files of this type are not read. Known types: {known}.")
    return kind


def extract(name: str, data: bytes, limits: Limits) -> Extracted:
    """The text of a file, read in a child process.

    Raises LoadFailed with one of the codes: empty, too large, unknown type, encrypted, damaged, only pictures,
    not text, too slow.
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
    return Extracted(answer["text"], tuple(Page(*page) for page in answer["pages"]))


def _run_child(kind: str, data: bytes, limits: Limits) -> dict[str, str]:
    command = [sys.executable, "-B", "-m", "rag_service.loaders", kind]
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
            raise LoadFailed("too slow", f"The file could not be read within {limits.seconds:g} seconds.") from error
        if child.returncode != 0:
            raise LoadFailed(
                "damaged", "Reading the file needed more memory or time than allowed, or broke its reader."
            )
        taken.seek(0)
        answer: dict[str, str] = json.loads(taken.read())
        return answer
