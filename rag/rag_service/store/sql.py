"""The store over a database that speaks SQL: what SQLite and PostgreSQL have in common."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy
from numpy.typing import NDArray

from rag_service.errors import EmptyCollection, OtherEmbedder, UnknownDocument
from rag_service.store.contents import (
    BLOCKS,
    SUMMARY,
    block,
    content_of,
    document_key,
    find_name,
    key_of,
    put_chunks,
    put_content,
    summary_of,
)
from rag_service.store.database import Database, Transaction
from rag_service.store.protocol import (
    NEXT,
    PREVIOUS,
    Change,
    Edition,
    JobBoard,
    Named,
    Numbers,
    Original,
    Passages,
    Stored,
    View,
)
from rag_service.store.states import (
    chunks_of,
    copy_to_next,
    current_edition,
    drop_if_empty,
    edition_of,
    fact,
    lacking,
    log_change,
    merge,
    new_collection,
    new_edition,
    new_state,
    put_fact,
    remove_name,
    rename,
    retire,
    set_name,
    view_of,
)
from rag_service.types import READER_VERSION, DocumentSummary, Extracted, Page, Passage

_MOST_CHANGES = 100_000
# Seconds that a request may take: the passages of the state that it began with stay until then.
_LONGEST_REQUEST = 120.0
_AT_ONCE = 200  # documents or passages that one step of sweeping deletes


class SqlStore:
    board: JobBoard | None = None

    def __init__(self, database: Database) -> None:
        self.database = database

    def close(self) -> None:
        self.database.close()

    def store_id(self) -> str:
        with self.database.reading() as transaction:
            return str(fact(transaction, "store"))

    # Collections

    def view(self, collection: str) -> View:
        with self.database.reading() as transaction:
            return _view(transaction, collection)

    def collections(self) -> dict[str, int]:
        with self.database.reading() as transaction:
            return dict(
                transaction.execute(
                    "SELECT c.name, count(*) FROM collections c JOIN names n ON n.state = c.state GROUP BY c.name "
                    "ORDER BY c.name"
                )
            )

    def drop(self, collection: str) -> None:
        with self.database.writing() as transaction:
            _view(transaction, collection)
            for name in (collection, collection + NEXT, collection + PREVIOUS):
                retire(transaction, name)
            log_change(transaction, None)

    def begin_next(self, collection: str) -> View:
        with self.database.writing() as transaction:
            return copy_to_next(transaction, _view(transaction, collection))

    def promote_next(self, collection: str) -> View:
        with self.database.writing() as transaction:
            after = _view(transaction, collection + NEXT)
            before = view_of(transaction, collection)
            merge(transaction, before, after)
            if before is not None:
                retire(transaction, collection + PREVIOUS)
                rename(transaction, collection, collection + PREVIOUS)
            rename(transaction, collection + NEXT, collection)
            promoted = replace(after, collection=collection)
            drop_if_empty(transaction, promoted)
            log_change(transaction, None)
        return promoted

    def roll_back(self, collection: str) -> View:
        with self.database.writing() as transaction:
            view = _view(transaction, collection + PREVIOUS)
            rename(transaction, collection, collection + " ")
            rename(transaction, collection + PREVIOUS, collection)
            rename(transaction, collection + " ", collection + PREVIOUS)
            log_change(transaction, None)
        return View(collection, view.state, view.edition)

    # Editions

    def edition(self) -> Edition | None:
        with self.database.reading() as transaction:
            return current_edition(transaction)

    def begin_edition(self, edition: Edition) -> Edition:
        with self.database.writing() as transaction:
            last = transaction.execute("SELECT max(id) FROM editions").fetchone()[0]
            begun = edition_of(transaction, last) if last and str(last) != fact(transaction, "edition") else None
            if begun is not None and replace(begun, found=edition.found, id=0) == edition:
                return begun
            return new_edition(transaction, edition)

    def lacking(self, edition: Edition) -> list[tuple[int, str]]:
        with self.database.reading() as transaction:
            return lacking(transaction, edition)

    def content_of(self, key: int) -> Extracted | None:
        with self.database.reading() as transaction:
            return content_of(transaction, key)

    def put_passages(self, key: int, edition: Edition, passages: Passages) -> None:
        with self.database.writing() as transaction:
            row = transaction.execute("SELECT text FROM documents WHERE key = ?", (key,)).fetchone()
            if row and not chunks_of(transaction, key, edition.id):
                put_chunks(transaction, key, row[0], edition, passages)

    def use_edition(self, edition: Edition) -> bool:
        with self.database.writing() as transaction:
            if lacking(transaction, edition):
                return False
            for name, old in transaction.execute("SELECT name, state FROM collections").fetchall():
                state = new_state(transaction, edition.id, copy_of=old)
                transaction.execute("UPDATE collections SET state = ? WHERE name = ?", (state, name))
                transaction.execute(
                    "UPDATE states SET base = (SELECT base FROM states WHERE id = ?) WHERE id = ?", (old, state)
                )
                transaction.execute("UPDATE states SET retired = ? WHERE id = ?", (time.time(), old))
            put_fact(transaction, "edition", str(edition.id))
            log_change(transaction, None)
        return True

    def alone(self, task: str) -> AbstractContextManager[bool]:
        return self.database.alone(task)

    def sweep(self) -> bool:
        long_ago = time.time() - _LONGEST_REQUEST
        with self.database.writing() as transaction:
            retired = [
                row[0]
                for row in transaction.execute(
                    "SELECT id FROM states WHERE retired < ? "
                    "AND id NOT IN (SELECT base FROM states WHERE base IS NOT NULL)",
                    (long_ago,),
                )
            ]
            for state in retired:
                transaction.drop_words(state)
                transaction.execute("DELETE FROM states WHERE id = ?", (state,))
            documents = transaction.execute(
                "DELETE FROM documents WHERE key IN (SELECT d.key FROM documents d WHERE NOT EXISTS "
                "(SELECT 1 FROM names n WHERE n.document = d.key) LIMIT ?)",
                (_AT_ONCE,),
            ).rowcount
            # Of editions that no state is in, but for the one that is being made: it has the highest number.
            chunks = transaction.execute(
                "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE edition NOT IN "
                "(SELECT edition FROM states UNION SELECT max(id) FROM editions) LIMIT ?)",
                (_AT_ONCE,),
            ).rowcount
            last = transaction.execute("SELECT max(number) FROM changes").fetchone()[0] or 0
            transaction.execute("DELETE FROM changes WHERE number < ?", (last - _MOST_CHANGES,))
        return documents + chunks >= _AT_ONCE

    # Documents

    def put(self, collection: str, named: Named, edition: Edition, passages: Passages) -> None:
        self.put_all(collection, [(named, passages)], [], edition)

    def put_all(
        self,
        collection: str,
        documents: Sequence[tuple[Named, Passages]],
        names: Sequence[tuple[str, str]],
        edition: Edition,
    ) -> list[str]:
        gone = []
        with self.database.writing() as transaction:
            view = _view_to_write(transaction, collection, edition)
            for named, passages in documents:
                key = key_of(transaction, named.id)
                if key is None:
                    key = put_content(transaction, named)
                if not chunks_of(transaction, key, view.edition.id):
                    put_chunks(transaction, key, named.extracted.text, view.edition, passages)
                set_name(transaction, view, named.name, key, named.origin, named.metadata)
            for name, document_id in names:
                there, key = find_name(transaction, collection, name=name), key_of(transaction, document_id)
                if key is None or not chunks_of(transaction, key, view.edition.id):
                    gone.append(name)
                elif there is None or there.id != document_id:
                    set_name(transaction, view, name, key, None, {})
        return gone

    def known(self, edition: Edition) -> NDArray[numpy.bytes_]:
        with self.database.reading() as transaction:
            rows = transaction.execute(
                "SELECT id FROM documents d WHERE reader = ? AND EXISTS "
                "(SELECT 1 FROM chunks WHERE document = d.key AND edition = ?) AND EXISTS "
                "(SELECT 1 FROM names n JOIN collections c ON c.state = n.state WHERE n.document = d.key)",
                (READER_VERSION, edition.id),
            )
            return numpy.sort(numpy.fromiter((row[0] for row in rows), dtype="S64"))

    def add_name(
        self,
        collection: str,
        name: str,
        document_id: str,
        origin: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> DocumentSummary | None:
        with self.database.reading() as transaction:  # most often nothing is to be done, and nobody need wait
            if key_of(transaction, document_id) is None:
                return None
            there = find_name(transaction, collection, name=name)
        same = there is not None and there.id == document_id
        kept = there.metadata if there is not None and same and metadata is None else metadata or {}
        if same and there is not None and (there.origin, there.metadata) == (origin, kept):
            return there
        with self.database.writing() as transaction:
            key, edition = key_of(transaction, document_id), current_edition(transaction)
            if key is None or edition is None or not chunks_of(transaction, key, edition.id):
                return None
            view = _view_to_write(transaction, collection, edition)
            set_name(transaction, view, name, key, origin, kept)
            return find_name(transaction, collection, name=name)

    def delete(self, collection: str, document_id: str) -> None:
        with self.database.writing() as transaction:
            view = view_of(transaction, collection)
            names = transaction.execute(
                "SELECT n.name FROM documents d JOIN names n ON n.document = d.key WHERE n.state = ? AND d.id = ?",
                (view.state if view else None, document_id),
            ).fetchall()
            if view is None or not names:
                raise UnknownDocument(document_id, collection)
            for (name,) in names:
                remove_name(transaction, view, name)
            drop_if_empty(transaction, view)

    def remove_name(self, collection: str, name: str) -> None:
        with self.database.writing() as transaction:
            view = view_of(transaction, collection)
            if view is not None:
                remove_name(transaction, view, name)
                drop_if_empty(transaction, view)

    def documents(
        self, collections: str | Collection[str] | None = None, after: str = "", limit: int = 1000, holding: str = ""
    ) -> list[DocumentSummary]:
        one = isinstance(collections, str)
        behind, _, name = (collections, "", after) if one else after.partition("/")
        chosen = [] if collections is None else [[collections] if one else list(collections)]
        with self.database.reading() as transaction:
            among = f" AND c.name{transaction.among}" if chosen else ""
            rows = transaction.execute(
                f"{SUMMARY} WHERE (c.name, n.name) > (?, ?){among} AND instr(lower(n.name), lower(?)) > 0 "
                "ORDER BY c.name, n.name LIMIT ?",
                (behind, name, *chosen, holding, limit),
            ).fetchall()
        return [summary_of(row) for row in rows]

    def find(self, collection: str, *, document_id: str = "", name: str = "") -> DocumentSummary | None:
        with self.database.reading() as transaction:
            return find_name(transaction, collection, document_id, name)

    def content(self, collection: str, document_id: str) -> Extracted:
        with self.database.reading() as transaction:
            content = content_of(transaction, document_key(transaction, collection, document_id))
        assert content is not None  # both were read in one transaction
        return content

    def text(self, collection: str, document_id: str, start: int, end: int) -> str:
        with self.database.reading() as transaction:
            key = document_key(transaction, collection, document_id)
            query = "SELECT substr(text, ?, ?) FROM documents WHERE key = ?"
            return str(transaction.execute(query, (start + 1, end - start, key)).fetchone()[0])

    def original(self, collection: str, document_id: str) -> Original:
        with self.database.reading() as transaction:
            key = document_key(transaction, collection, document_id)
            query = (
                "SELECT o.data, d.pages FROM documents d LEFT JOIN originals o ON o.document = d.key WHERE d.key = ?"
            )
            data, pages = transaction.execute(query, (key,)).fetchone()
        return Original(data, [Page(*one) for one in json.loads(pages)])

    # Searching

    def change(self) -> int:
        with self.database.reading() as transaction:
            return int(transaction.execute("SELECT coalesce(max(number), 0) FROM changes").fetchone()[0])

    def changes(self, state: int, since: int) -> list[Change] | None:
        with self.database.reading() as transaction:
            oldest = transaction.execute("SELECT min(number) FROM changes").fetchone()[0]
            if oldest is not None and oldest > since + 1:
                return None
            rows = transaction.execute(
                'SELECT "first", "last", removed FROM changes WHERE number > ? AND state = ? AND "first" IS NOT NULL '
                "ORDER BY number",
                (since, state),
            ).fetchall()
        return [Change(first, last, bool(removed)) for first, last, removed in rows]

    def passage_numbers(self, view: View) -> Numbers:
        with self.database.reading() as transaction:
            rows = transaction.execute(
                "SELECT c.id FROM (SELECT DISTINCT document FROM names WHERE state = ?) n "
                "JOIN chunks c ON c.document = n.document AND c.edition = ? ORDER BY c.id",
                (view.state, view.edition.id),
            )
            return numpy.fromiter((row[0] for row in rows), dtype=numpy.int64)

    def passages_of(self, view: View, documents: Sequence[str], metadata: Mapping[str, str]) -> list[int]:
        named = list(documents)
        which = " FROM names n JOIN documents d ON d.key = n.document WHERE n.state = ?"
        values: list[Any] = [view.state]
        with self.database.reading() as transaction:
            if documents:
                which += f" AND (n.name{transaction.among} OR d.id{transaction.among})"
                values += [named, named]
            for key, value in metadata.items():
                path = "$." + json.dumps(key)
                which += " AND coalesce(json_extract(n.metadata, ?), json_extract(d.metadata, ?)) = ?"
                values += [path, path, value]
            known = {name for row in transaction.execute("SELECT n.name, d.id" + which, values) for name in row}
            missing = next((one for one in documents if one not in known), None)
            if missing is not None and not metadata:
                raise UnknownDocument(missing, view.collection)
            query = "SELECT id FROM chunks WHERE edition = ? AND document IN (SELECT d.key" + which + ")"
            return [row[0] for row in transaction.execute(query, [view.edition.id, *values])]

    def lexical(
        self, view: View, terms: Sequence[str], count: int, only: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """In a large collection the terms that most passages hold are left out, as long as rarer ones remain."""
        with self.database.reading() as transaction:
            return transaction.lexical(view, terms, count, only)

    def vectors(self, numbers: Sequence[int]) -> dict[int, Stored]:
        with self.database.reading() as transaction:
            return transaction.vectors(numbers)

    def passages(self, view: View, numbers: Sequence[int]) -> dict[int, Passage]:
        with self.database.reading() as transaction:
            rows = transaction.execute(
                "SELECT c.id, d.id, (SELECT min(name) FROM names WHERE state = ? AND document = d.key), c.page, "
                'c."start", c."end", c.text, c.heading, d.key FROM chunks c JOIN documents d ON d.key = c.document '
                f"WHERE c.id{transaction.among}",
                (view.state, list(numbers)),
            ).fetchall()
            found = {}
            for *fields, key in rows:
                if fields[2] is not None:  # deleted from this collection a moment ago
                    blocks = transaction.execute(
                        BLOCKS + ' WHERE document = ? AND "start" < ? AND "end" > ? AND "start" >= '
                        '(SELECT coalesce(max("start"), 0) FROM blocks WHERE document = ? AND "start" <= ?) '
                        'ORDER BY "start"',
                        (key, fields[5], fields[4], key, fields[4]),
                    ).fetchall()
                    found[fields[0]] = replace(Passage(*fields), blocks=tuple(map(block, blocks)))
        return found

    def text_between(self, number: int, start: int, end: int) -> str:
        with self.database.reading() as transaction:
            row = transaction.execute(
                "SELECT substr(d.text, ?, ?) FROM chunks c JOIN documents d ON d.key = c.document WHERE c.id = ?",
                (start + 1, end - start, number),
            ).fetchone()
        return str(row[0]) if row else ""

    # What is remembered

    def recall(self, view: View) -> str | None:
        with self.database.reading() as transaction:
            row = transaction.execute("SELECT remembered FROM states WHERE id = ?", (view.state,)).fetchone()
        return row[0] if row else None

    def remember(self, view: View, value: str) -> None:
        with self.database.writing() as transaction:
            transaction.execute("UPDATE states SET remembered = ? WHERE id = ?", (value, view.state))


# Within a transaction


def _view(transaction: Transaction, collection: str) -> View:
    view = view_of(transaction, collection)
    if view is None:
        others = [row[0] for row in transaction.execute("SELECT name FROM collections ORDER BY name")]
        raise EmptyCollection(collection, others)
    return view


def _view_to_write(transaction: Transaction, collection: str, edition: Edition) -> View:
    """The collection, which is made where it is not there; NAME@next always as a copy of NAME, so that a promotion
    knows what was changed in either."""
    stored = current_edition(transaction)
    if stored is not None and stored.embedder != edition.embedder:
        raise OtherEmbedder(stored.embedder, edition.embedder)
    if stored is None:
        stored = new_edition(transaction, edition)
        put_fact(transaction, "edition", str(stored.id))
    if (view := view_of(transaction, collection)) is not None:
        return view
    if collection.endswith(NEXT) and (live := view_of(transaction, collection.removesuffix(NEXT))) is not None:
        return copy_to_next(transaction, live)
    return new_collection(transaction, collection, stored)
