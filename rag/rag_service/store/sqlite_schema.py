"""The tables of the SQLite store, made, checked and brought up to date when it is opened."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from rag_service.errors import StoreDamaged, StoreTooNew
from rag_service.terms import terms_of

VERSION = 2

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
-- How passages are made: another embedder, passage size or reader makes another edition.
CREATE TABLE editions (
    id INTEGER PRIMARY KEY, embedder TEXT NOT NULL, found TEXT NOT NULL, chunk_tokens INTEGER NOT NULL,
    overlap_tokens INTEGER NOT NULL
);
-- A state is what a collection's name stands for: which documents under which names, in which edition. `base` is the
-- state that a copy was made from, as it was then; `retired` is when the last name left it, in seconds of the epoch.
CREATE TABLE states (
    id INTEGER PRIMARY KEY AUTOINCREMENT, edition INTEGER NOT NULL REFERENCES editions, base INTEGER, retired REAL,
    remembered TEXT
);
CREATE TABLE collections (name TEXT PRIMARY KEY, state INTEGER NOT NULL UNIQUE REFERENCES states);
-- A content is stored once, whatever its names; `id` is the digest of the file's bytes.
CREATE TABLE documents (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL, reader INTEGER NOT NULL, bytes INTEGER NOT NULL, text TEXT NOT NULL,
    characters INTEGER NOT NULL, pages TEXT NOT NULL, warnings TEXT NOT NULL, metadata TEXT NOT NULL,
    UNIQUE (id, reader)
);
-- The file itself, of PDFs: images of its pages are drawn from it.
CREATE TABLE originals (
    document INTEGER PRIMARY KEY REFERENCES documents ON DELETE CASCADE, data BLOB NOT NULL
);
CREATE TABLE names (
    state INTEGER NOT NULL REFERENCES states ON DELETE CASCADE, name TEXT NOT NULL,
    document INTEGER NOT NULL REFERENCES documents, origin TEXT, metadata TEXT NOT NULL, added_at TEXT NOT NULL,
    PRIMARY KEY (state, name)
) WITHOUT ROWID;
CREATE INDEX names_of_document ON names (document, state);
CREATE TABLE blocks (
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE, "start" INTEGER NOT NULL, "end" INTEGER NOT NULL,
    kind TEXT NOT NULL, page INTEGER, level INTEGER NOT NULL, label TEXT NOT NULL, names TEXT NOT NULL,
    PRIMARY KEY (document, "start")
) WITHOUT ROWID;
-- AUTOINCREMENT: a passage's number is never used again, so an index that lags behind cannot cite the wrong one.
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    edition INTEGER NOT NULL REFERENCES editions, "start" INTEGER NOT NULL, "end" INTEGER NOT NULL, page INTEGER,
    heading TEXT, text TEXT NOT NULL, terms TEXT NOT NULL
);
CREATE INDEX chunks_of_document ON chunks (document, edition);
-- `signs`: for the token-level comparison, the signs of the passage's token vectors, token after token.
CREATE TABLE vectors (
    chunk INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE, vector BLOB NOT NULL, signs BLOB NOT NULL
);
-- What an index has to do to follow a state: passages `first` to `last` came, or were `removed`.
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, state INTEGER, "first" INTEGER, "last" INTEGER, removed INTEGER NOT NULL
);
INSERT INTO facts VALUES ('store', lower(hex(randomblob(16))));
"""


def open_file(path: Path) -> None:
    """Makes the file where there is none, whole or not at all, and brings an older one up to date. Raises StoreDamaged,
    StoreTooNew."""
    if not path.exists():
        _make(path)
        return
    if path.stat().st_size == 0:
        raise StoreDamaged(path, "the file is empty")
    try:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            version = _version(connection)
            if version > VERSION:
                raise StoreTooNew(path, version, VERSION)
            if version == 1:
                _from_version_1(connection)
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(path, str(error)) from error


def words_table(state: int) -> str:
    """The full text of one state: its statistics are that collection's alone."""
    return f"words_{state:d}"


def make_words(connection: sqlite3.Connection, state: int) -> None:
    connection.execute(
        f"CREATE VIRTUAL TABLE {words_table(state)} USING fts5 (terms, tokenize = 'unicode61 remove_diacritics 2')"
    )


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    for leftover in path.parent.glob(f"{path.name}*.part*"):
        leftover.unlink(missing_ok=True)
    with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    partial.rename(path)


def _version(connection: sqlite3.Connection) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == 0 and not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone():
        raise sqlite3.DatabaseError("it is another program's database")
    return version or 1


