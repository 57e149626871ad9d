"""A store's contents are kept and put back whole, while everybody goes on reading."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from test_store import TEXT, add, rows, unit

from rag_service.errors import BadSnapshot, BadSnapshotName, UnknownSnapshot
from rag_service.index import Index
from rag_service.snapshots import Snapshots
from rag_service.store import Store


@pytest.fixture
def snapshots(store: Store, tmp_path: Path) -> Snapshots:
    return Snapshots(store, tmp_path / "snapshots")


def test_what_was_kept_comes_back_whole(store: Store, snapshots: Snapshots) -> None:
    add(store, "1", "a.txt")
    kept = snapshots.take("before")
    before = rows(store)
    add(store, "2", "a.txt")
    add(store, "3", "b.txt")

    assert snapshots.restore("before") == kept
    assert (kept.documents, kept.passages, kept.embedder) == (1, 2, "e")
    assert [document.id for document in store.documents()] == ["1"]
    assert rows(store) == before
    assert len(store.search_text("c", ["sweet"], 9)) == 1


def test_an_index_in_memory_follows_a_restore_and_never_takes_one_passage_for_another(
    store: Store, snapshots: Snapshots
) -> None:
    index = Index(store, 4)
    add(store, "1", "a.txt")
    snapshots.take("before")
    store.add("c", "2", "b.txt", 9, store.content("c", "1"), [], unit(), "e")
    add(store, "3", "c.txt")
    first = {number for number, _ in index.search("c", unit(0)[0], 9)}
    snapshots.restore("before")

    add(store, "4", "d.txt")  # without a search in between: the index has not noticed the restore

    second = {number for number, _ in index.search("c", unit(0)[0], 9)}
    assert len(first) == len(second) == 4
    assert {passage.document for passage in store.passages(sorted(second)).values()} == {"a.txt", "d.txt"}
    assert len(first & second) == 2  # a number of c.txt has not become one of d.txt


def test_a_snapshot_of_the_same_name_is_replaced_and_one_can_be_forgotten(store: Store, snapshots: Snapshots) -> None:
    snapshots.take("one")
    add(store, "1")
    snapshots.take("one")
    snapshots.take("two")

    assert {(one.name, one.documents) for one in snapshots.all()} == {("one", 1), ("two", 1)}
    snapshots.delete("two")
    assert [one.name for one in snapshots.all()] == ["one"]
    with pytest.raises(UnknownSnapshot, match="two"):
        snapshots.restore("two")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\x00", "-x" * 40, " a", "ü" * 65])
def test_a_name_that_is_no_file_name_is_refused(name: str, snapshots: Snapshots) -> None:
    with pytest.raises(BadSnapshotName):
        snapshots.take(name)
    with pytest.raises(BadSnapshotName):
        snapshots.restore(name)


def test_a_damaged_snapshot_is_refused_and_changes_nothing(store: Store, snapshots: Snapshots, tmp_path: Path) -> None:
    for number in range(40):
        add(store, str(number), f"{number}.txt")
    snapshots.take("whole")
    file = tmp_path / "snapshots" / "whole.db"
    damaged = bytearray(file.read_bytes())
    damaged[8192:24576] = b"\x5a" * 16384
    file.write_bytes(damaged)
    (tmp_path / "snapshots" / "no-database.db").write_bytes(b"not a database" * 100)
    sqlite3.connect(tmp_path / "snapshots" / "other.db").execute("CREATE TABLE t (a)").connection.close()
    before, generation = rows(store), store.generation()

    for name in ("whole", "no-database", "other"):
        with pytest.raises(BadSnapshot):
            snapshots.restore(name)

    assert (rows(store), store.generation()) == (before, generation)


def test_readers_see_the_old_or_the_new_and_never_wait_for_a_restore(store: Store, snapshots: Snapshots) -> None:
    for number in range(30):
        add(store, f"old{number}", f"{number}.txt")
    snapshots.take("old")
    for number in range(20):
        add(store, f"new{number}", f"{number}.txt")
    for number in range(20, 30):
        store.delete("c", f"old{number}")
    seen: set[tuple[str, ...]] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(tuple(document.id for document in store.documents()))

    readers = [threading.Thread(target=read) for _ in "12"]
    for reader in readers:
        reader.start()
    for _ in range(5):
        snapshots.restore("old")
    stop.set()
    for reader in readers:
        reader.join()

    old = tuple(sorted((f"old{number}" for number in range(30)), key=lambda one: f"{one[3:]}.txt"))
    new = tuple(sorted((f"new{number}" for number in range(20)), key=lambda one: f"{one[3:]}.txt"))
    assert old in seen
    assert seen <= {old, new}


def test_a_kill_during_a_restore_leaves_the_old_or_the_new(store: Store, snapshots: Snapshots, tmp_path: Path) -> None:
    for number in range(200):
        add(store, f"old{number}", f"{number}.txt")
    snapshots.take("old")
    add(store, "new", "new.txt")
    before, after = (
        rows(store),
        {table: count - (2 if table != "documents" else 1) for table, count in rows(store).items()},
    )
    restoring = (
        "import sys; from pathlib import Path; from rag_service.store import Store; store = Store(Path(sys.argv[1]))\n"
        "print('go', flush=True)\nwhile True: store.take_over(Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", restoring, str(store._path), str(tmp_path / "snapshots" / "old.db")]
    for wait in (0.0, 0.004, 0.011):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}) as process:
            assert process.stdout is not None
            process.stdout.readline()
            threading.Event().wait(wait)
            process.send_signal(signal.SIGKILL)
        again = Store(store._path)
        with again._reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert rows(again) in (before, after)
        add(again, "later", "later.txt")  # the lock is free
        again.delete("c", "later")
        again.close()


def test_what_a_killed_restore_left_behind_is_not_mixed_into_the_next(
    store: Store, snapshots: Snapshots, tmp_path: Path
) -> None:
    add(store, "0", "0.txt")
    store.copy_to(tmp_path / "half.db")
    for number in range(1, 150):
        add(store, str(number), f"{number}.txt")
    snapshots.take("kept")
    before = rows(store)
    with closing(sqlite3.connect(tmp_path / "half.db", isolation_level=None)) as half:
        half.execute("PRAGMA cache_size = 1")
        half.execute("BEGIN")
        half.execute("UPDATE documents SET text = hex(randomblob(50000))")
        incoming = store._path.with_name("incoming.db")
        incoming.write_bytes((tmp_path / "half.db").read_bytes())
        # SQLite would play it back into whatever is next called incoming.db.
        incoming.with_name("incoming.db-journal").write_bytes((tmp_path / "half.db-journal").read_bytes())
        half.execute("ROLLBACK")
    store.delete("c", "7")

    snapshots.restore("kept")

    assert rows(store) == before
    with store._reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert list(store._path.parent.glob("incoming*")) == []


def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old" / "store.db"
    first = Store(path)
    add(first)
    first.close()
    with sqlite3.connect(path) as connection:
        for table, column in (("documents", "headings"), ("documents", "origin"), ("chunks", "heading")):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.close()

    opened = Store(path)

    assert opened.content("c", "1").text == TEXT
    assert opened.documents()[0].origin is None
    add(opened, "2", "b.txt")
    opened.close()
