"""What a transaction of the SQLite store does in its own way: vectors as bytes, and a full text for each state."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy

from rag_service.store.database import MOST_ROWS, Rows, rarest
from rag_service.store.protocol import Stored, Vectors, View
from rag_service.types import Span


def words_table(state: int) -> str:
    """The full text of one state."""
    return f"words_{state:d}"


class SqliteTransaction:
    among = " IN (SELECT value FROM json_each(?))"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> Rows:
        return self._connection.execute(query, [json.dumps(one) if type(one) is list else one for one in parameters])

    def put_chunk(
        self, document: int, edition: int, span: Span, text: str, vector: Vectors, signs: bytes, terms: Sequence[str]
    ) -> None:
        chunk = self._connection.execute(
            'INSERT INTO chunks (document, edition, "start", "end", page, heading, text, terms) '
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (document, edition, span.start, span.end, span.page, span.heading, text, " ".join(terms)),
        ).lastrowid
        self._connection.execute("INSERT INTO vectors VALUES (?, ?, ?)", (chunk, vector.tobytes(), signs))

    def vectors(self, numbers: Sequence[int]) -> dict[int, Stored]:
        rows = self.execute(f"SELECT chunk, vector, signs FROM vectors WHERE chunk{self.among}", (list(numbers),))
        return {row[0]: Stored(numpy.frombuffer(row[1], dtype=numpy.float32), row[2]) for row in rows}

    def add_words(self, state: int, edition: int, document: int | None = None) -> None:
        which, value = ("?", document) if document else ("SELECT document FROM names WHERE state = ?", state)
        if document is None:
            # The terms are words already, each whatever is in it.
            tokenizer = "unicode61 remove_diacritics 2 categories 'L* N* M* Co' tokenchars '''_'"
            self._connection.execute(
                f'CREATE VIRTUAL TABLE {words_table(state)} USING fts5 (terms, tokenize = "{tokenizer}")'
            )
        self._connection.execute(
            f"INSERT INTO {words_table(state)} (rowid, terms) SELECT id, terms FROM chunks "
            f"WHERE edition = ? AND document IN ({which})",
            (edition, value),
        )

    def remove_words(self, state: int, first: int, last: int) -> None:
        self._connection.execute(f"DELETE FROM {words_table(state)} WHERE rowid BETWEEN ? AND ?", (first, last))

    def drop_words(self, state: int) -> None:
        self._connection.execute(f"DROP TABLE IF EXISTS {words_table(state)}")

    def lexical(
        self, view: View, terms: Sequence[str], count: int, only: Sequence[int] | None
    ) -> list[tuple[int, float]]:
        table = words_table(view.state)
        among = "" if only is None else " AND rowid" + self.among
        # Each term is a quoted string of its own: nothing in it is ever read as the query language's syntax.
        quoted = ['"' + term.replace('"', "").replace("\x00", "") + '"' for term in dict.fromkeys(terms)]
        matches = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {table} MATCH ? LIMIT ?)"
        counts = {term: self.execute(matches, (term, MOST_ROWS + 1)).fetchone()[0] for term in quoted}
        rare, held = rarest(counts)
        if not held:
            return []
        rows = self.execute(
            f"SELECT rowid, -bm25({table}) AS score FROM {table} WHERE {table} MATCH ?{among} "
            "ORDER BY score DESC, rowid LIMIT ?",
            (" OR ".join(rare) or " AND ".join(held), *([] if only is None else [list(only)]), count),
        )
        return [(int(row[0]), float(row[1])) for row in rows]
