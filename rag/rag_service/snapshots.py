"""The store's contents kept under a name, and put back: what a refresh that made answers worse is undone with."""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rag_service.errors import BadSnapshot, BadSnapshotName, UnknownSnapshot
from rag_service.store import Store

_NAME = re.compile(r"\w[\w.-]{0,63}")
_SUFFIX = ".db"


@dataclass(frozen=True)
class Snapshot:
    """A kept state of the store. `embedder` made its vectors; None where it holds no document."""

    name: str
    created_at: str
    bytes: int
    documents: int
    passages: int
    embedder: str | None


class Snapshots:
    """One file for each snapshot, in a folder beside the store."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._lock = threading.Lock()

    def take(self, name: str) -> Snapshot:
        """Keeps the store as it is now, in place of a snapshot of the same name. Raises BadSnapshotName."""
        path = self._path(name)
        with self._lock:
            self._store.copy_to(path)
        return _described(path)

    def all(self) -> list[Snapshot]:
        """The snapshots, the newest first. One that cannot be read any more is left out."""
        found = []
        for path in self._folder.glob("*" + _SUFFIX):
            try:
                found.append(_described(path))
            except BadSnapshot:
                continue
        return sorted(found, key=lambda one: one.created_at, reverse=True)

    def restore(self, name: str) -> Snapshot:
        """Makes the store what it was. Raises BadSnapshotName, UnknownSnapshot, BadSnapshot: then nothing changed."""
        path = self._known(name)
        with self._lock:
            snapshot = _described(path, check=True)
            self._store.take_over(path)
        return snapshot

    def delete(self, name: str) -> None:
        """Forgets a snapshot. Raises BadSnapshotName, UnknownSnapshot."""
        self._known(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise BadSnapshotName(name)
        return self._folder / (name + _SUFFIX)

    def _known(self, name: str) -> Path:
        path = self._path(name)
        if not path.exists():
            raise UnknownSnapshot(name, [one.name for one in self.all()])
        return path


def _described(path: Path, check: bool = False) -> Snapshot:
    """What a snapshot's file holds; `check` reads it through. Raises BadSnapshot."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as file:
            if check and file.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise BadSnapshot(path.stem, "its pages do not fit together")
            documents, passages = (
                file.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("documents", "chunks")
            )
            embedder = file.execute("SELECT value FROM facts WHERE name = 'embedder'").fetchone()
            made = path.stat()
    except (sqlite3.Error, FileNotFoundError) as error:
        raise BadSnapshot(path.stem, str(error)) from error
    created_at = datetime.fromtimestamp(made.st_mtime, UTC).isoformat(timespec="seconds")
    identity = embedder[0] if embedder and documents else None
    return Snapshot(path.stem, created_at, made.st_size, documents, passages, identity)
