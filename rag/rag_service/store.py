"""The truth: documents, passages, vectors and full text in one SQLite file. Knows neither models nor FAISS."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from rag_service.documents import DocumentSummary, Extracted, Page, Passage, Span
from rag_service.errors import OtherEmbedder, UnknownDocument

Vectors = NDArray[numpy.float32]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
    key INTEGER PRIMARY KEY, collection TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL,
    text TEXT NOT NULL, pages TEXT NOT NULL, added_at TEXT NOT NULL, UNIQUE (collection, id), UNIQUE (collection, name)
);
-- AUTOINCREMENT: a passage's number is never used again, so an index that lags behind cannot cite the wrong one.
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    "start" INTEGER NOT NULL, "end" INTEGER NOT NULL, page INTEGER
);
CREATE INDEX IF NOT EXISTS chunks_of_document ON chunks (document);
CREATE TABLE IF NOT EXISTS vectors (
    chunk INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE, vector BLOB NOT NULL
);
CREATE VIRTUAL TABLE IF NOT EXISTS full_text USING fts5 (text, tokenize = 'porter unicode61 remove_diacritics 2');
CREATE TRIGGER IF NOT EXISTS chunk_gone AFTER DELETE ON chunks BEGIN DELETE FROM full_text WHERE rowid = old.id; END;
INSERT OR IGNORE INTO facts VALUES ('schema', '1'), ('generation', '0');
"""
_SUMMARY = """
SELECT d.id, d.collection, d.name, d.bytes, length(d.text), json_array_length(d.pages),
       (SELECT count(*) FROM chunks WHERE document = d.key), d.added_at FROM documents d
"""
_ONE_OF = " (SELECT value FROM json_each(?))"


class Store:
    """One SQLite file. Safe between threads and processes: each call opens a connection of its own."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        # Stays open: the last connection that closes would otherwise fold the write-ahead log at every call.
        self._anchor = self._open()
        self._anchor.execute("PRAGMA journal_mode = WAL")
        self._anchor.executescript(_SCHEMA)

    def close(self) -> None:
        self._anchor.close()

    def generation(self) -> int:
        """A number that grows with every change, whichever process made it."""
        with self._reading() as connection:
            return int(connection.execute("SELECT value FROM facts WHERE name = 'generation'").fetchone()[0])

    def check_embedder(self, identity: str) -> None:
        """Raises OtherEmbedder where the stored vectors are another model's. An empty store takes any."""
        with self._reading() as connection:
            _refuse_other_embedder(connection, identity)

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
    ) -> None:
        """Adds a document whole, in place of one of the same name. Raises OtherEmbedder; then nothing has changed."""
        pages = json.dumps([(page.number, page.start, page.end) for page in extracted.pages])
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._writing() as connection:
            _refuse_other_embedder(connection, embedder)
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('embedder', ?)", (embedder,))
            connection.execute(
                "DELETE FROM documents WHERE collection = ? AND (name = ? OR id = ?)", (collection, name, document_id)
            )
            key = connection.execute(
                "INSERT INTO documents (collection, id, name, bytes, text, pages, added_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (collection, document_id, name, size, extracted.text, pages, now),
            ).lastrowid
            for span, vector in zip(spans, vectors, strict=True):
                chunk = connection.execute(
                    'INSERT INTO chunks (document, "start", "end", page) VALUES (?, ?, ?, ?)',
                    (key, span.start, span.end, span.page),
                ).lastrowid
                connection.execute("INSERT INTO vectors VALUES (?, ?)", (chunk, vector.tobytes()))
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
        """A document's extracted text and pages. Raises UnknownDocument."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT text, pages FROM documents WHERE collection = ? AND id = ?", (collection, document_id)
            ).fetchone()
        if row is None:
            raise UnknownDocument(document_id, collection)
        return Extracted(row[0], tuple(Page(*page) for page in json.loads(row[1])))

    def collections(self) -> dict[str, int]:
        """Each collection with its number of documents. A collection is there as long as it holds one."""
        with self._reading() as connection:
            return dict(
                connection.execute("SELECT collection, count(*) FROM documents GROUP BY collection ORDER BY collection")
            )

    def chunk_collections(self) -> dict[int, str]:
        """Every passage's number with its collection."""
        with self._reading() as connection:
            return dict(
                connection.execute("SELECT c.id, d.collection FROM chunks c JOIN documents d ON d.key = c.document")
            )

    def vectors(self, chunk_ids: Sequence[int]) -> dict[int, Vectors]:
        """The vectors of these passages, as far as they are still there."""
        rows = self._by_ids("SELECT chunk, vector FROM vectors WHERE chunk IN" + _ONE_OF, chunk_ids)
        return {row[0]: numpy.frombuffer(row[1], dtype=numpy.float32) for row in rows}

    def passages(self, chunk_ids: Sequence[int]) -> Mapping[int, Passage]:
        """These passages with their words, as far as they are still there."""
        rows = self._by_ids(
            'SELECT c.id, d.id, d.name, c.page, c."start", c."end", substr(d.text, c."start" + 1, c."end" - c."start") '
            "FROM chunks c JOIN documents d ON d.key = c.document WHERE c.id IN" + _ONE_OF,
            chunk_ids,
        )
        return {row[0]: Passage(*row) for row in rows}

    def search_text(self, collection: str, words: Sequence[str], count: int) -> list[tuple[int, float]]:
        """The passages that hold any of the words, best first: number and BM25 score (higher is better)."""
        if not words:
            return []
        # Each word is a quoted string of its own: nothing in it is ever read as the query language's syntax.
        query = " OR ".join('"' + word.replace('"', "").replace("\x00", "") + '"' for word in words)
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT full_text.rowid, -bm25(full_text) AS score FROM full_text "
                "JOIN chunks c ON c.id = full_text.rowid JOIN documents d ON d.key = c.document "
                "WHERE full_text MATCH ? AND d.collection = ? ORDER BY score DESC LIMIT ?",
                (query, collection, count),
            ).fetchall()
        return [(int(row[0]), float(row[1])) for row in rows]

    def _by_ids(self, query: str, ids: Sequence[int]) -> list[Any]:
        with self._reading() as connection:
            return connection.execute(query, (json.dumps(list(ids)),)).fetchall()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = self._open()
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: everything or nothing, and a new generation."""
        connection = self._open()
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("UPDATE facts SET value = value + 1 WHERE name = 'generation'")
            connection.execute("COMMIT")
        finally:
            connection.close()  # an open transaction is rolled back


def _summary(row: tuple[str, str, str, int, int, int, int, str]) -> DocumentSummary:
    document_id, collection, name, size, characters, pages, passages, added_at = row
    return DocumentSummary(document_id, collection, name, size, characters, pages or None, passages, added_at)


def _refuse_other_embedder(connection: sqlite3.Connection, identity: str) -> None:
    row = connection.execute(
        "SELECT value FROM facts WHERE name = 'embedder' AND EXISTS (SELECT 1 FROM documents)"
    ).fetchone()
    if row is not None and row[0] != identity:
        raise OtherEmbedder(row[0], identity)
