"""Small contents for tests of the store, the index and what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy
from numpy.typing import NDArray

from rag_service.indexing.ingest import Library
from rag_service.language import terms_of
from rag_service.models.engines import Embedder
from rag_service.reading import Limits
from rag_service.store.protocol import Edition, Named, Passages, Store
from rag_service.types import Block, Extracted, Span

TEXT = "Red wine is dry. White wine is sweet."
SPANS = (Span(0, 16), Span(17, 37))
LIMITS = Limits(2**20, 20, 2**29, 2**20)


def unit(*directions: int) -> NDArray[numpy.float32]:
    """`(n, 4)` float32: unit vectors in these directions."""
    return numpy.eye(4, dtype=numpy.float32)[list(directions)]


def edition(embedder: str = "e", chunk_tokens: int = 160) -> Edition:
    return Edition(embedder, (None, ""), chunk_tokens, 32)


def named(name: str = "a.txt", document_id: str = "1", text: str = TEXT) -> Named:
    return Named(name, document_id, len(text), Extracted(text, (Block("paragraph", 0, len(text)),)))


def cut(text: str, spans: Sequence[Span], vectors: NDArray[numpy.float32]) -> Passages:
    texts = [text[span.start : span.end] for span in spans]
    return Passages(spans, vectors, [one.encode()[:3] for one in texts], [terms_of(one) for one in texts])


def put(store: Store, document_id: str = "1", name: str = "a.txt", collection: str = "c", embedder: str = "e") -> None:
    """A document of two passages, whose vectors are the first two directions."""
    # Another id is another content; its text stays alike, so that one test can speak of all.
    store.put(collection, named(name, document_id), edition(embedder), cut(TEXT, SPANS, unit(0, 1)))


def library_over(
    store: Store, embedder: Embedder, limits: Limits = LIMITS, chunk_tokens: int = 60, overlap_tokens: int = 10
) -> Library:
    wanted = replace(edition(embedder.identity, chunk_tokens), overlap_tokens=overlap_tokens)
    return Library(store, embedder, limits, wanted)
