"""The store as one SQLite file. Safe between threads and processes: each call has a connection to itself."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy

from rag_service.errors import EmptyCollection, OtherEmbedder, StoreDamaged, StoreFull, UnknownDocument
from rag_service.store.protocol import NEXT, PREVIOUS, Change, Edition, Named, Numbers, Passages, Stored, View
from rag_service.store.sqlite_schema import make_words, open_file, words_table
from rag_service.types import READER_VERSION, Block, DocumentSummary, Extracted, Page, Passage, ReadingWarning

# Each passage that a query matches takes one to three microseconds; the words of so many are looked at.
_MOST_ROWS = 1500
_MOST_IDLE = 8
_MOST_CHANGES = 100_000
# A request that began with a state may take so long, in seconds; its passages stay until then.
_LONGEST_REQUEST = 120.0
_AT_ONCE = 200  # documents or passages that one step of sweeping deletes
_ONE_OF = " (SELECT value FROM json_each(?))"
_SUMMARY = """
SELECT c.name, n.name, d.id, d.bytes, d.characters, json_array_length(d.pages),
       (SELECT count(*) FROM chunks WHERE document = d.key AND edition = s.edition), n.added_at, n.origin,
       n.metadata, d.warnings
FROM collections c JOIN states s ON s.id = c.state JOIN names n ON n.state = s.id JOIN documents d ON d.key = n.document
"""


class SqliteStore:
    def __init__(self, path: Path) -> None:
        """Opens the file, and makes it where there is none. Raises StoreDamaged, StoreTooNew."""
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

    def store_id(self) -> str:
        with self._reading() as connection:
            return str(_fact(connection, "store"))

    # Collections

    def view(self, collection: str) -> View:
        with self._reading() as connection:
            return self._view(connection, collection)

    def collections(self) -> dict[str, int]:
        with self._reading() as connection:
            return dict(
                connection.execute(
                    "SELECT c.name, count(*) FROM collections c JOIN names n ON n.state = c.state GROUP BY c.name "
                    "ORDER BY c.name"
                )
            )

    def drop(self, collection: str) -> None:
        with self._writing() as connection:
            self._view(connection, collection)
            for name in (collection, collection + NEXT, collection + PREVIOUS):
                _retire(connection, name)
            _log(connection, None)

    def begin_next(self, collection: str) -> View:
        with self._writing() as connection:
            view = self._view(connection, collection)
            base = _new_state(connection, view.edition.id, copy_of=view.state, words=False)
            connection.execute("UPDATE states SET retired = 0 WHERE id = ?", (base,))
            state = _new_state(connection, view.edition.id, copy_of=view.state)
            connection.execute("UPDATE states SET base = ? WHERE id = ?", (base, state))
            _retire(connection, collection + NEXT)
            connection.execute("INSERT INTO collections VALUES (?, ?)", (collection + NEXT, state))
            _log(connection, state)
        return View(collection + NEXT, state, view.edition)

    def promote_next(self, collection: str) -> View:
        with self._writing() as connection:
            after = self._view(connection, collection + NEXT)
            before = self._known(connection, collection)
            if before is not None:
                _merge(connection, before.state, after)
                _retire(connection, collection + PREVIOUS)
                _rename(connection, collection, collection + PREVIOUS)
            _rename(connection, collection + NEXT, collection)
            _log(connection, None)
        return View(collection, after.state, after.edition)

    def roll_back(self, collection: str) -> View:
        with self._writing() as connection:
            view = self._view(connection, collection + PREVIOUS)
            _rename(connection, collection, collection + " ")
            _rename(connection, collection + PREVIOUS, collection)
            _rename(connection, collection + " ", collection + PREVIOUS)
            _log(connection, None)
        return View(collection, view.state, view.edition)

    # Editions

    def edition(self) -> Edition | None:
        with self._reading() as connection:
            if not connection.execute("SELECT 1 FROM collections LIMIT 1").fetchone():
                return None
            current = _fact(connection, "edition")
            return _edition(connection, int(current)) if current else None

    def begin_edition(self, edition: Edition) -> Edition:
        with self._writing() as connection:
            last = connection.execute("SELECT max(id) FROM editions").fetchone()[0]
            begun = _edition(connection, last) if last and str(last) != _fact(connection, "edition") else None
            if begun is not None and replace(begun, found=edition.found, id=0) == edition:
                return begun
            return _new_edition(connection, edition)

    def lacking(self, edition: Edition) -> list[tuple[int, str]]:
        with self._reading() as connection:
            return _lacking(connection, edition)

    def content_of(self, key: int) -> Extracted | None:
        with self._reading() as connection:
            return _content(connection, key)

    def put_passages(self, key: int, edition: Edition, passages: Passages) -> None:
        with self._writing() as connection:
            row = connection.execute("SELECT text FROM documents WHERE key = ?", (key,)).fetchone()
            if row and not _has_chunks(connection, key, edition.id):
                _put_chunks(connection, key, row[0], edition, passages)

    def use_edition(self, edition: Edition) -> bool:
        with self._writing() as connection:
            if _lacking(connection, edition):
                return False
            for name, old in connection.execute("SELECT name, state FROM collections").fetchall():
                state = _new_state(connection, edition.id, copy_of=old)
                connection.execute("UPDATE collections SET state = ? WHERE name = ?", (state, name))
                connection.execute(
                    "UPDATE states SET base = (SELECT base FROM states WHERE id = ?) WHERE id = ?", (old, state)
                )
                connection.execute("UPDATE states SET retired = ? WHERE id = ?", (time.time(), old))
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('edition', ?)", (str(edition.id),))
            _log(connection, None)
        return True

    def sweep(self) -> bool:
        long_ago = time.time() - _LONGEST_REQUEST
        with self._writing() as connection:
            retired = [
                row[0]
                for row in connection.execute(
                    "SELECT id FROM states WHERE retired < ? "
                    "AND id NOT IN (SELECT base FROM states WHERE base NOTNULL)",
                    (long_ago,),
                )
            ]
            for state in retired:
                connection.execute(f"DROP TABLE IF EXISTS {words_table(state)}")
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
        with self._writing() as connection:
            state, edition = self._state_to_write(connection, collection, edition)
            key = _key(connection, named.id)
            if key is None:
                key = connection.execute(
                    "INSERT INTO documents (id, reader, bytes, text, characters, pages, warnings, metadata) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        named.id, READER_VERSION, named.size, extracted.text, len(extracted.text),
                        _json((page.number, page.start, page.end) for page in extracted.pages),
                        _json((one.code, one.detail, one.page) for one in extracted.warnings),
                        json.dumps(extracted.metadata),
                    ),
                ).lastrowid  # fmt: skip
                connection.executemany(
                    "INSERT OR IGNORE INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (key, one.start, one.end, one.kind, one.page, one.level, one.label, json.dumps(one.names))
                        for one in extracted.blocks
                    ],
                )
                if named.original is not None:
                    connection.execute("INSERT INTO originals VALUES (?, ?)", (key, named.original))
            assert key is not None
            if not _has_chunks(connection, key, edition.id):
                _put_chunks(connection, key, extracted.text, edition, passages)
            _set_name(connection, state, edition.id, named.name, key, named.origin, dict(named.metadata))

    def add_name(self, collection: str, name: str, document_id: str, origin: str | None) -> DocumentSummary | None:
        with self._reading() as connection:  # most often nothing is to be done, and nobody need wait
            key = _key(connection, document_id)
            there = self._found(connection, collection, name=name)
        if key is None or (there is not None and there.id == document_id and there.origin == origin):
            return there if key is not None else None
        with self._writing() as connection:
            key, current = _key(connection, document_id), _fact(connection, "edition")
            if key is None or current is None or not _has_chunks(connection, key, int(current)):
                return None
            state, edition = self._state_to_write(connection, collection, _edition(connection, int(current)))
            _set_name(connection, state, edition.id, name, key, origin, {})
            return self._found(connection, collection, name=name)

    def delete(self, collection: str, document_id: str) -> None:
        with self._writing() as connection:
            view = self._known(connection, collection)
            names = (
                view
                and connection.execute(
                    "SELECT n.name FROM names n JOIN documents d ON d.key = n.document WHERE n.state = ? AND d.id = ?",
                    (view.state, document_id),
                ).fetchall()
            )
            if not view or not names:
                raise UnknownDocument(document_id, collection)
            for (name,) in names:
                _remove_name(connection, view.state, view.edition.id, name)
            _drop_if_empty(connection, collection, view.state)

    def remove_name(self, collection: str, name: str) -> None:
        with self._writing() as connection:
            view = self._known(connection, collection)
            if view is not None:
                _remove_name(connection, view.state, view.edition.id, name)
                _drop_if_empty(connection, collection, view.state)

    def documents(self, collection: str | None = None, after: str = "", limit: int = 1000) -> list[DocumentSummary]:
        behind, _, name = after.rpartition("/") if collection is None else (collection, "", after)
        with self._reading() as connection:
            rows = connection.execute(
                _SUMMARY
                + " WHERE (? IS NULL OR c.name = ?) AND (c.name, n.name) > (?, ?) ORDER BY c.name, n.name LIMIT ?",
                (collection, collection, behind, name, limit),
            ).fetchall()
        return [_summary(row) for row in rows]

    def find(self, collection: str, *, document_id: str = "", name: str = "") -> DocumentSummary | None:
        with self._reading() as connection:
            return self._found(connection, collection, document_id, name)

    def content(self, collection: str, document_id: str) -> Extracted:
        with self._reading() as connection:
            content = _content(connection, self._document(connection, collection, document_id))
        if content is None:
            raise UnknownDocument(document_id, collection)
        return content

    def text(self, collection: str, document_id: str, start: int, end: int) -> str:
        with self._reading() as connection:
            key = self._document(connection, collection, document_id)
            query = "SELECT substr(text, ?, ?) FROM documents WHERE key = ?"
            return str(connection.execute(query, (start + 1, end - start, key)).fetchone()[0])

    def original(self, collection: str, document_id: str) -> bytes | None:
        with self._reading() as connection:
            key = self._document(connection, collection, document_id)
            row = connection.execute("SELECT data FROM originals WHERE document = ?", (key,)).fetchone()
        return row[0] if row else None

    # Searching

    def change(self) -> int:
        with self._reading() as connection:
            row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
        return int(row[0]) if row else 0

    def changes(self, state: int, since: int) -> list[Change] | None:
        with self._reading() as connection:
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
        with self._reading() as connection:
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
        with self._reading() as connection:
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
        table = words_table(view.state)
        among = "" if only is None else " AND rowid IN" + _ONE_OF
        with self._reading() as connection:
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
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT chunk, vector, signs FROM vectors WHERE chunk IN" + _ONE_OF, (json.dumps(list(numbers)),)
            )
            return {row[0]: Stored(numpy.frombuffer(row[1], dtype=numpy.float32), row[2]) for row in rows}

    def passages(self, view: View, numbers: Sequence[int]) -> dict[int, Passage]:
        with self._reading() as connection:
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
                        _BLOCKS + ' WHERE document = ? AND "start" < ? AND "end" > ? AND "start" >= '
                        '(SELECT coalesce(max("start"), 0) FROM blocks WHERE document = ? AND "start" <= ?) '
                        'ORDER BY "start"',
                        (key, fields[5], fields[4], key, fields[4]),
                    ).fetchall()
                    found[fields[0]] = replace(Passage(*fields), blocks=tuple(map(_block, blocks)))
        return found

    def text_between(self, number: int, start: int, end: int) -> str:
        with self._reading() as connection:
            row = connection.execute(
                "SELECT substr(d.text, ?, ?) FROM chunks c JOIN documents d ON d.key = c.document WHERE c.id = ?",
                (start + 1, end - start, number),
            ).fetchone()
        return str(row[0]) if row else ""

    # What is remembered

    def recall(self, key: str) -> str | None:
        with self._reading() as connection:
            return _fact(connection, f"remembered {key}")

    def remember(self, key: str, value: str) -> None:
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (f"remembered {key}", value))

    # Connections and transactions

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")  # acknowledged is durable
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
        except sqlite3.DatabaseError as error:
            raise _explained(error, self._path) from error
        finally:
            if at_rest and len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
            else:
                connection.close()  # an open transaction is rolled back

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: everything or nothing."""
        with self._lock, self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")  # where it is not reached, closing the connection rolls back

    # Within a transaction

    def _known(self, connection: sqlite3.Connection, collection: str) -> View | None:
        row = connection.execute(
            "SELECT s.id, s.edition FROM collections c JOIN states s ON s.id = c.state WHERE c.name = ?", (collection,)
        ).fetchone()
        return View(collection, row[0], _edition(connection, row[1])) if row else None

    def _view(self, connection: sqlite3.Connection, collection: str) -> View:
        view = self._known(connection, collection)
        if view is None:
            others = [row[0] for row in connection.execute("SELECT name FROM collections ORDER BY name")]
            raise EmptyCollection(collection, others)
        return view

    def _state_to_write(self, connection: sqlite3.Connection, collection: str, edition: Edition) -> tuple[int, Edition]:
        view = self._known(connection, collection)
        current = _fact(connection, "edition")
        anything = connection.execute("SELECT 1 FROM collections LIMIT 1").fetchone()
        stored = _edition(connection, int(current)) if current and anything else None
        if stored is not None and stored.embedder != edition.embedder:
            raise OtherEmbedder(stored.embedder, edition.embedder)
        if stored is None:
            stored = _new_edition(connection, edition)
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('edition', ?)", (str(stored.id),))
        if view is not None:
            return view.state, view.edition
        state = _new_state(connection, stored.id)
        connection.execute("INSERT INTO collections VALUES (?, ?)", (collection, state))
        return state, stored

    def _found(
        self, connection: sqlite3.Connection, collection: str, document_id: str = "", name: str = ""
    ) -> DocumentSummary | None:
        row = connection.execute(
            _SUMMARY + " WHERE c.name = ? AND (d.id = ? OR n.name = ?) ORDER BY d.id = ? DESC, n.name LIMIT 1",
            (collection, document_id, name, document_id),
        ).fetchone()
        return _summary(row) if row else None

    def _document(self, connection: sqlite3.Connection, collection: str, document_id: str) -> int:
        row = connection.execute(
            "SELECT d.key FROM collections c JOIN names n ON n.state = c.state JOIN documents d ON d.key = n.document "
            "WHERE c.name = ? AND d.id = ? LIMIT 1",
            (collection, document_id),
        ).fetchone()
        if row is None:
            raise UnknownDocument(document_id, collection)
        return int(row[0])


