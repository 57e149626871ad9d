"""Contents of documents within a transaction: text, blocks, the file itself, and their passages."""

from __future__ import annotations

import json
from typing import Any

from rag_service.errors import UnknownDocument
from rag_service.store.database import Transaction
from rag_service.store.protocol import Edition, Named, Passages
from rag_service.types import READER_VERSION, Block, DocumentSummary, Extracted, Page, ReadingWarning

BLOCKS = 'SELECT kind, "start", "end", page, level, label, names FROM blocks'


SUMMARY = """
SELECT c.name, n.name, d.id, d.bytes, d.characters, json_array_length(d.pages),
       (SELECT count(*) FROM chunks WHERE document = d.key AND edition = s.edition), n.added_at, n.origin,
       n.metadata, d.warnings, EXISTS (SELECT 1 FROM originals WHERE document = d.key)
FROM collections c JOIN states s ON s.id = c.state JOIN names n ON n.state = s.id JOIN documents d ON d.key = n.document
"""


def block(row: tuple[Any, ...]) -> Block:
    kind, start, end, page, level, label, names = row
    return Block(kind, start, end, page, level, label, tuple(json.loads(names)))


def content_of(transaction: Transaction, key: int) -> Extracted | None:
    row = transaction.execute("SELECT text, pages, warnings, metadata FROM documents WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    blocks = transaction.execute(BLOCKS + ' WHERE document = ? ORDER BY "start"', (key,)).fetchall()
    return Extracted(
        row[0],
        tuple(block(one) for one in blocks),
        tuple(Page(*one) for one in json.loads(row[1])),
        tuple(ReadingWarning(*one) for one in json.loads(row[2])),
        json.loads(row[3]),
    )


def key_of(transaction: Transaction, document_id: str, reader: int = READER_VERSION) -> int | None:
    """The content as this version of the readers reads it."""
    row = transaction.execute("SELECT key FROM documents WHERE id = ? AND reader = ?", (document_id, reader)).fetchone()
    return int(row[0]) if row else None


def put_content(transaction: Transaction, named: Named, reader: int = READER_VERSION) -> int:
    """Stores a content that is not there yet; returns its key."""
    extracted = named.extracted
    [key] = transaction.execute(
        "INSERT INTO documents (id, reader, bytes, text, characters, pages, warnings, metadata) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING key",
        (
            named.id, reader, named.size, extracted.text, len(extracted.text),
            json.dumps([(page.number, page.start, page.end) for page in extracted.pages]),
            json.dumps([(one.code, one.detail, one.page) for one in extracted.warnings]),
            json.dumps(extracted.metadata),
        ),
    ).fetchone()  # fmt: skip
    for one in extracted.blocks:
        transaction.execute(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (key, one.start, one.end, one.kind, one.page, one.level, one.label, json.dumps(one.names)),
        )
    if named.original is not None:
        transaction.execute("INSERT INTO originals VALUES (?, ?)", (key, named.original))
    return int(key)


def put_chunks(transaction: Transaction, key: int, text: str, edition: Edition, passages: Passages) -> None:
    for span, vector, signs, terms in zip(
        passages.spans, passages.vectors, passages.signs, passages.terms, strict=True
    ):
        transaction.put_chunk(key, edition.id, span, text[span.start : span.end], vector, signs, terms)


def find_name(
    transaction: Transaction, collection: str, document_id: str = "", name: str = ""
) -> DocumentSummary | None:
    """A name that comes from a watched folder first."""
    # Two statements, as neither index serves both.
    which, value = ("d.id", document_id) if document_id else ("n.name", name)
    row = transaction.execute(
        f"{SUMMARY} WHERE c.name = ? AND {which} = ? ORDER BY n.origin IS NULL, n.name LIMIT 1", (collection, value)
    ).fetchone()
    return summary_of(row) if row else None


def document_key(transaction: Transaction, collection: str, document_id: str) -> int:
    row = transaction.execute(
        "SELECT d.key FROM documents d JOIN names n ON n.document = d.key JOIN collections c ON c.state = n.state "
        "WHERE c.name = ? AND d.id = ? LIMIT 1",
        (collection, document_id),
    ).fetchone()
    if row is None:
        raise UnknownDocument(document_id, collection)
    return int(row[0])


def summary_of(row: tuple[Any, ...]) -> DocumentSummary:
    collection, name, document_id, size, characters, pages, passages, added_at, origin, metadata, warnings, kept = row
    return DocumentSummary(
        document_id, collection, name, size, characters, pages or None, passages, added_at, origin,
        json.loads(metadata), tuple(ReadingWarning(*one) for one in json.loads(warnings)), bool(kept),
    )  # fmt: skip
