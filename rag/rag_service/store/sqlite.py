"""The store as one SQLite file. Safe between threads and processes: each call has a connection to itself."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy

from rag_service.errors import EmptyCollection, OtherEmbedder, UnknownDocument
from rag_service.store import sqlite_contents as contents
from rag_service.store import sqlite_states as states
from rag_service.store.protocol import NEXT, PREVIOUS, Change, Edition, Named, Numbers, Original, Passages, Stored, View
from rag_service.store.sqlite_file import SqliteFile
from rag_service.types import DocumentSummary, Extracted, Page, Passage

# The passages that a query may match: each takes one to three microseconds.
_MOST_ROWS = 1500
_MOST_CHANGES = 100_000
# Seconds that a request may take: the passages of the state that it began with stay until then.
_LONGEST_REQUEST = 120.0
_AT_ONCE = 200  # documents or passages that one step of sweeping deletes
_ONE_OF = " (SELECT value FROM json_each(?))"


class SqliteStore(SqliteFile):
    def store_id(self) -> str:
        with self.reading() as connection:
            return str(states.fact(connection, "store"))

    # Collections

    def view(self, collection: str) -> View:
        with self.reading() as connection:
            return _view(connection, collection)

    def collections(self) -> dict[str, int]:
        with self.reading() as connection:
            return dict(
                connection.execute(
                    "SELECT c.name, count(*) FROM collections c JOIN names n ON n.state = c.state GROUP BY c.name "
                    "ORDER BY c.name"
                )
            )

    def drop(self, collection: str) -> None:
        with self.writing() as connection:
            _view(connection, collection)
            for name in (collection, collection + NEXT, collection + PREVIOUS):
                states.retire(connection, name)
            states.log_change(connection, None)

    def begin_next(self, collection: str) -> View:
        with self.writing() as connection:
            return states.copy_to_next(connection, _view(connection, collection))

    def promote_next(self, collection: str) -> View:
        with self.writing() as connection:
            after = _view(connection, collection + NEXT)
            before = states.view_of(connection, collection)
            states.merge(connection, before, after)
            if before is not None:
                states.retire(connection, collection + PREVIOUS)
                states.rename(connection, collection, collection + PREVIOUS)
            states.rename(connection, collection + NEXT, collection)
            promoted = replace(after, collection=collection)
            states.drop_if_empty(connection, promoted)
            states.log_change(connection, None)
        return promoted

    def roll_back(self, collection: str) -> View:
        with self.writing() as connection:
            view = _view(connection, collection + PREVIOUS)
            states.rename(connection, collection, collection + " ")
            states.rename(connection, collection + PREVIOUS, collection)
            states.rename(connection, collection + " ", collection + PREVIOUS)
            states.log_change(connection, None)
        return View(collection, view.state, view.edition)

    # Editions

    def edition(self) -> Edition | None:
        with self.reading() as connection:
            return states.current_edition(connection)

    def begin_edition(self, edition: Edition) -> Edition:
        with self.writing() as connection:
            last = connection.execute("SELECT max(id) FROM editions").fetchone()[0]
            if last and str(last) != states.fact(connection, "edition"):
                begun = states.edition_of(connection, last)
                if replace(begun, found=edition.found, id=0) == edition:
                    return begun
            return states.new_edition(connection, edition)

    def lacking(self, edition: Edition) -> list[tuple[int, str]]:
        with self.reading() as connection:
            return states.lacking(connection, edition)

    def content_of(self, key: int) -> Extracted | None:
        with self.reading() as connection:
            return contents.content_of(connection, key)

    def put_passages(self, key: int, edition: Edition, passages: Passages) -> None:
        with self.writing() as connection:
            row = connection.execute("SELECT text FROM documents WHERE key = ?", (key,)).fetchone()
            if row and not states.chunks_of(connection, key, edition.id):
                contents.put_chunks(connection, key, row[0], edition, passages)

    def use_edition(self, edition: Edition) -> bool:
        with self.writing() as connection:
            if states.lacking(connection, edition):
                return False
            for name, old in connection.execute("SELECT name, state FROM collections").fetchall():
                state = states.new_state(connection, edition.id, copy_of=old)
                connection.execute("UPDATE collections SET state = ? WHERE name = ?", (state, name))
                connection.execute(
                    "UPDATE states SET base = (SELECT base FROM states WHERE id = ?) WHERE id = ?", (old, state)
                )
                connection.execute("UPDATE states SET retired = ? WHERE id = ?", (time.time(), old))
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('edition', ?)", (str(edition.id),))
            states.log_change(connection, None)
        return True

    def sweep(self) -> bool:
        long_ago = time.time() - _LONGEST_REQUEST
        with self.writing() as connection:
            retired = [
                row[0]
                for row in connection.execute(
                    "SELECT id FROM states WHERE retired < ? "
                    "AND id NOT IN (SELECT base FROM states WHERE base NOTNULL)",
                    (long_ago,),
                )
            ]
            for state in retired:
                connection.execute(f"DROP TABLE IF EXISTS {states.words_table(state)}")
                connection.execute("DELETE FROM states WHERE id = ?", (state,))
            documents = connection.execute(
                "DELETE FROM documents WHERE key IN (SELECT d.key FROM documents d WHERE NOT EXISTS "
                "(SELECT 1 FROM names n WHERE n.document = d.key) LIMIT ?)",
                (_AT_ONCE,),
            ).rowcount
            # Of editions that no state is in, but for the one that is being made: it has the highest number.
            chunks = connection.execute(
                "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE edition NOT IN "
                "(SELECT edition FROM states UNION SELECT max(id) FROM editions) LIMIT ?)",
                (_AT_ONCE,),
            ).rowcount
            last = connection.execute("SELECT max(number) FROM changes").fetchone()[0] or 0
            connection.execute("DELETE FROM changes WHERE number < ?", (last - _MOST_CHANGES,))
        return documents + chunks >= _AT_ONCE

    # Documents

    def put(self, collection: str, named: Named, edition: Edition, passages: Passages) -> None:
        extracted = named.extracted
        with self.writing() as connection:
            view = _view_to_write(connection, collection, edition)
            key = contents.key_of(connection, named.id)
            if key is None:
                key = contents.put_content(connection, named)
            if not states.chunks_of(connection, key, view.edition.id):
                contents.put_chunks(connection, key, extracted.text, view.edition, passages)
            states.set_name(connection, view, named.name, key, named.origin, named.metadata)

    def add_name(
        self,
        collection: str,
        name: str,
        document_id: str,
        origin: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> DocumentSummary | None:
        with self.reading() as connection:  # most often nothing is to be done, and nobody need wait
            if contents.key_of(connection, document_id) is None:
                return None
            there = contents.find_name(connection, collection, name=name)
        same = there is not None and there.id == document_id
        kept = there.metadata if there is not None and same and metadata is None else metadata or {}
        if same and there is not None and (there.origin, there.metadata) == (origin, kept):
            return there
        with self.writing() as connection:
            key, edition = contents.key_of(connection, document_id), states.current_edition(connection)
            if key is None or edition is None or not states.chunks_of(connection, key, edition.id):
                return None
            view = _view_to_write(connection, collection, edition)
            states.set_name(connection, view, name, key, origin, kept)
            return contents.find_name(connection, collection, name=name)

    def delete(self, collection: str, document_id: str) -> None:
        with self.writing() as connection:
            view = states.view_of(connection, collection)
            names = connection.execute(
                "SELECT n.name FROM documents d JOIN names n ON n.document = d.key WHERE n.state = ? AND d.id = ?",
                (view.state if view else None, document_id),
            ).fetchall()
            if view is None or not names:
                raise UnknownDocument(document_id, collection)
            for (name,) in names:
                states.remove_name(connection, view, name)
            states.drop_if_empty(connection, view)

    def remove_name(self, collection: str, name: str) -> None:
        with self.writing() as connection:
            view = states.view_of(connection, collection)
            if view is not None:
                states.remove_name(connection, view, name)
                states.drop_if_empty(connection, view)

    def documents(
        self, collections: str | Collection[str] | None = None, after: str = "", limit: int = 1000, holding: str = ""
    ) -> list[DocumentSummary]:
        one = isinstance(collections, str)
        behind, _, name = (collections, "", after) if one else after.partition("/")
        among = "" if collections is None else " AND c.name IN" + _ONE_OF
        chosen = [] if collections is None else [json.dumps([collections] if one else list(collections))]
        with self.reading() as connection:
            rows = connection.execute(
                f"{contents.SUMMARY} WHERE (c.name, n.name) > (?, ?){among} AND instr(lower(n.name), lower(?)) "
                "ORDER BY c.name, n.name LIMIT ?",
                (behind, name, *chosen, holding, limit),
            ).fetchall()
        return [contents.summary_of(row) for row in rows]

    def find(self, collection: str, *, document_id: str = "", name: str = "") -> DocumentSummary | None:
        with self.reading() as connection:
            return contents.find_name(connection, collection, document_id, name)

    def content(self, collection: str, document_id: str) -> Extracted:
        with self.reading() as connection:
            content = contents.content_of(connection, contents.document_key(connection, collection, document_id))
        assert content is not None  # both were read in one transaction
        return content

    def text(self, collection: str, document_id: str, start: int, end: int) -> str:
        with self.reading() as connection:
            key = contents.document_key(connection, collection, document_id)
            query = "SELECT substr(text, ?, ?) FROM documents WHERE key = ?"
            return str(connection.execute(query, (start + 1, end - start, key)).fetchone()[0])

    def original(self, collection: str, document_id: str) -> Original:
        with self.reading() as connection:
            key = contents.document_key(connection, collection, document_id)
            query = (
                "SELECT o.data, d.pages FROM documents d LEFT JOIN originals o ON o.document = d.key WHERE d.key = ?"
            )
            data, pages = connection.execute(query, (key,)).fetchone()
        return Original(data, [Page(*one) for one in json.loads(pages)])

    # Searching

    def change(self) -> int:
        with self.reading() as connection:
            row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
        return int(row[0]) if row else 0

    def changes(self, state: int, since: int) -> list[Change] | None:
        with self.reading() as connection:
            oldest = connection.execute("SELECT min(number) FROM changes").fetchone()[0]
            if oldest is not None and oldest > since + 1:
                return None
            rows = connection.execute(
                'SELECT "first", "last", removed FROM changes WHERE number > ? AND state = ? AND "first" NOTNULL '
                "ORDER BY number",
                (since, state),
            ).fetchall()
        return [Change(first, last, bool(removed)) for first, last, removed in rows]

    def passage_numbers(self, view: View) -> Numbers:
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT c.id FROM (SELECT DISTINCT document FROM names WHERE state = ?) n "
                "JOIN chunks c ON c.document = n.document AND c.edition = ? ORDER BY c.id",
                (view.state, view.edition.id),
            )
            return numpy.fromiter((row[0] for row in rows), dtype=numpy.int64)

    def passages_of(self, view: View, documents: Sequence[str], metadata: Mapping[str, str]) -> list[int]:
        named = json.dumps(list(documents))
        which = " FROM names n JOIN documents d ON d.key = n.document WHERE n.state = ?"
        values: list[Any] = [view.state]
        if documents:
            which += " AND (n.name IN" + _ONE_OF + " OR d.id IN" + _ONE_OF + ")"
            values += [named, named]
        for key, value in metadata.items():
            path = "$." + json.dumps(key)
            which += " AND coalesce(json_extract(n.metadata, ?), json_extract(d.metadata, ?)) = ?"
            values += [path, path, value]
        with self.reading() as connection:
            known = {name for row in connection.execute("SELECT n.name, d.id" + which, values) for name in row}
            missing = next((one for one in documents if one not in known), None)
            if missing is not None and not metadata:
                raise UnknownDocument(missing, view.collection)
            query = "SELECT id FROM chunks WHERE edition = ? AND document IN (SELECT d.key" + which + ")"
            return [row[0] for row in connection.execute(query, [view.edition.id, *values])]

    def lexical(
        self, view: View, terms: Sequence[str], count: int, only: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """In a large collection the terms that most passages hold are left out, as long as rarer ones remain."""
        table = states.words_table(view.state)
        among = "" if only is None else " AND rowid IN" + _ONE_OF
        with self.reading() as connection:
            query = _query(connection, table, terms)
            if query is None:
                return []
            rows = connection.execute(
                f"SELECT rowid, -bm25({table}) AS score FROM {table} WHERE {table} MATCH ?{among} "
                "ORDER BY score DESC LIMIT ?",
                (query, *([] if only is None else [json.dumps(list(only))]), count),
            ).fetchall()
        return [(int(row[0]), float(row[1])) for row in rows]

    def vectors(self, numbers: Sequence[int]) -> dict[int, Stored]:
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT chunk, vector, signs FROM vectors WHERE chunk IN" + _ONE_OF, (json.dumps(list(numbers)),)
            )
            return {row[0]: Stored(numpy.frombuffer(row[1], dtype=numpy.float32), row[2]) for row in rows}

    def passages(self, view: View, numbers: Sequence[int]) -> dict[int, Passage]:
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT c.id, d.id, (SELECT min(name) FROM names WHERE state = ? AND document = d.key), c.page, "
                'c."start", c."end", c.text, c.heading, d.key FROM chunks c JOIN documents d ON d.key = c.document '
                "WHERE c.id IN" + _ONE_OF,
                (view.state, json.dumps(list(numbers))),
            ).fetchall()
            found = {}
            for *fields, key in rows:
                if fields[2] is not None:  # deleted from this collection a moment ago
                    blocks = connection.execute(
                        contents.BLOCKS + ' WHERE document = ? AND "start" < ? AND "end" > ? AND "start" >= '
                        '(SELECT coalesce(max("start"), 0) FROM blocks WHERE document = ? AND "start" <= ?) '
                        'ORDER BY "start"',
                        (key, fields[5], fields[4], key, fields[4]),
                    ).fetchall()
                    found[fields[0]] = replace(Passage(*fields), blocks=tuple(map(contents.block, blocks)))
        return found

    def text_between(self, number: int, start: int, end: int) -> str:
        with self.reading() as connection:
            row = connection.execute(
                "SELECT substr(d.text, ?, ?) FROM chunks c JOIN documents d ON d.key = c.document WHERE c.id = ?",
                (start + 1, end - start, number),
            ).fetchone()
        return str(row[0]) if row else ""

    # What is remembered

    def recall(self, view: View) -> str | None:
        with self.reading() as connection:
            row = connection.execute("SELECT remembered FROM states WHERE id = ?", (view.state,)).fetchone()
        return row[0] if row else None

    def remember(self, view: View, value: str) -> None:
        with self.writing() as connection:
            connection.execute("UPDATE states SET remembered = ? WHERE id = ?", (value, view.state))


# Within a transaction


def _view(connection: sqlite3.Connection, collection: str) -> View:
    view = states.view_of(connection, collection)
    if view is None:
        others = [row[0] for row in connection.execute("SELECT name FROM collections ORDER BY name")]
        raise EmptyCollection(collection, others)
    return view


def _view_to_write(connection: sqlite3.Connection, collection: str, edition: Edition) -> View:
    """The collection, which is made where it is not there; NAME@next always as a copy of NAME, so that a promotion
    knows what was changed in either."""
    stored = states.current_edition(connection)
    if stored is not None and stored.embedder != edition.embedder:
        raise OtherEmbedder(stored.embedder, edition.embedder)
    if stored is None:
        stored = states.new_edition(connection, edition)
        connection.execute("INSERT OR REPLACE INTO facts VALUES ('edition', ?)", (str(stored.id),))
    if (view := states.view_of(connection, collection)) is not None:
        return view
    if collection.endswith(NEXT) and (live := states.view_of(connection, collection.removesuffix(NEXT))) is not None:
        return states.copy_to_next(connection, live)
    return states.new_collection(connection, collection, stored)


def _query(connection: sqlite3.Connection, table: str, terms: Sequence[str]) -> str | None:
    """The terms as a query that not much more than `_MOST_ROWS` passages match: any of the rarest; where each is in
    more passages than that, all of them together. None where no passage holds any."""
    # Each term is a quoted string of its own: nothing in it is ever read as the query language's syntax.
    quoted = ['"' + term.replace('"', "").replace("\x00", "") + '"' for term in dict.fromkeys(terms)]
    matches = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {table} MATCH ? LIMIT ?)"
    counts = {term: connection.execute(matches, (term, _MOST_ROWS + 1)).fetchone()[0] for term in quoted}
    held = sorted((term for term in counts if counts[term]), key=lambda term: counts[term])
    rare = [
        term for term, total in zip(held, accumulate(counts[term] for term in held), strict=True) if total <= _MOST_ROWS
    ]
    return " OR ".join(rare) or " AND ".join(held) or None
