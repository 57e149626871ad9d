"""What searching reads from the store's file: passages, their vectors, the signs of their tokens, and full text."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy
from numpy.typing import NDArray

from rag_service.database import Database, fact
from rag_service.documents import Passage
from rag_service.errors import UnknownDocument

Vectors = NDArray[numpy.float32]
Numbers = NDArray[numpy.int64]
# Each passage that a query matches takes one to three microseconds; the words of so many are looked at.
_MOST_ROWS = 1500
_ONE_OF = " (SELECT value FROM json_each(?))"


class Passages(Database):
    """The stored passages, by their numbers. What was deleted meanwhile is left out of every answer."""

    def store_id(self) -> str:
        """What tells this store from every other; a passage's number is only ever one passage's in it."""
        with self._reading() as connection:
            return str(fact(connection, "store"))

    def passage_numbers(self) -> dict[str, Numbers]:
        """The numbers of each collection's passages, in order."""
        query = "SELECT c.id FROM chunks c JOIN documents d ON d.key = c.document WHERE d.collection = ? ORDER BY c.id"
        with self._reading() as connection:
            connection.execute("BEGIN")  # all collections at the same moment
            names = [row[0] for row in connection.execute("SELECT DISTINCT collection FROM documents")]
            found = {
                name: numpy.fromiter((row[0] for row in connection.execute(query, (name,))), dtype=numpy.int64)
                for name in names
            }
        return {name: numbers for name, numbers in found.items() if len(numbers)}

    def passages_of(self, collection: str, documents: Sequence[str]) -> list[int]:
        """The numbers of all passages of these documents, given by name or id. Raises UnknownDocument."""
        named = json.dumps(list(documents))
        which = " FROM documents d WHERE d.collection = ? AND (d.name IN" + _ONE_OF + " OR d.id IN" + _ONE_OF + ")"
        with self._reading() as connection:
            rows = connection.execute("SELECT d.name, d.id" + which, (collection, named, named))
            known = {name for names in rows for name in names}
            for document in documents:
                if document not in known:
                    raise UnknownDocument(document, collection)
            query = "SELECT id FROM chunks WHERE document IN (SELECT d.key" + which + ")"
            return [row[0] for row in connection.execute(query, (collection, named, named))]

    def vectors(self, chunk_ids: Sequence[int]) -> dict[int, Vectors]:
        """The vectors of these passages."""
        rows = self._by_ids("SELECT chunk, vector FROM vectors WHERE chunk IN" + _ONE_OF, chunk_ids)
        return {row[0]: numpy.frombuffer(row[1], dtype=numpy.float32) for row in rows}

    def token_signs(self, chunk_ids: Sequence[int]) -> dict[int, bytes]:
        """The signs of these passages' tokens; a passage that an earlier version stored has none."""
        return dict(self._by_ids("SELECT chunk, signs FROM tokens WHERE chunk IN" + _ONE_OF, chunk_ids))

    def passages(self, chunk_ids: Sequence[int]) -> Mapping[int, Passage]:
        """These passages with their words, which the full text holds too: a long document need not be read."""
        rows = self._by_ids(
            'SELECT c.id, d.id, d.name, c.page, c."start", c."end", full_text.text, c.heading '
            "FROM chunks c JOIN documents d ON d.key = c.document JOIN full_text ON full_text.rowid = c.id "
            "WHERE c.id IN" + _ONE_OF,
            chunk_ids,
        )
        return {row[0]: Passage(*row) for row in rows}

    def text_between(self, chunk_id: int, start: int, end: int) -> str:
        """`text[start:end]` of the document that the passage is of; empty where it is no longer there."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT substr(d.text, ?, ?) FROM chunks c JOIN documents d ON d.key = c.document WHERE c.id = ?",
                (start + 1, end - start, chunk_id),
            ).fetchone()
        return str(row[0]) if row else ""

    def search_text(
        self, collection: str, words: Sequence[str], count: int, only: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """The passages that hold any of the words, best first: number and BM25 score (higher is better). `only`: of
        these passages and no other.

        In a large store the words that most passages hold are left out, as long as rarer ones remain.
        """
        among = "" if only is None else " AND full_text.rowid IN" + _ONE_OF
        with self._reading() as connection:
            query = _query(connection, words)
            if query is None:
                return []
            rows = connection.execute(
                "SELECT full_text.rowid, -bm25(full_text) AS score FROM full_text "
                "JOIN chunks c ON c.id = full_text.rowid JOIN documents d ON d.key = c.document "
                f"WHERE full_text MATCH ? AND d.collection = ?{among} ORDER BY score DESC LIMIT ?",
                (query, collection, *([] if only is None else [json.dumps(list(only))]), count),
            ).fetchall()
        return [(int(row[0]), float(row[1])) for row in rows]

    def _by_ids(self, query: str, ids: Sequence[int]) -> list[Any]:
        with self._reading() as connection:
            return connection.execute(query, (json.dumps(list(ids)),)).fetchall()


def _query(connection: sqlite3.Connection, words: Sequence[str]) -> str | None:
    """The words as a query that not much more than `_MOST_ROWS` passages match: any of the rarest; where each is in
    more passages than that, all of them together. None where no passage holds any."""
    # Each word is a quoted string of its own: nothing in it is ever read as the query language's syntax.
    quoted = ['"' + word.replace('"', "").replace("\x00", "") + '"' for word in words]
    matches = "SELECT count(*) FROM (SELECT 1 FROM full_text WHERE full_text MATCH ? LIMIT ?)"
    counts = {word: connection.execute(matches, (word, _MOST_ROWS + 1)).fetchone()[0] for word in quoted}
    held = sorted((word for word in counts if counts[word]), key=lambda word: counts[word])
    rare = [
        word for word, total in zip(held, accumulate(counts[word] for word in held), strict=True) if total <= _MOST_ROWS
    ]
    return " OR ".join(rare) or " AND ".join(held) or None
