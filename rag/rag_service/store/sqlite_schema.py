"""The tables of the SQLite store, made, checked and brought up to date when it is opened."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from rag_service.errors import StoreDamaged, StoreTooNew
from rag_service.store.sqlite_transaction import SqliteTransaction
from rag_service.store.sqlite_version_1 import copy_contents

VERSION = 2

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
-- How passages are made: another embedder, passage size or reader makes another edition.
CREATE TABLE editions (
    id INTEGER PRIMARY KEY, embedder TEXT NOT NULL, found TEXT NOT NULL, chunk_tokens INTEGER NOT NULL,
    overlap_tokens INTEGER NOT NULL
);
-- A state is what a collection's name stands for: which documents under which names, in which edition. `base` is the
-- state that a copy was made from, as it was then; `retired` is when the last name left it, in seconds of the epoch.
CREATE TABLE states (
    id INTEGER PRIMARY KEY AUTOINCREMENT, edition INTEGER NOT NULL REFERENCES editions, base INTEGER, retired REAL,
    remembered TEXT
);
CREATE TABLE collections (name TEXT PRIMARY KEY, state INTEGER NOT NULL UNIQUE REFERENCES states);
-- A content is stored once, whatever its names; `id` is the digest of the file's bytes.
CREATE TABLE documents (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL, reader INTEGER NOT NULL, bytes INTEGER NOT NULL, text TEXT NOT NULL,
    characters INTEGER NOT NULL, pages TEXT NOT NULL, warnings TEXT NOT NULL, metadata TEXT NOT NULL,
    UNIQUE (id, reader)
);
-- The file itself, of PDFs: images of its pages are drawn from it.
CREATE TABLE originals (
    document INTEGER PRIMARY KEY REFERENCES documents ON DELETE CASCADE, data BLOB NOT NULL
);
CREATE TABLE names (
    state INTEGER NOT NULL REFERENCES states ON DELETE CASCADE, name TEXT NOT NULL,
    document INTEGER NOT NULL REFERENCES documents, origin TEXT, metadata TEXT NOT NULL, added_at TEXT NOT NULL,
    PRIMARY KEY (state, name)
) WITHOUT ROWID;
CREATE INDEX names_of_document ON names (document, state);
CREATE TABLE blocks (
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE, "start" INTEGER NOT NULL, "end" INTEGER NOT NULL,
    kind TEXT NOT NULL, page INTEGER, level INTEGER NOT NULL, label TEXT NOT NULL, names TEXT NOT NULL,
    PRIMARY KEY (document, "start")
) WITHOUT ROWID;
-- AUTOINCREMENT: a passage's number is never used again, so an index that lags behind cannot cite the wrong one.
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    edition INTEGER NOT NULL REFERENCES editions, "start" INTEGER NOT NULL, "end" INTEGER NOT NULL, page INTEGER,
    heading TEXT, text TEXT NOT NULL, terms TEXT NOT NULL
);
CREATE INDEX chunks_of_document ON chunks (document, edition);
-- `signs`: for the token-level comparison, the signs of the passage's token vectors, token after token.
CREATE TABLE vectors (
    chunk INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE, vector BLOB NOT NULL, signs BLOB NOT NULL
);
-- What an index has to do to follow a state: passages `first` to `last` came, or were `removed`.
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, state INTEGER, "first" INTEGER, "last" INTEGER, removed INTEGER NOT NULL
);
INSERT INTO facts VALUES ('store', lower(hex(randomblob(16))));
"""


def open_file(path: Path) -> None:
    """Makes the file where there is none, whole or not at all, and brings an older one up to date. Raises StoreDamaged,
    StoreTooNew."""
    if not path.exists():
        _make(path)
        return
    if path.stat().st_size == 0:
        raise StoreDamaged(path, "the file is empty")
    try:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            version = _version(connection)
            if version > VERSION:
                raise StoreTooNew(path, version, VERSION)
            if version == 1:
                _from_version_1(connection)
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(path, str(error)) from error


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    for leftover in path.parent.glob(f"{path.name}*.part*"):
        leftover.unlink(missing_ok=True)
    with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    partial.rename(path)


def _version(connection: sqlite3.Connection) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == 0 and not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone():
        raise sqlite3.DatabaseError("it is another program's database")
    return version or 1


def _from_version_1(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) == VERSION:  # another process was quicker
        connection.execute("ROLLBACK")
        return
    for trigger in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{trigger[0]}"')
    connection.execute("DROP INDEX IF EXISTS chunks_of_document")
    old = ("tokens", "vectors", "chunks", "documents", "facts")
    for table in old:
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in _SCHEMA.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    copy_contents(SqliteTransaction(connection))
    for table in ("full_text", *(f"old_{table}" for table in old)):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
