"""The store as one SQLite file. Safe between threads and processes: each transaction has a connection to itself."""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from rag_service.errors import StoreDamaged, StoreFull
from rag_service.store.sql import SqlStore
from rag_service.store.sqlite_schema import open_file
from rag_service.store.sqlite_transaction import SqliteTransaction

_MOST_IDLE = 8


class SqliteStore(SqlStore):
    def __init__(self, path: Path) -> None:
        """Opens the file, and makes it where there is none. Raises StoreDamaged, StoreTooNew."""
        super().__init__(SqliteDatabase(path))


class SqliteDatabase:
    def __init__(self, path: Path) -> None:
        open_file(path)
        self._path = path
        self._lock = threading.Lock()  # writers of one process take turns without asking the file again and again
        self._idle: deque[sqlite3.Connection] = deque()  # opening one takes longer than many a query
        # Stays open: the last connection that closes would otherwise fold the write-ahead log at every call.
        self._anchor = self._open()
        self._anchor.execute("PRAGMA journal_mode = WAL")

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        self._anchor.close()

    def reading(self) -> AbstractContextManager[SqliteTransaction]:
        return self._transaction("BEGIN")

    @contextmanager
    def writing(self) -> Iterator[SqliteTransaction]:
        with self._lock, self._transaction("BEGIN IMMEDIATE") as transaction:
            yield transaction

    @contextmanager
    def alone(self, task: str) -> Iterator[bool]:
        with self._path.with_name(f"{task}.lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")  # acknowledged is durable
        return connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[SqliteTransaction]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
        done = False
        try:
            connection.execute(begin)
            yield SqliteTransaction(connection)
            connection.execute("COMMIT")
            done = True
        except sqlite3.DatabaseError as error:
            raise _explained(error, self._path) from error
        finally:
            if done and len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
            else:
                connection.close()  # an open transaction is rolled back


def _explained(error: sqlite3.DatabaseError, path: Path) -> Exception:
    """The error in words, where somebody has to act; else as it is."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return StoreFull(path, str(error))
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(path, str(error))
    return error
