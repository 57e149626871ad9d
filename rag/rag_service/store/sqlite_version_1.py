"""The contents of a store of version 1, which the first release wrote: a text for each collection, headings in place of
blocks, one full text for all. Its tables are called old_… here, within the transaction that replaces them."""

from __future__ import annotations

import json

import numpy

from rag_service.language import paragraphs, terms_of
from rag_service.store.contents import key_of, put_chunks, put_content
from rag_service.store.database import Transaction
from rag_service.store.protocol import Edition, Named, Passages
from rag_service.store.states import new_collection, new_edition, put_fact, set_name, view_of
from rag_service.types import Block, Extracted, Page, Span

_READER = 1


def copy_contents(transaction: Transaction) -> None:
    facts = dict(transaction.execute("SELECT name, value FROM old_facts").fetchall())
    rows = transaction.execute(
        "SELECT key, collection, id, name, bytes, text, pages, headings, origin, added_at FROM old_documents"
    ).fetchall()
    if not rows:
        return
    found, revision = json.loads(facts.get(f"found {facts['embedder']}", '[null, ""]'))
    edition = new_edition(transaction, Edition(facts["embedder"], (found, revision), 160, 32))
    put_fact(transaction, "edition", str(edition.id))
    for old, collection, document_id, name, size, text, pages, headings, origin, added_at in rows:
        view = view_of(transaction, collection) or new_collection(transaction, collection, edition)
        key = key_of(transaction, document_id, _READER)
        if key is None:
            extracted = Extracted(
                text, _blocks(text, json.loads(headings)), tuple(Page(*one) for one in json.loads(pages))
            )
            key = put_content(transaction, Named(name, document_id, size, extracted), _READER)
            put_chunks(transaction, key, text, edition, _passages(transaction, old, text))
        set_name(transaction, view, name, key, origin, {}, added_at)


def _blocks(text: str, headings: list[tuple[int, int, str]]) -> tuple[Block, ...]:
    """Paragraphs stood apart by an empty line; which of them are headings was stored."""
    levels = {start: level for level, start, _ in headings}
    return tuple(
        Block("heading" if start in levels else "paragraph", start, end, level=levels.get(start, 0))
        for start, end in paragraphs(text)
    )


def _passages(transaction: Transaction, document: int, text: str) -> Passages:
    rows = transaction.execute(
        'SELECT c."start", c."end", c.page, c.heading, v.vector, t.signs FROM old_chunks c JOIN old_vectors v '
        "ON v.chunk = c.id LEFT JOIN old_tokens t ON t.chunk = c.id WHERE c.document = ? ORDER BY c.id",
        (document,),
    ).fetchall()
    spans = [Span(*row[:4]) for row in rows]
    vectors = numpy.array([numpy.frombuffer(row[4], dtype=numpy.float32) for row in rows], dtype=numpy.float32)
    terms = [terms_of(text[span.start : span.end]) for span in spans]
    return Passages(spans, vectors, [row[5] or b"" for row in rows], terms)
