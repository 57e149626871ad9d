"""The store as one SQLite file. Safe between threads and processes: each call has a connection to itself."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy

from rag_service.errors import EmptyCollection, OtherEmbedder, StoreDamaged, StoreFull, UnknownDocument
from rag_service.store.protocol import NEXT, PREVIOUS, Change, Edition, Named, Numbers, Original, Passages, Stored, View
from rag_service.store.sqlite_schema import open_file, words_table
from rag_service.store.sqlite_states import (
    chunks_of,
    copy_to_next,
    drop_if_empty,
    edition_of,
    log_change,
    merge,
    new_state,
    remove_name,
    rename,
    retire,
    set_name,
    view_of,
)
from rag_service.types import READER_VERSION, Block, DocumentSummary, Extracted, Page, Passage, ReadingWarning

# The passages that a query may match: each takes one to three microseconds.
_MOST_ROWS = 1500
_MOST_IDLE = 8
_MOST_CHANGES = 100_000
# Seconds that a request may take: the passages of the state that it began with stay until then.
_LONGEST_REQUEST = 120.0
_AT_ONCE = 200  # documents or passages that one step of sweeping deletes
_ONE_OF = " (SELECT value FROM json_each(?))"
_SUMMARY = """
SELECT c.name, n.name, d.id, d.bytes, d.characters, json_array_length(d.pages),
       (SELECT count(*) FROM chunks WHERE document = d.key AND edition = s.edition), n.added_at, n.origin,
       n.metadata, d.warnings, EXISTS (SELECT 1 FROM originals WHERE document = d.key)
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
            return _view(connection, collection)

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
            _view(connection, collection)
            for name in (collection, collection + NEXT, collection + PREVIOUS):
                retire(connection, name)
            log_change(connection, None)

    def begin_next(self, collection: str) -> View:
        with self._writing() as connection:
            return copy_to_next(connection, _view(connection, collection))

    def promote_next(self, collection: str) -> View:
        with self._writing() as connection:
            after = _view(connection, collection + NEXT)
            before = view_of(connection, collection)
            merge(connection, before, after)
            if before is not None:
                retire(connection, collection + PREVIOUS)
                rename(connection, collection, collection + PREVIOUS)
            rename(connection, collection + NEXT, collection)
            promoted = replace(after, collection=collection)
            drop_if_empty(connection, promoted)
            log_change(connection, None)
        return promoted

    def roll_back(self, collection: str) -> View:
        with self._writing() as connection:
            view = _view(connection, collection + PREVIOUS)
            rename(connection, collection, collection + " ")
            rename(connection, collection + PREVIOUS, collection)
            rename(connection, collection + " ", collection + PREVIOUS)
            log_change(connection, None)
        return View(collection, view.state, view.edition)

    # Editions

    def edition(self) -> Edition | None:
        with self._reading() as connection:
            return _current_edition(connection)

    def begin_edition(self, edition: Edition) -> Edition:
        with self._writing() as connection:
            last = connection.execute("SELECT max(id) FROM editions").fetchone()[0]
            begun = edition_of(connection, last) if last and str(last) != _fact(connection, "edition") else None
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
            if row and not chunks_of(connection, key, edition.id):
                _put_chunks(connection, key, row[0], edition, passages)

    def use_edition(self, edition: Edition) -> bool:
        with self._writing() as connection:
            if _lacking(connection, edition):
                return False
            for name, old in connection.execute("SELECT name, state FROM collections").fetchall():
                state = new_state(connection, edition.id, copy_of=old)
                connection.execute("UPDATE collections SET state = ? WHERE name = ?", (state, name))
                connection.execute(
                    "UPDATE states SET base = (SELECT base FROM states WHERE id = ?) WHERE id = ?", (old, state)
                )
                connection.execute("UPDATE states SET retired = ? WHERE id = ?", (time.time(), old))
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('edition', ?)", (str(edition.id),))
            log_change(connection, None)
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
            view = _view_to_write(connection, collection, edition)
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
            if not chunks_of(connection, key, view.edition.id):
                _put_chunks(connection, key, extracted.text, view.edition, passages)
            set_name(connection, view, named.name, key, named.origin, named.metadata)

    def add_name(
        self,
        collection: str,
        name: str,
        document_id: str,
        origin: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> DocumentSummary | None:
        with self._reading() as connection:  # most often nothing is to be done, and nobody need wait
            if _key(connection, document_id) is None:
                return None
            there = _found(connection, collection, name=name)
        same = there is not None and there.id == document_id
        kept = there.metadata if there is not None and same and metadata is None else metadata or {}
        if same and there is not None and (there.origin, there.metadata) == (origin, kept):
            return there
        with self._writing() as connection:
            key, edition = _key(connection, document_id), _current_edition(connection)
            if key is None or edition is None or not chunks_of(connection, key, edition.id):
                return None
            view = _view_to_write(connection, collection, edition)
            set_name(connection, view, name, key, origin, kept)
            return _found(connection, collection, name=name)

    def delete(self, collection: str, document_id: str) -> None:
        with self._writing() as connection:
            view = view_of(connection, collection)
            names = connection.execute(
                "SELECT n.name FROM documents d JOIN names n ON n.document = d.key WHERE n.state = ? AND d.id = ?",
                (view.state if view else None, document_id),
            ).fetchall()
            if view is None or not names:
                raise UnknownDocument(document_id, collection)
            for (name,) in names:
                remove_name(connection, view, name)
            drop_if_empty(connection, view)

    def remove_name(self, collection: str, name: str) -> None:
        with self._writing() as connection:
            view = view_of(connection, collection)
            if view is not None:
                remove_name(connection, view, name)
                drop_if_empty(connection, view)

    def documents(
        self, collections: str | Collection[str] | None = None, after: str = "", limit: int = 1000, holding: str = ""
    ) -> list[DocumentSummary]:
        one = isinstance(collections, str)
        behind, _, name = (collections, "", after) if one else after.partition("/")
        among = "" if collections is None else " AND c.name IN" + _ONE_OF
        chosen = [] if collections is None else [json.dumps([collections] if one else list(collections))]
        with self._reading() as connection:
            rows = connection.execute(
                f"{_SUMMARY} WHERE (c.name, n.name) > (?, ?){among} AND instr(lower(n.name), lower(?)) "
                "ORDER BY c.name, n.name LIMIT ?",
                (behind, name, *chosen, holding, limit),
            ).fetchall()
        return [_summary(row) for row in rows]

    def find(self, collection: str, *, document_id: str = "", name: str = "") -> DocumentSummary | None:
        with self._reading() as connection:
            return _found(connection, collection, document_id, name)

    def content(self, collection: str, document_id: str) -> Extracted:
        with self._reading() as connection:
            content = _content(connection, _document(connection, collection, document_id))
        assert content is not None  # both were read in one transaction
        return content

    def text(self, collection: str, document_id: str, start: int, end: int) -> str:
        with self._reading() as connection:
            key = _document(connection, collection, document_id)
            query = "SELECT substr(text, ?, ?) FROM documents WHERE key = ?"
            return str(connection.execute(query, (start + 1, end - start, key)).fetchone()[0])

    def original(self, collection: str, document_id: str) -> Original:
        with self._reading() as connection:
            key = _document(connection, collection, document_id)
            query = (
                "SELECT o.data, d.pages FROM documents d LEFT JOIN originals o ON o.document = d.key WHERE d.key = ?"
            )
            data, pages = connection.execute(query, (key,)).fetchone()
        return Original(data, [Page(*one) for one in json.loads(pages)])

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

    def recall(self, view: View) -> str | None:
        with self._reading() as connection:
            row = connection.execute("SELECT remembered FROM states WHERE id = ?", (view.state,)).fetchone()
        return row[0] if row else None

    def remember(self, view: View, value: str) -> None:
        with self._writing() as connection:
            connection.execute("UPDATE states SET remembered = ? WHERE id = ?", (value, view.state))

    # Connections and transactions

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")  # acknowledged is durable
        return connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
        done = False
        try:
            connection.execute(begin)
            yield connection
            connection.execute("COMMIT")
            done = True
        except sqlite3.DatabaseError as error:
            raise _explained(error, self._path) from error
        finally:
            if done and len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
            else:
                connection.close()  # an open transaction is rolled back

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """The store as it is at the first statement, whatever is written meanwhile."""
        return self._transaction("BEGIN")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Everything or nothing."""
        with self._lock, self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection


# Within a transaction


def _view(connection: sqlite3.Connection, collection: str) -> View:
    view = view_of(connection, collection)
    if view is None:
        others = [row[0] for row in connection.execute("SELECT name FROM collections ORDER BY name")]
        raise EmptyCollection(collection, others)
    return view


def _view_to_write(connection: sqlite3.Connection, collection: str, edition: Edition) -> View:
    """The collection, which is made where it is not there; NAME@next always as a copy of NAME, so that a promotion
    knows what was changed in either."""
    stored = _current_edition(connection)
    if stored is not None and stored.embedder != edition.embedder:
        raise OtherEmbedder(stored.embedder, edition.embedder)
    if stored is None:
        stored = _new_edition(connection, edition)
        connection.execute("INSERT OR REPLACE INTO facts VALUES ('edition', ?)", (str(stored.id),))
    if (view := view_of(connection, collection)) is not None:
        return view
    if collection.endswith(NEXT) and (live := view_of(connection, collection.removesuffix(NEXT))) is not None:
        return copy_to_next(connection, live)
    state = new_state(connection, stored.id)
    connection.execute("INSERT INTO collections VALUES (?, ?)", (collection, state))
    return View(collection, state, stored)


def _found(
    connection: sqlite3.Connection, collection: str, document_id: str = "", name: str = ""
) -> DocumentSummary | None:
    """A name that comes from a watched folder first."""
    # Two statements, as neither index serves both.
    which, value = ("d.id", document_id) if document_id else ("n.name", name)
    row = connection.execute(
        f"{_SUMMARY} WHERE c.name = ? AND {which} = ? ORDER BY n.origin IS NULL, n.name LIMIT 1", (collection, value)
    ).fetchone()
    return _summary(row) if row else None


def _document(connection: sqlite3.Connection, collection: str, document_id: str) -> int:
    row = connection.execute(
        "SELECT d.key FROM documents d JOIN names n ON n.document = d.key JOIN collections c ON c.state = n.state "
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
    collection, name, document_id, size, characters, pages, passages, added_at, origin, metadata, warnings, kept = row
    return DocumentSummary(
        document_id, collection, name, size, characters, pages or None, passages, added_at, origin,
        json.loads(metadata), tuple(ReadingWarning(*one) for one in json.loads(warnings)), bool(kept),
    )  # fmt: skip


def _fact(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _current_edition(connection: sqlite3.Connection) -> Edition | None:
    """None while no collection holds a document: the next one begins another edition."""
    if not connection.execute("SELECT 1 FROM collections LIMIT 1").fetchone():
        return None
    current = _fact(connection, "edition")
    return edition_of(connection, int(current)) if current else None


def _new_edition(connection: sqlite3.Connection, edition: Edition) -> Edition:
    number = connection.execute(
        "INSERT INTO editions (embedder, found, chunk_tokens, overlap_tokens) VALUES (?, ?, ?, ?)",
        (edition.embedder, json.dumps(edition.found), edition.chunk_tokens, edition.overlap_tokens),
    ).lastrowid
    return replace(edition, id=int(number or 0))


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
