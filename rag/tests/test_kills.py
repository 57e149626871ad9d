"""Killed at any moment of ingestion: the store opens, and every document is there whole or not at all.

`RAG_TEST_KILLS` sets how often it is killed; the figure in docs/reference/documents.md is of 100 times.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy
from ingesting import Digests, text_of, vector_of

from rag_service.indexing.chunk import chunk
from rag_service.language import terms_of
from rag_service.store.faiss_index import Index
from rag_service.store.sqlite import SqliteStore
from rag_service.store.sqlite_transaction import words_table

KILLS = int(os.environ.get("RAG_TEST_KILLS", "12"))


def test_a_kill_at_any_moment_leaves_every_document_whole_or_absent(tmp_path: Path) -> None:
    store_path, promised_path = tmp_path / "data" / "store.db", tmp_path / "promised"
    promised_path.touch()
    choose = random.Random(4)
    attempts = 0
    with ingesting(store_path, promised_path) as begin:
        # As often as it takes, on a slow machine, to do work in between.
        while attempts < KILLS or len(promised_path.read_text().splitlines()) <= KILLS:
            attempts += 1
            process = begin(attempts)
            time.sleep(choose.uniform(0.0, 0.3))
            os.kill(process, signal.SIGKILL)
            gone(process)
            check(store_path, promised_path)


@contextmanager
def ingesting(store_path: Path, promised_path: Path) -> Iterator[object]:
    command = [sys.executable, str(Path(__file__).parent / "ingesting.py"), str(store_path), str(promised_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", "tests"])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None

        def begin(seed: int) -> int:
            nursery.stdin.write(f"{seed}\n")  # type: ignore[union-attr]
            nursery.stdin.flush()  # type: ignore[union-attr]
            return int(nursery.stdout.readline())  # type: ignore[union-attr]

        yield begin
        nursery.stdin.close()


def gone(process: int) -> None:
    """Waits until the kernel has taken the process's locks and files away."""
    while Path(f"/proc/{process}").exists() if Path("/proc").exists() else _answers(process):
        time.sleep(0.001)


def _answers(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def check(store_path: Path, promised_path: Path) -> None:
    store = SqliteStore(store_path)
    try:
        check_tables(store)
        check_documents(store, promised_path)
    finally:
        store.close()


def check_tables(store: SqliteStore) -> None:
    """The file is sound, and no row of a table stands without its fellows."""
    with store.database.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        chunks = {row[0] for row in connection.execute("SELECT id FROM chunks")}
    if "c" not in store.collections():
        assert not chunks
        return
    view = store.view("c")
    with store.database.reading() as connection:
        words = words_table(view.state)
        connection.execute(f"INSERT INTO {words} ({words}) VALUES ('integrity-check')")
        terms = dict(connection.execute(f"SELECT rowid, terms FROM {words}").fetchall())
    passages = store.passages(view, sorted(chunks))
    assert {number: " ".join(terms_of(passage.text)) for number, passage in passages.items()} == terms
    vectors = store.vectors(sorted(chunks))
    assert set(store.passage_numbers(view).tolist()) == set(passages) == set(vectors) == chunks
    assert all(numpy.array_equal(vectors[number].vector, vector_of(passages[number].text)) for number in chunks)
    index = Index(store, Digests.dimension)
    assert index.size(view) == len(chunks)
    for number, stored in vectors.items():
        assert index.search(view, stored.vector, 1)[0][0] == number


def check_documents(store: SqliteStore, promised_path: Path) -> None:
    """Each document is one version from end to end, with all its passages, and no older than was promised."""
    promised = dict(line.split() for line in promised_path.read_text().splitlines()) if promised_path.exists() else {}
    stored: dict[str, int] = {}
    for document in store.documents():
        extracted = store.content("c", document.id)
        [(number, version)] = set(re.findall(r"document (\d+) in version (\d+)", extracted.text))
        assert extracted.text == text_of(int(number), int(version))
        assert document.name == f"{number}.txt"
        assert document.passages == len(chunk(extracted, Digests().count, 40, 5))
        stored[number] = int(version)
    for number, version in promised.items():
        if version == "0":
            continue  # deleted; a later version may be there already
        # One more change may have happened after the last promise: a newer version, or the deletion.
        assert stored.get(number, int(version)) >= int(version)
    missing = [number for number, version in promised.items() if version != "0" and number not in stored]
    assert len(missing) <= 1
    with promised_path.open("a") as file:  # seen once; the next kill has a change of its own
        file.writelines(f"{number} 0\n" for number in missing)
