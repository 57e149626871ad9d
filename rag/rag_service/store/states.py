"""What the names of collections stand for, within a transaction: states are copied, changed, merged and retired."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from rag_service.store.database import Transaction
from rag_service.store.protocol import NEXT, Edition, View


def edition_of(transaction: Transaction, number: int) -> Edition:
    embedder, found, chunk_tokens, overlap_tokens = transaction.execute(
        "SELECT embedder, found, chunk_tokens, overlap_tokens FROM editions WHERE id = ?", (number,)
    ).fetchone()
    name, revision = json.loads(found)
    return Edition(embedder, (name, revision), chunk_tokens, overlap_tokens, number)


def view_of(transaction: Transaction, collection: str) -> View | None:
    row = transaction.execute(
        "SELECT s.id, s.edition FROM collections c JOIN states s ON s.id = c.state WHERE c.name = ?", (collection,)
    ).fetchone()
    return View(collection, row[0], edition_of(transaction, row[1])) if row else None


def new_state(transaction: Transaction, edition: int, copy_of: int | None = None, words: bool = True) -> int:
    """A state with the names of another, and what was remembered of it with the same embedder; with its passages' terms
    too, where somebody will search it."""
    remembered = (
        "(SELECT s.remembered FROM states s JOIN editions e ON e.id = s.edition WHERE s.id = ? "
        "AND e.embedder = (SELECT embedder FROM editions WHERE id = ?))"
    )
    [state] = transaction.execute(
        f"INSERT INTO states (edition, remembered) VALUES (?, {remembered}) RETURNING id", (edition, copy_of, edition)
    ).fetchone()
    if copy_of is not None:
        transaction.execute(
            "INSERT INTO names SELECT ?, name, document, origin, metadata, added_at FROM names WHERE state = ?",
            (state, copy_of),
        )
    if words:
        transaction.add_words(state, edition)
    return int(state)


def new_collection(transaction: Transaction, name: str, edition: Edition) -> View:
    state = new_state(transaction, edition.id)
    transaction.execute("INSERT INTO collections VALUES (?, ?)", (name, state))
    return View(name, state, edition)


def copy_to_next(transaction: Transaction, live: View) -> View:
    """NAME@next as a copy of NAME, in place of an earlier one, with another copy to compare with when it is merged."""
    name = live.collection + NEXT
    base = new_state(transaction, live.edition.id, copy_of=live.state, words=False)
    transaction.execute("UPDATE states SET retired = 0 WHERE id = ?", (base,))
    state = new_state(transaction, live.edition.id, copy_of=live.state)
    transaction.execute("UPDATE states SET base = ? WHERE id = ?", (base, state))
    retire(transaction, name)
    transaction.execute("INSERT INTO collections VALUES (?, ?)", (name, state))
    log_change(transaction, state)
    return View(name, state, live.edition)


def merge(transaction: Transaction, live: View | None, after: View) -> None:
    """Brings what others changed in the live state, since `after` was copied from it, into `after`."""
    base = transaction.execute("SELECT base FROM states WHERE id = ?", (after.state,)).fetchone()[0]
    now = live.state if live else None
    names = "SELECT name, document, origin, metadata FROM names WHERE state = ?"
    for name, key, origin, metadata in transaction.execute(f"{names} EXCEPT {names}", (now, base)).fetchall():
        set_name(transaction, after, name, key, origin, json.loads(metadata))
    gone = "SELECT name FROM names WHERE state = ? EXCEPT SELECT name FROM names WHERE state = ?"
    for (name,) in transaction.execute(gone, (base, now)).fetchall():
        remove_name(transaction, after, name)
    transaction.execute("UPDATE states SET base = NULL WHERE id = ?", (after.state,))


def retire(transaction: Transaction, name: str) -> None:
    """Takes a collection's name away; its state is deleted when no request can still use it."""
    row = transaction.execute("DELETE FROM collections WHERE name = ? RETURNING state", (name,)).fetchone()
    if row:
        transaction.execute("UPDATE states SET retired = ?, base = NULL WHERE id = ?", (time.time(), row[0]))


def rename(transaction: Transaction, old: str, new: str) -> None:
    transaction.execute("UPDATE collections SET name = ? WHERE name = ?", (new, old))


