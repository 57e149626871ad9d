"""The store's file: its tables, its transactions, and copies of the file as a whole."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

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
-- For late interaction: the signs of the passage's token vectors, token after token.
CREATE TABLE IF NOT EXISTS tokens (chunk INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE, signs BLOB NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS full_text USING fts5 (text, tokenize = 'porter unicode61 remove_diacritics 2');
CREATE TRIGGER IF NOT EXISTS chunk_gone AFTER DELETE ON chunks BEGIN DELETE FROM full_text WHERE rowid = old.id; END;
INSERT OR IGNORE INTO facts VALUES ('schema', '1'), ('generation', '0'), ('store', lower(hex(randomblob(16))));
"""
# What files of earlier versions lack. `headings`: places and titles as JSON. `origin`: the watched folder, if any.
_COLUMNS = (
    ("documents", "headings", "TEXT NOT NULL DEFAULT '[]'"),
    ("documents", "origin", "TEXT"),
    ("chunks", "heading", "TEXT"),
)
_STRIDE = 2**32
_MOST_IDLE = 8


class Database:
    """One SQLite file. Safe between threads and processes: each call has a connection to itself."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._idle: deque[sqlite3.Connection] = deque()  # opening one takes longer than many a query
        # Stays open: the last connection that closes would otherwise fold the write-ahead log at every call.
        self._anchor = self._open()
        self._anchor.execute("PRAGMA journal_mode = WAL")
        with self._alone():
            _prepare(self._anchor)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        self._anchor.close()

    def generation(self) -> int:
        """A number that stands for the contents: another after every change, whichever process made it."""
        with self._reading() as connection:
            return int(fact(connection, "generation") or 0)

    def last_passage(self) -> int:
        """The highest number that a passage ever had."""
        with self._reading() as connection:
            return _last_passage(connection)

    def copy_to(self, target: Path) -> None:
        """Writes the contents of this moment to a file, whole or not at all; writers and readers go on meanwhile."""
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".part")
        remove(partial)
        with self._reading() as live, closing(sqlite3.connect(partial)) as copy:
            live.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, that nothing beside it belongs to
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)

    def take_over(self, source: Path, expecting: int | None = None) -> bool:
        """Puts the contents of another store's file, which nobody has open, in place of this one's.

        One transaction: until it ends, and after a kill in it, everybody reads what was here before. False, and
        nothing done, where `expecting` is given and is no longer the generation. Raises sqlite3.DatabaseError where
        the source is damaged.
        """
        with self._alone():
            if expecting is not None and expecting != self.generation():
                return False
            incoming = self._path.with_name("incoming.db")
            remove(incoming)
            shutil.copyfile(source, incoming)
            with closing(sqlite3.connect(incoming, isolation_level=None)) as copy, self._reading() as live:
                _prepare(copy)
                _never_again(copy, _last_passage(live))
                copy.backup(live)
                live.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            remove(incoming)
        return True

    def start_numbers_after(self, last: int) -> None:
        """Numbers this file's passages from far beyond `last`, so that they can replace those of another file."""
        with self._writing() as connection:
            _never_again(connection, last + _STRIDE)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
        at_rest = False
        try:
            yield connection
            at_rest = not connection.in_transaction
        finally:
            if at_rest and len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
            else:
                connection.close()  # an open transaction is rolled back

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: everything or nothing, and a new generation."""
        with self._alone(), self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("UPDATE facts SET value = random() & 0x1FFFFFFFFFFFFF WHERE name = 'generation'")
            connection.execute("COMMIT")  # where it is not reached, closing the connection rolls back

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread or process writes meanwhile. The kernel lets go of the lock when a holder dies."""
        with self._path.with_suffix(".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def remove(path: Path) -> None:
    """Removes a database that a process may have been killed over, with its journal: SQLite would play that back into
    the next file of the name."""
    for ending in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def fact(connection: sqlite3.Connection, name: str) -> str | None:
    """What the file says of itself under this name, if anything."""
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _last_passage(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'").fetchone()
    return int(row[0]) if row else 0


def _prepare(connection: sqlite3.Connection) -> None:
    """Makes what is missing. Every step may be repeated, so a kill between two does no harm."""
    connection.executescript(_SCHEMA)
    for table, column, kind in _COLUMNS:
        known = "SELECT 1 FROM pragma_table_info(?) WHERE name = ?"
        if connection.execute(known, (table, column)).fetchone() is None:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


def _never_again(connection: sqlite3.Connection, last: int) -> None:
    """Lets no new passage have a number up to `last`."""
    if last > _last_passage(connection):
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'chunks'")
        connection.execute("INSERT INTO sqlite_sequence VALUES ('chunks', ?)", (last,))
