"""What the names of collections stand for, within a transaction: states are copied, changed, merged and retired."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from rag_service.store.protocol import NEXT, Edition, View


def words_table(state: int) -> str:
    """The full text of one state: its statistics are that collection's alone."""
    return f"words_{state:d}"


def edition_of(connection: sqlite3.Connection, number: int) -> Edition:
    embedder, found, chunk_tokens, overlap_tokens = connection.execute(
        "SELECT embedder, found, chunk_tokens, overlap_tokens FROM editions WHERE id = ?", (number,)
    ).fetchone()
    name, revision = json.loads(found)
    return Edition(embedder, (name, revision), chunk_tokens, overlap_tokens, number)


def view_of(connection: sqlite3.Connection, collection: str) -> View | None:
    row = connection.execute(
        "SELECT s.id, s.edition FROM collections c JOIN states s ON s.id = c.state WHERE c.name = ?", (collection,)
    ).fetchone()
    return View(collection, row[0], edition_of(connection, row[1])) if row else None


def new_state(connection: sqlite3.Connection, edition: int, copy_of: int | None = None, words: bool = True) -> int:
    """A state with the names of another, and what was remembered of it with the same embedder; with its passages' terms
    too, where somebody will search it."""
    remembered = (
        "(SELECT s.remembered FROM states s JOIN editions e ON e.id = s.edition WHERE s.id = ? "
        "AND e.embedder = (SELECT embedder FROM editions WHERE id = ?))"
    )
    state = int(
        connection.execute(
            f"INSERT INTO states (edition, remembered) VALUES (?, {remembered})", (edition, copy_of, edition)
        ).lastrowid
        or 0
    )
    if copy_of is not None:
        connection.execute(
            "INSERT INTO names SELECT ?, name, document, origin, metadata, added_at FROM names WHERE state = ?",
            (state, copy_of),
        )
    if words:
        tokenizer = "tokenize = 'unicode61 remove_diacritics 2'"
        connection.execute(f"CREATE VIRTUAL TABLE {words_table(state)} USING fts5 (terms, {tokenizer})")
        connection.execute(
            f"INSERT INTO {words_table(state)} (rowid, terms) SELECT c.id, c.terms FROM "
            "(SELECT DISTINCT document FROM names WHERE state = ?) n "
            "JOIN chunks c ON c.document = n.document AND c.edition = ?",
            (state, edition),
        )
    return state


def new_collection(connection: sqlite3.Connection, name: str, edition: Edition) -> View:
    state = new_state(connection, edition.id)
    connection.execute("INSERT INTO collections VALUES (?, ?)", (name, state))
    return View(name, state, edition)


def copy_to_next(connection: sqlite3.Connection, live: View) -> View:
    """NAME@next as a copy of NAME, in place of an earlier one, with another copy to compare with when it is merged."""
    name = live.collection + NEXT
    base = new_state(connection, live.edition.id, copy_of=live.state, words=False)
    connection.execute("UPDATE states SET retired = 0 WHERE id = ?", (base,))
    state = new_state(connection, live.edition.id, copy_of=live.state)
    connection.execute("UPDATE states SET base = ? WHERE id = ?", (base, state))
    retire(connection, name)
    connection.execute("INSERT INTO collections VALUES (?, ?)", (name, state))
    log_change(connection, state)
    return View(name, state, live.edition)


def merge(connection: sqlite3.Connection, live: View | None, after: View) -> None:
    """Brings what others changed in the live state, since `after` was copied from it, into `after`."""
    base = connection.execute("SELECT base FROM states WHERE id = ?", (after.state,)).fetchone()[0]
    now = live.state if live else None
    names = "SELECT name, document, origin, metadata FROM names WHERE state = ?"
    for name, key, origin, metadata in connection.execute(f"{names} EXCEPT {names}", (now, base)).fetchall():
        set_name(connection, after, name, key, origin, json.loads(metadata))
    gone = "SELECT name FROM names WHERE state = ? EXCEPT SELECT name FROM names WHERE state = ?"
    for (name,) in connection.execute(gone, (base, now)).fetchall():
        remove_name(connection, after, name)
    connection.execute("UPDATE states SET base = NULL WHERE id = ?", (after.state,))


def retire(connection: sqlite3.Connection, name: str) -> None:
    """Takes a collection's name away; its state is deleted when no request can still use it."""
    row = connection.execute("DELETE FROM collections WHERE name = ? RETURNING state", (name,)).fetchone()
    if row:
        connection.execute("UPDATE states SET retired = ?, base = NULL WHERE id = ?", (time.time(), row[0]))