def drop_if_empty(transaction: Transaction, view: View) -> None:
    if not transaction.execute("SELECT 1 FROM names WHERE state = ? LIMIT 1", (view.state,)).fetchone():
        retire(transaction, view.collection)


def set_name(
    transaction: Transaction,
    view: View,
    name: str,
    key: int,
    origin: str | None,
    metadata: Mapping[str, str],
    added_at: str = "",
) -> None:
    """Lets a name of a state stand for a content; the index and the words of the state follow."""
    there = transaction.execute("SELECT 1 FROM names WHERE state = ? AND document = ?", (view.state, key)).fetchone()
    added_at = added_at or datetime.now(UTC).isoformat(timespec="seconds")
    before = transaction.execute(
        "SELECT document FROM names WHERE state = ? AND name = ?", (view.state, name)
    ).fetchone()
    if before and before[0] != key:
        remove_name(transaction, view, name)
    transaction.execute(
        "INSERT INTO names VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (state, name) DO UPDATE SET "
        "document = excluded.document, origin = excluded.origin, metadata = excluded.metadata, "
        "added_at = excluded.added_at",
        (view.state, name, key, origin, json.dumps(dict(metadata)), added_at),
    )
    chunks = chunks_of(transaction, key, view.edition.id)
    if there or chunks is None:
        log_change(transaction, view.state)
        return
    transaction.add_words(view.state, view.edition.id, key)
    log_change(transaction, view.state, chunks)


def remove_name(transaction: Transaction, view: View, name: str) -> None:
    row = transaction.execute(
        "DELETE FROM names WHERE state = ? AND name = ? RETURNING document", (view.state, name)
    ).fetchone()
    if row is None:
        return
    [key] = row
    if transaction.execute("SELECT 1 FROM names WHERE state = ? AND document = ?", (view.state, key)).fetchone():
        log_change(transaction, view.state)
        return
    chunks = chunks_of(transaction, key, view.edition.id)
    if chunks:
        transaction.remove_words(view.state, *chunks)
        log_change(transaction, view.state, chunks, removed=True)
    if not transaction.execute("SELECT 1 FROM names WHERE document = ?", (key,)).fetchone():
        transaction.execute("DELETE FROM documents WHERE key = ?", (key,))  # no state of any collection holds it


def chunks_of(transaction: Transaction, key: int, edition: int) -> tuple[int, int] | None:
    """The first and the last passage of a document in an edition; they were stored at once, so all between are too."""
    first, last = transaction.execute(
        "SELECT min(id), max(id) FROM chunks WHERE document = ? AND edition = ?", (key, edition)
    ).fetchone()
    return None if first is None else (first, last)


def log_change(
    transaction: Transaction, state: int | None, chunks: tuple[int, int] | None = None, removed: bool = False
) -> None:
    first, last = chunks or (None, None)
    transaction.execute(
        'INSERT INTO changes (state, "first", "last", removed) VALUES (?, ?, ?, ?)', (state, first, last, removed)
    )


def put_fact(transaction: Transaction, name: str, value: str) -> None:
    transaction.execute(
        "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def fact(transaction: Transaction, name: str) -> str | None:
    row = transaction.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def current_edition(transaction: Transaction) -> Edition | None:
    """None while no collection holds a document: the next one begins another edition."""
    if not transaction.execute("SELECT 1 FROM collections LIMIT 1").fetchone():
        return None
    current = fact(transaction, "edition")
    return edition_of(transaction, int(current)) if current else None


def new_edition(transaction: Transaction, edition: Edition) -> Edition:
    [number] = transaction.execute(
        "INSERT INTO editions (embedder, found, chunk_tokens, overlap_tokens) VALUES (?, ?, ?, ?) RETURNING id",
        (edition.embedder, json.dumps(edition.found), edition.chunk_tokens, edition.overlap_tokens),
    ).fetchone()
    return replace(edition, id=number)


def lacking(transaction: Transaction, edition: Edition) -> list[tuple[int, str]]:
    return transaction.execute(
        "SELECT d.key, min(n.name) FROM collections c JOIN names n ON n.state = c.state "
        "JOIN documents d ON d.key = n.document WHERE NOT EXISTS "
        "(SELECT 1 FROM chunks WHERE document = d.key AND edition = ?) GROUP BY d.key ORDER BY 2",
        (edition.id,),
    ).fetchall()
