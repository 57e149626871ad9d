"""From the SQLite file to PostgreSQL: every table with its numbers, in one transaction; the file is only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy
from pgvector import HalfVector

from rag_service.errors import StoreDamaged, StoreInUse, StoreTooNew
from rag_service.store.database import Transaction
from rag_service.store.postgres import PostgresStore
from rag_service.store.sqlite_schema import VERSION
from rag_service.store.sqlite_transaction import words_table
from rag_service.store.states import fact

# In an order in which what a row refers to is there; the columns are those of both schemas.
_TABLES = {
    "facts": "name, value",
    "editions": "id, embedder, found, chunk_tokens, overlap_tokens",
    "states": "id, edition, base, retired, remembered",
    "collections": "name, state",
    "documents": "key, id, reader, bytes, text, characters, pages, warnings, metadata",
    "originals": "document, data",
    "names": "state, name, document, origin, metadata, added_at",
    "blocks": 'document, "start", "end", kind, page, level, label, names',
    "chunks": 'id, document, edition, "start", "end", page, heading, text, terms',
    "vectors": "chunk, vector, signs",
    "changes": 'number, state, "first", "last", removed',
}
_NUMBERED = {"editions": "id", "states": "id", "documents": "key", "chunks": "id", "changes": "number"}
# Where the two keep a value in different types.
_CONVERTED: dict[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {
    "chunks": lambda row: (*row[:-1], row[-1].split()),
    "vectors": lambda row: (row[0], HalfVector(numpy.frombuffer(row[1], dtype=numpy.float32)), row[2]),
    "changes": lambda row: (*row[:-1], bool(row[-1])),
}


def move(path: Path, target: PostgresStore, where: str) -> dict[str, int]:
    """The rows of each table; none where they were moved before. Raises StoreInUse for a target (`where` names it)
    with other documents, StoreTooNew, StoreDamaged."""
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=30)) as source,
            target.database.writing() as transaction,
        ):
            return _moved(path, source, transaction, where)
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(path, str(error)) from error


def _moved(path: Path, source: sqlite3.Connection, target: Transaction, where: str) -> dict[str, int]:
    source.execute("BEGIN")  # all of it as it is at one moment
    [version] = source.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StoreTooNew(path, version, VERSION)
    if version < VERSION:
        raise StoreDamaged(path, f"it has an older schema: start the service on it once, without RAG_STORE ({version})")
    if target.execute("SELECT 1 FROM states LIMIT 1").fetchone():
        [identity] = source.execute("SELECT value FROM facts WHERE name = 'store'").fetchone()
        if fact(target, "store") == identity:
            return {}
        raise StoreInUse(where, path)
    target.execute("DELETE FROM facts")
    counts = {table: _copied(source, target, table, columns) for table, columns in _TABLES.items()}
    for table, column in _NUMBERED.items():
        _number_on(source, target, table, column)
    for state, edition in source.execute("SELECT id, edition FROM states").fetchall():
        if source.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (words_table(state),)).fetchone():
            target.add_words(state, edition)
    return counts


def _copied(source: sqlite3.Connection, target: Transaction, table: str, columns: str) -> int:
    convert, count = _CONVERTED.get(table, tuple), 0
    places = ", ".join("?" * (columns.count(",") + 1))
    for row in source.execute(f"SELECT {columns} FROM {table}"):
        target.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", convert(row))
        count += 1
    return count


def _number_on(source: sqlite3.Connection, target: Transaction, table: str, column: str) -> None:
    """No number is used again, of those that are deleted too."""
    query = f"SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0), coalesce(max({column}), 0))"
    [last] = source.execute(f"{query} FROM {table}", (table,)).fetchone()
    if last:
        target.execute(f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), ?)", (last,))
