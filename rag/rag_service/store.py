"""The truth: documents, passages, vectors and full text in one SQLite file. Knows neither models nor FAISS."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat

from rag_service.database import fact
from rag_service.documents import DocumentSummary, Extracted, Heading, Page, Span
from rag_service.errors import OtherEmbedder, UnknownDocument
from rag_service.passages import Passages, Vectors

_SUMMARY = """
SELECT d.id, d.collection, d.name, d.bytes, length(d.text), json_array_length(d.pages),
       (SELECT count(*) FROM chunks WHERE document = d.key), d.added_at, d.origin FROM documents d
"""


@dataclass(frozen=True)
class StoredEmbedder:
    """The embedder that made the stored vectors; `found` is the name and revision that it was once found by."""

    identity: str
    found: tuple[str | None, str] | None


class Store(Passages):
    """What is in the file: documents with their passages, vectors and full text."""

    def check_embedder(self, identity: str) -> None:
        """Raises OtherEmbedder where the stored vectors are another model's. An empty store takes any."""
        with self._reading() as connection:
            _refuse_other_embedder(connection, identity)

    def embedder(self) -> StoredEmbedder | None:
        """The embedder that made the stored vectors; None where no document is stored."""
        with self._reading() as connection:
            identity = _embedder(connection)
            found = fact(connection, f"found {identity}")
        return StoredEmbedder(identity, tuple(json.loads(found)) if found else None) if identity else None

    def tell_embedder(self, identity: str, name: str | None, revision: str) -> None:
        """Keeps by which name an embedder was found, for a time when the settings name another one."""
        key, found = f"found {identity}", json.dumps([name, revision])
        with self._reading() as connection:
            known = fact(connection, key)
        if known != found:
            with self._writing() as connection:
                connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, found))

    def add(
        self,
        collection: str,
        document_id: str,
        name: str,
        size: int,
        extracted: Extracted,
        spans: Sequence[Span],
        vectors: Vectors,
        embedder: str,
        origin: str | None = None,
        added_at: str | None = None,
        signs: Sequence[bytes] | None = None,
    ) -> None:
        """Adds a document whole, in place of one of the same name. Raises OtherEmbedder; then nothing has changed.

        `origin` is the watched folder that it comes from; `added_at` an earlier time, where it was here before;
        `signs` of each passage's tokens, without which it is found by its vector and its words alone.
        """
        pages = json.dumps([(page.number, page.start, page.end) for page in extracted.pages])
        headings = json.dumps([(heading.level, heading.start, heading.title) for heading in extracted.headings])
        added_at = added_at or datetime.now(UTC).isoformat(timespec="seconds")
        with self._writing() as connection:
            _refuse_other_embedder(connection, embedder)
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('embedder', ?)", (embedder,))
            connection.execute(
                "DELETE FROM documents WHERE collection = ? AND (name = ? OR id = ?)", (collection, name, document_id)
            )
            key = connection.execute(
                "INSERT INTO documents (collection, id, name, bytes, text, pages, headings, added_at, origin) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (collection, document_id, name, size, extracted.text, pages, headings, added_at, origin),
            ).lastrowid
            for span, vector, packed in zip(spans, vectors, signs or repeat(None, len(spans)), strict=True):
                chunk = connection.execute(
                    'INSERT INTO chunks (document, "start", "end", page, heading) VALUES (?, ?, ?, ?, ?)',
                    (key, span.start, span.end, span.page, span.heading),
                ).lastrowid
                connection.execute("INSERT INTO vectors VALUES (?, ?)", (chunk, vector.tobytes()))
                if packed is not None:
                    connection.execute("INSERT INTO tokens VALUES (?, ?)", (chunk, packed))
                text = extracted.text[span.start : span.end]
                connection.execute("INSERT INTO full_text (rowid, text) VALUES (?, ?)", (chunk, text))

    def delete(self, collection: str, document_id: str) -> None:
        """Removes a document everywhere. Raises UnknownDocument."""
        with self._writing() as connection:
            gone = connection.execute(
                "DELETE FROM documents WHERE collection = ? AND id = ?", (collection, document_id)
            ).rowcount
            if not gone:
                raise UnknownDocument(document_id, collection)

    def delete_name(self, collection: str, name: str) -> None:
        """Removes the document of this name, if there is one."""
        with self._writing() as connection:
            connection.execute("DELETE FROM documents WHERE collection = ? AND name = ?", (collection, name))

    def find(self, collection: str, *, document_id: str = "", name: str = "") -> DocumentSummary | None:
        """The document with this id, else with this name, if there is one."""
        with self._reading() as connection:
            row = connection.execute(
                _SUMMARY + " WHERE d.collection = ? AND (d.id = ? OR d.name = ?) ORDER BY d.id = ? DESC",
                (collection, document_id, name, document_id),
            ).fetchone()
        return _summary(row) if row else None

    def documents(self, collection: str | None = None) -> list[DocumentSummary]:
        """The documents of a collection, or all, by collection and name."""
        with self._reading() as connection:
            rows = connection.execute(
                _SUMMARY + " WHERE ? IS NULL OR d.collection = ? ORDER BY d.collection, d.name",
                (collection, collection),
            ).fetchall()
        return [_summary(row) for row in rows]

    def content(self, collection: str, document_id: str) -> Extracted:
        """A document's extracted text, pages and headings. Raises UnknownDocument."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT text, pages, headings FROM documents WHERE collection = ? AND id = ?", (collection, document_id)
            ).fetchone()
        if row is None:
            raise UnknownDocument(document_id, collection)
        pages, headings = json.loads(row[1]), json.loads(row[2])
        return Extracted(row[0], tuple(Page(*one) for one in pages), tuple(Heading(*one) for one in headings))

    def collections(self) -> dict[str, int]:
        """Each collection with its number of documents. A collection is there as long as it holds one."""
        with self._reading() as connection:
            return dict(
                connection.execute("SELECT collection, count(*) FROM documents GROUP BY collection ORDER BY collection")
            )

    def confidence(self, collection: str) -> list[float] | None:
        """The weights that were kept for this collection's confidence, if there are any."""
        with self._reading() as connection:
            kept = fact(connection, f"confidence {collection}")
        return json.loads(kept) if kept else None

    def keep_confidence(self, collection: str, weights: Sequence[float]) -> None:
        """Keeps the weights of a collection's confidence."""
        with self._writing() as connection:
            values = (f"confidence {collection}", json.dumps(list(weights)))
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", values)


def _summary(row: tuple[str, str, str, int, int, int, int, str, str | None]) -> DocumentSummary:
    document_id, collection, name, size, characters, pages, passages, added_at, origin = row
    return DocumentSummary(document_id, collection, name, size, characters, pages or None, passages, added_at, origin)


def _embedder(connection: sqlite3.Connection) -> str | None:
    """The identity of the embedder that made the stored vectors, where there are documents."""
    return fact(connection, "embedder") if connection.execute("SELECT 1 FROM documents LIMIT 1").fetchone() else None


def _refuse_other_embedder(connection: sqlite3.Connection, identity: str) -> None:
    stored = _embedder(connection)
    if stored is not None and stored != identity:
        raise OtherEmbedder(stored, identity)
