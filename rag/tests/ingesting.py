"""A program that ingests without end, to be killed: for each line that it reads it forks a process that adds, changes
and deletes documents of its own making, and says its number. Arguments: the store's file, and a file that takes a line
for each change that was promised to have happened."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy
from numpy.typing import NDArray
from storing import LIMITS, library_over

from rag_service.language import terms_of
from rag_service.reading.blocks import Piece, Reading, assemble
from rag_service.store.protocol import Edition, Named
from rag_service.store.sqlite import SqliteStore
from rag_service.types import Encoded, Extracted, TokenVectors

DOCUMENTS = 12


class Digests:
    """An embedder whose vectors follow from the text, so that anybody can tell which vector belongs to which."""

    identity = name = "digests"
    limit, dimension = 64, 8

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def encode_passages(self, texts: Sequence[str]) -> Encoded:
        vectors = numpy.stack([vector_of(text) for text in texts])
        places = numpy.array([[0, 4]], dtype=numpy.int32)
        return Encoded(vectors, tuple(TokenVectors(vector[None], places) for vector in vectors))


def vector_of(text: str) -> NDArray[numpy.float32]:
    """`(8,)` float32 of length one."""
    numbers = numpy.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype=numpy.uint16).astype(numpy.float32)
    return numbers / numpy.linalg.norm(numbers)


def text_of(number: int, version: int) -> str:
    """Twenty paragraphs or so, each of which says which document and which version it is of."""
    count = 15 + (number * version) % 10
    line = f"This is document {number} in version {version}, "
    return "\n\n".join(line + f"paragraph {place}. It has words enough for a passage." for place in range(count))


def extracted_of(text: str) -> Extracted:
    """As the reader of plain text gives it."""
    return assemble(Reading([Piece("paragraph", one) for one in text.split("\n\n")]), 2**20)


def edition_of(embedder: str) -> Edition:
    return Edition(embedder, (None, ""), 40, 5)


def ingest(store_path: Path, promised_path: Path, seed: int) -> None:
    """Goes on until it is killed."""
    choose = random.Random(seed)
    store = SqliteStore(store_path)
    library = library_over(store, Digests(), LIMITS, 40, 5)  # type: ignore[arg-type]
    promised = os.open(promised_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    version = seed * 10_000
    while True:
        version += 1
        number = choose.randrange(DOCUMENTS)
        name, text = f"{number}.txt", text_of(number, version)
        known = store.find("c", name=name)
        what = choose.random()
        if what < 0.15 and known is not None:
            store.delete("c", known.id)
            version_now = 0
        elif what < 0.25:
            if library.add(name, text.encode(), "c").verdict == "failed":
                continue  # nothing was acknowledged
            version_now = version
        else:
            edition = store.edition() or edition_of(Digests.identity)
            extracted = extracted_of(text)
            content = Named(name, hashlib.sha256(text.encode()).hexdigest(), len(text), extracted)
            store.put("c", content, edition, library.passages(extracted, edition))
            version_now = version
        os.write(promised, f"{number} {version_now}\n".encode())


if __name__ == "__main__":
    terms_of(text_of(1, 1))  # what every child needs is loaded once, here
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need no burial
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            ingest(Path(sys.argv[1]), Path(sys.argv[2]), int(line))
        print(child, flush=True)