def rename(connection: sqlite3.Connection, old: str, new: str) -> None:
    connection.execute("UPDATE collections SET name = ? WHERE name = ?", (new, old))


def drop_if_empty(connection: sqlite3.Connection, view: View) -> None:
    if not connection.execute("SELECT 1 FROM names WHERE state = ? LIMIT 1", (view.state,)).fetchone():
        retire(connection, view.collection)


def set_name(
    connection: sqlite3.Connection,
    view: View,
    name: str,
    key: int,
    origin: str | None,
    metadata: Mapping[str, str],
    added_at: str = "",
) -> None:
    """Lets a name of a state stand for a content; the index and the words of the state follow."""
    there = connection.execute("SELECT 1 FROM names WHERE state = ? AND document = ?", (view.state, key)).fetchone()
    added_at = added_at or datetime.now(UTC).isoformat(timespec="seconds")
    before = connection.execute(
        "SELECT document FROM names WHERE state = ? AND name = ?", (view.state, name)
    ).fetchone()
    if before and before[0] != key:
        remove_name(connection, view, name)
    connection.execute(
        "INSERT OR REPLACE INTO names VALUES (?, ?, ?, ?, ?, ?)",
        (view.state, name, key, origin, json.dumps(dict(metadata)), added_at),
    )
    chunks = chunks_of(connection, key, view.edition.id)
    if there or chunks is None:
        log_change(connection, view.state)
        return
    connection.execute(
        f"INSERT INTO {words_table(view.state)} (rowid, terms) SELECT id, terms FROM chunks "
        "WHERE document = ? AND edition = ?",
        (key, view.edition.id),
    )
    log_change(connection, view.state, chunks)


def remove_name(connection: sqlite3.Connection, view: View, name: str) -> None:
    row = connection.execute(
        "DELETE FROM names WHERE state = ? AND name = ? RETURNING document", (view.state, name)
    ).fetchone()
    if row is None:
        return
    [key] = row
    if connection.execute("SELECT 1 FROM names WHERE state = ? AND document = ?", (view.state, key)).fetchone():
        log_change(connection, view.state)
        return
    chunks = chunks_of(connection, key, view.edition.id)
    if chunks:
        connection.execute(f"DELETE FROM {words_table(view.state)} WHERE rowid BETWEEN ? AND ?", chunks)
        log_change(connection, view.state, chunks, removed=True)
    if not connection.execute("SELECT 1 FROM names WHERE document = ?", (key,)).fetchone():
        connection.execute("DELETE FROM documents WHERE key = ?", (key,))  # no state of any collection holds it


def chunks_of(connection: sqlite3.Connection, key: int, edition: int) -> tuple[int, int] | None:
    """The first and the last passage of a document in an edition; they were stored at once, so all between are too."""
    first, last = connection.execute(
        "SELECT min(id), max(id) FROM chunks WHERE document = ? AND edition = ?", (key, edition)
    ).fetchone()
    return None if first is None else (first, last)


def log_change(
    connection: sqlite3.Connection, state: int | None, chunks: tuple[int, int] | None = None, removed: bool = False
) -> None:
    first, last = chunks or (None, None)
    connection.execute(
        'INSERT INTO changes (state, "first", "last", removed) VALUES (?, ?, ?, ?)', (state, first, last, removed)
    )


def fact(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def current_edition(connection: sqlite3.Connection) -> Edition | None:
    """None while no collection holds a document: the next one begins another edition."""
    if not connection.execute("SELECT 1 FROM collections LIMIT 1").fetchone():
        return None
    current = fact(connection, "edition")
    return edition_of(connection, int(current)) if current else None


def new_edition(connection: sqlite3.Connection, edition: Edition) -> Edition:
    number = connection.execute(
        "INSERT INTO editions (embedder, found, chunk_tokens, overlap_tokens) VALUES (?, ?, ?, ?)",
        (edition.embedder, json.dumps(edition.found), edition.chunk_tokens, edition.overlap_tokens),
    ).lastrowid
    return replace(edition, id=int(number or 0))


def lacking(connection: sqlite3.Connection, edition: Edition) -> list[tuple[int, str]]:
    return connection.execute(
        "SELECT d.key, min(n.name) FROM collections c JOIN names n ON n.state = c.state "
        "JOIN documents d ON d.key = n.document WHERE NOT EXISTS "
        "(SELECT 1 FROM chunks WHERE document = d.key AND edition = ?) GROUP BY d.key ORDER BY 2",
        (edition.id,),
    ).fetchall()