_BLOCKS = 'SELECT kind, "start", "end", page, level, label, names FROM blocks'


def _block(row: tuple[Any, ...]) -> Block:
    kind, start, end, page, level, label, names = row
    return Block(kind, start, end, page, level, label, tuple(json.loads(names)))


def _content(connection: sqlite3.Connection, key: int) -> Extracted | None:
    row = connection.execute("SELECT text, pages, warnings, metadata FROM documents WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    blocks = connection.execute(_BLOCKS + ' WHERE document = ? ORDER BY "start"', (key,)).fetchall()
    return Extracted(
        row[0],
        tuple(_block(one) for one in blocks),
        tuple(Page(*one) for one in json.loads(row[1])),
        tuple(ReadingWarning(*one) for one in json.loads(row[2])),
        json.loads(row[3]),
    )


def _json(rows: Iterator[tuple[Any, ...]]) -> str:
    return json.dumps(list(rows))


def _summary(row: tuple[Any, ...]) -> DocumentSummary:
    collection, name, document_id, size, characters, pages, passages, added_at, origin, metadata, warnings = row
    return DocumentSummary(
        document_id, collection, name, size, characters, pages or None, passages, added_at, origin,
        json.loads(metadata), tuple(ReadingWarning(*one) for one in json.loads(warnings)),
    )  # fmt: skip


def _fact(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _edition(connection: sqlite3.Connection, number: int) -> Edition:
    embedder, found, chunk_tokens, overlap_tokens = connection.execute(
        "SELECT embedder, found, chunk_tokens, overlap_tokens FROM editions WHERE id = ?", (number,)
    ).fetchone()
    name, revision = json.loads(found)
    return Edition(embedder, (name, revision), chunk_tokens, overlap_tokens, number)


def _new_edition(connection: sqlite3.Connection, edition: Edition) -> Edition:
    number = connection.execute(
        "INSERT INTO editions (embedder, found, chunk_tokens, overlap_tokens) VALUES (?, ?, ?, ?)",
        (edition.embedder, json.dumps(edition.found), edition.chunk_tokens, edition.overlap_tokens),
    ).lastrowid
    return replace(edition, id=int(number or 0))


def _new_state(connection: sqlite3.Connection, edition: int, copy_of: int | None = None, words: bool = True) -> int:
    """A state with the names of another; with its passages' terms too, where somebody will search it."""
    state = int(connection.execute("INSERT INTO states (edition) VALUES (?)", (edition,)).lastrowid or 0)
    if copy_of is not None:
        connection.execute(
            "INSERT INTO names SELECT ?, name, document, origin, metadata, added_at FROM names WHERE state = ?",
            (state, copy_of),
        )
    if words:
        make_words(connection, state)
        connection.execute(
            f"INSERT INTO {words_table(state)} (rowid, terms) SELECT c.id, c.terms FROM "
            "(SELECT DISTINCT document FROM names WHERE state = ?) n "
            "JOIN chunks c ON c.document = n.document AND c.edition = ?",
            (state, edition),
        )
    return state


def _rename(connection: sqlite3.Connection, old: str, new: str) -> None:
    connection.execute("UPDATE collections SET name = ? WHERE name = ?", (new, old))


def _retire(connection: sqlite3.Connection, name: str) -> None:
    """Takes a collection's name away; its state is deleted when no request can still use it."""
    row = connection.execute("DELETE FROM collections WHERE name = ? RETURNING state", (name,)).fetchone()
    if row:
        connection.execute("UPDATE states SET retired = ?, base = NULL WHERE id = ?", (time.time(), row[0]))


def _drop_if_empty(connection: sqlite3.Connection, name: str, state: int) -> None:
    if not connection.execute("SELECT 1 FROM names WHERE state = ? LIMIT 1", (state,)).fetchone():
        _retire(connection, name)


def _log(
    connection: sqlite3.Connection, state: int | None, chunks: tuple[int, int] | None = None, removed: bool = False
) -> None:
    first, last = chunks or (None, None)
    connection.execute(
        'INSERT INTO changes (state, "first", "last", removed) VALUES (?, ?, ?, ?)', (state, first, last, removed)
    )


def _key(connection: sqlite3.Connection, document_id: str) -> int | None:
    """The content as the present reader reads it."""
    row = connection.execute(
        "SELECT key FROM documents WHERE id = ? AND reader = ?", (document_id, READER_VERSION)
    ).fetchone()
    return int(row[0]) if row else None


def _lacking(connection: sqlite3.Connection, edition: Edition) -> list[tuple[int, str]]:
    return connection.execute(
        "SELECT d.key, min(n.name) FROM collections c JOIN names n ON n.state = c.state "
        "JOIN documents d ON d.key = n.document WHERE NOT EXISTS "
        "(SELECT 1 FROM chunks WHERE document = d.key AND edition = ?) GROUP BY d.key ORDER BY 2",
        (edition.id,),
    ).fetchall()


def _has_chunks(connection: sqlite3.Connection, key: int, edition: int) -> bool:
    return _chunks(connection, key, edition) is not None


def _chunks(connection: sqlite3.Connection, key: int, edition: int) -> tuple[int, int] | None:
    """The first and the last passage of a document in an edition; they were stored at once, so all between are too."""
    first, last = connection.execute(
        "SELECT min(id), max(id) FROM chunks WHERE document = ? AND edition = ?", (key, edition)
    ).fetchone()
    return None if first is None else (first, last)


def _put_chunks(connection: sqlite3.Connection, key: int, text: str, edition: Edition, passages: Passages) -> None:
    for span, vector, signs, terms in zip(
        passages.spans, passages.vectors, passages.signs, passages.terms, strict=True
    ):
        chunk = connection.execute(
            'INSERT INTO chunks (document, edition, "start", "end", page, heading, text, terms) '
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                edition.id,
                span.start,
                span.end,
                span.page,
                span.heading,
                text[span.start : span.end],
                " ".join(terms),
            ),
        ).lastrowid
        connection.execute("INSERT INTO vectors VALUES (?, ?, ?)", (chunk, vector.tobytes(), signs))


def _set_name(
    connection: sqlite3.Connection, state: int, edition: int, name: str, key: int, origin: str | None,
    metadata: dict[str, str],
) -> None:  # fmt: skip
    """Lets a name of a state stand for a content; the index and the words of the state follow."""
    there = connection.execute("SELECT 1 FROM names WHERE state = ? AND document = ?", (state, key)).fetchone()
    added_at = datetime.now(UTC).isoformat(timespec="seconds")
    before = connection.execute("SELECT document FROM names WHERE state = ? AND name = ?", (state, name)).fetchone()
    if before and before[0] != key:
        _remove_name(connection, state, edition, name)
    connection.execute(
        "INSERT OR REPLACE INTO names VALUES (?, ?, ?, ?, ?, ?)",
        (state, name, key, origin, json.dumps(metadata), added_at),
    )
    chunks = _chunks(connection, key, edition)
    if there or chunks is None:
        _log(connection, state)
        return
    connection.execute(
        f"INSERT INTO {words_table(state)} (rowid, terms) SELECT id, terms FROM chunks "
        "WHERE document = ? AND edition = ?",
        (key, edition),
    )
    _log(connection, state, chunks)


def _remove_name(connection: sqlite3.Connection, state: int, edition: int, name: str) -> None:
    row = connection.execute(
        "DELETE FROM names WHERE state = ? AND name = ? RETURNING document", (state, name)
    ).fetchone()
    if row is None:
        return
    [key] = row
    if connection.execute("SELECT 1 FROM names WHERE state = ? AND document = ?", (state, key)).fetchone():
        _log(connection, state)
        return
    chunks = _chunks(connection, key, edition)
    if chunks:
        connection.execute(f"DELETE FROM {words_table(state)} WHERE rowid BETWEEN ? AND ?", chunks)
        _log(connection, state, chunks, removed=True)
    if not connection.execute("SELECT 1 FROM names WHERE document = ?", (key,)).fetchone():
        connection.execute("DELETE FROM documents WHERE key = ?", (key,))  # no state of any collection holds it


def _merge(connection: sqlite3.Connection, live: int, after: View) -> None:
    """Brings what others changed in the live state, since `after` was copied from it, into `after`."""
    base = connection.execute("SELECT base FROM states WHERE id = ?", (after.state,)).fetchone()[0]
    names = "SELECT name, document, origin, metadata FROM names WHERE state = ?"
    for name, key, origin, metadata in connection.execute(f"{names} EXCEPT {names}", (live, base)).fetchall():
        _set_name(connection, after.state, after.edition.id, name, key, origin, json.loads(metadata))
    gone = "SELECT name FROM names WHERE state = ? EXCEPT SELECT name FROM names WHERE state = ?"
    for (name,) in connection.execute(gone, (base, live)).fetchall():
        _remove_name(connection, after.state, after.edition.id, name)
    connection.execute("UPDATE states SET base = NULL WHERE id = ?", (after.state,))


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


def _explained(error: sqlite3.DatabaseError, path: Path) -> Exception:
    """The error in words, where somebody has to act; else as it is."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return StoreFull(path, str(error))
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(path, str(error))
    return error
