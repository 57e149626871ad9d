"""The parts of a bulk become a collection's next state, which takes its place when all of them are in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rag_service.bulk.parts import Part, Row, Work, document_of
from rag_service.bulk.progress import Say, progress
from rag_service.store.protocol import NEXT, Store

_SHOWN = 10
_GONE = {"code": "gone", "reason": "Its content was deleted from the store in the meantime. Give the command again."}


def drop_next(store: Store, collection: str) -> None:
    """Forgets what a run that was killed had loaded, before anybody counts on the contents that it brought."""
    if collection + NEXT in store.collections():
        store.drop(collection + NEXT)


class Load:
    """`failures`: a file that gets a line for each document that failed; the first of them are said, too."""

    def __init__(self, store: Store, collection: str, work: Work, failures: Path, say: Say) -> None:
        self._store, self._collection, self._work = store, collection, work
        self._failures, self._say = failures, say
        self._counts = Counter({"indexed": 0, "unchanged": 0, "failed": 0})

    def run(self, parts: Sequence[Part]) -> Counter[str]:
        """Counts what became of the files. The collection is the old one until all are loaded; where nothing is new, it
        stays so."""
        self._failures.parent.mkdir(parents=True, exist_ok=True)
        self._failures.unlink(missing_ok=True)
        for part in parts:
            for rows in self._work.rows(part, ["name", "id", "verdict", "code", "reason"]):
                for row in rows:
                    self._count(row)
        if self._counts["indexed"]:
            self._fill(parts)
            self._store.promote_next(self._collection)
        if self._counts["failed"] > _SHOWN:
            self._say(f"all that failed: {self._failures}")
        return self._counts

    def _count(self, row: Row) -> None:
        if row["verdict"] == "failed":
            self._fail(row)
            return
        known = row["verdict"] == "unchanged"  # its content; the name may be new
        there = self._store.find(self._collection, name=row["name"]) if known else None
        self._counts["unchanged" if there is not None and there.id == row["id"] else "indexed"] += 1

    def _fail(self, row: Row) -> None:
        self._counts["failed"] += 1
        if self._counts["failed"] <= _SHOWN:
            self._say(f"{row['name']} failed: {row['reason']}")
        with self._failures.open("a", encoding="utf-8") as file:
            print(json.dumps({key: row[key] for key in ("name", "code", "reason")}), file=file)

    def _fill(self, parts: Sequence[Part]) -> None:
        following = self._collection + NEXT
        if self._collection in self._store.collections():
            self._store.begin_next(self._collection)
        total, done = sum(len(part.files) for part in parts), 0
        with progress("loaded", total, lambda: done, self._say):
            for part in parts:
                for rows in self._work.rows(part):
                    documents = [document_of(row) for row in rows if row["verdict"] == "indexed"]
                    names = [(row["name"], row["id"]) for row in rows if row["verdict"] == "unchanged"]
                    for name in self._store.put_all(following, documents, names, self._work.edition):
                        self._counts["indexed"] -= 1
                        self._fail({"name": name, **_GONE})
                    done += len(rows)