def _from_version_1(connection: sqlite3.Connection) -> None:
    """The first version kept a text for each collection, no blocks but headings, and one full text for all."""
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) == VERSION:  # another process was quicker
        connection.execute("ROLLBACK")
        return
    old = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    columns = {row[1] for row in connection.execute("PRAGMA table_info(documents)")}
    for trigger in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{trigger[0]}"')
    connection.execute("DROP INDEX IF EXISTS chunks_of_document")
    for table in ("facts", "documents", "chunks", "vectors", "tokens"):
        if table in old:
            connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in _SCHEMA.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    if connection.execute("SELECT 1 FROM old_documents").fetchone():
        _copy_version_1(connection, "tokens" in old, "headings" in columns, "origin" in columns)
    for table in ("full_text", *(f"old_{table}" for table in ("vectors", "tokens", "chunks", "documents", "facts"))):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _copy_version_1(connection: sqlite3.Connection, has_tokens: bool, has_headings: bool, has_origin: bool) -> None:
    embedder = connection.execute("SELECT value FROM old_facts WHERE name = 'embedder'").fetchone()[0]
    found = connection.execute("SELECT value FROM old_facts WHERE name = ?", (f"found {embedder}",)).fetchone()
    connection.execute(
        "INSERT INTO editions VALUES (1, ?, ?, 160, 32)", (embedder, found[0] if found else '[null, ""]')
    )
    connection.execute("INSERT INTO facts VALUES ('edition', '1')")
    states: dict[str, int] = {}
    heading, origin = "headings" if has_headings else "'[]'", "origin" if has_origin else "NULL"
    rows = connection.execute(
        f"SELECT key, collection, id, name, bytes, text, pages, {heading}, {origin}, added_at FROM old_documents"
    ).fetchall()
    for key, collection, document_id, name, size, text, pages, headings, where, added_at in rows:
        if collection not in states:
            states[collection] = int(connection.execute("INSERT INTO states (edition) VALUES (1)").lastrowid or 0)
            connection.execute("INSERT INTO collections VALUES (?, ?)", (collection, states[collection]))
            make_words(connection, states[collection])
        state = states[collection]
        known = connection.execute("SELECT key FROM documents WHERE id = ?", (document_id,)).fetchone()
        document = known[0] if known else key
        if not known:
            connection.execute(
                "INSERT INTO documents VALUES (?, ?, 1, ?, ?, ?, ?, '[]', '{}')",
                (key, document_id, size, text, len(text), pages),
            )
            connection.executemany(
                "INSERT INTO blocks VALUES (?, ?, ?, ?, NULL, ?, '', '[]')",
                [(key, *block) for block in _blocks_of(text, json.loads(headings))],
            )
            _copy_chunks(connection, key, has_tokens)
        connection.execute("INSERT INTO names VALUES (?, ?, ?, ?, '{}', ?)", (state, name, document, where, added_at))
        chunks = connection.execute("SELECT id, text FROM chunks WHERE document = ?", (document,)).fetchall()
        connection.executemany(
            f"INSERT INTO {words_table(state)} (rowid, terms) VALUES (?, ?)",
            [(number, " ".join(terms_of(words))) for number, words in chunks],
        )


def _copy_chunks(connection: sqlite3.Connection, key: int, has_tokens: bool) -> None:
    joined = "LEFT JOIN old_tokens t ON t.chunk = c.id" if has_tokens else ""
    rows = connection.execute(
        f'SELECT c.id, c."start", c."end", c.page, c.heading, v.vector, {"t.signs" if has_tokens else "NULL"} '
        f"FROM old_chunks c JOIN old_vectors v ON v.chunk = c.id {joined} WHERE c.document = ? ORDER BY c.id",
        (key,),
    ).fetchall()
    text = connection.execute("SELECT text FROM documents WHERE key = ?", (key,)).fetchone()[0]
    for number, start, end, page, heading, vector, signs in rows:
        words = text[start:end]
        connection.execute(
            "INSERT INTO chunks VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?)",
            (number, key, start, end, page, heading, words, " ".join(terms_of(words))),
        )
        connection.execute("INSERT INTO vectors VALUES (?, ?, ?)", (number, vector, signs or b""))


def _blocks_of(text: str, headings: list[list[object]]) -> list[tuple[int, int, str, int]]:
    """Paragraphs stood apart by an empty line; which of them are headings was stored."""
    levels = {int(str(start)): int(str(level)) for level, start, _ in headings}
    blocks, place = [], 0
    for part in re.split(r"(\n\s*\n)", text):
        words = part.strip()
        if words:
            start = place + part.index(words[0])
            kind = "heading" if start in levels else "paragraph"
            blocks.append((start, start + len(words), kind, levels.get(start, 0)))
        place += len(part)
    return blocks
