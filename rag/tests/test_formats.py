"""What an earlier release kept is read, and moves from one store to the other."""

from __future__ import annotations

import gzip
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from storing import put

from rag_service import __main__
from rag_service.errors import StoreDamaged, StoreInUse, StoreTooNew
from rag_service.language import terms_of
from rag_service.store.faiss_index import Index
from rag_service.store.move import move
from rag_service.store.postgres import PostgresStore
from rag_service.store.sql import SqlStore
from rag_service.store.sqlite import SqliteStore

QUESTION = "What does a corked wine smell of?"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The store of schema 2."""
    path = tmp_path / "store.db"
    path.write_bytes(gzip.decompress((Path(__file__).parent / "data" / "store-2.db.gz").read_bytes()))
    return path


@pytest.fixture
def target(url: str) -> Iterator[PostgresStore]:
    with closing(PostgresStore(url)) as store:
        yield store


def seen(store: SqlStore) -> list[object]:
    """What a reader can ask of it."""
    view = store.view("default")
    documents = list(store.documents("default"))
    words = [(number, round(score, 4)) for number, score in store.lexical(view, terms_of(QUESTION), 5)]
    passages = store.passages(view, [number for number, _ in words])
    return [store.collections(), documents, [store.content("default", one.id) for one in documents], words, passages]


def test_a_store_of_schema_2_is_read(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        assert [one.name for one in store.documents("default")] == ["faults.md", "glossary.txt"]
        view = store.view("default")
        [(number, _), *_] = store.lexical(view, terms_of(QUESTION), 5)
        assert "wet cardboard" in store.passages(view, [number])[number].text
        vector = store.vectors([number])[number].vector
        assert Index(store, len(vector)).search(view, vector, 1)[0][0] == number


def test_a_move_keeps_all_of_it_and_the_store_goes_on(path: Path, target: PostgresStore) -> None:
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    counts = move(path, target, "there")
    assert (counts["documents"], counts["collections"]) == (2, 1)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    with closing(SqliteStore(path)) as source:
        assert seen(target) == seen(source)
        view = source.view("default")
        last = int(source.passage_numbers(view)[-1])
        theirs, ours = (store.vectors([last])[last] for store in (source, target))
        assert ours.signs == theirs.signs
        assert ours.vector == pytest.approx(theirs.vector, abs=1e-3)
        assert Index(target, len(ours.vector)).search(target.view("default"), ours.vector, 1)[0][0] == last
        for store in (source, target):
            store.delete("default", store.find("default", name="faults.md").id)  # type: ignore[union-attr]
        assert seen(target) == seen(source)


def test_numbers_of_passages_that_were_deleted_are_not_used_again(path: Path, target: PostgresStore) -> None:
    with closing(SqliteStore(path)) as source:
        last = int(source.passage_numbers(source.view("default"))[-1])
        for one in source.documents("default"):
            source.delete("default", one.id)
    move(path, target, "there")
    put(target)
    assert min(target.passage_numbers(target.view("c"))) > last


def test_a_second_move_does_nothing_and_another_stores_documents_stay(
    path: Path, target: PostgresStore, tmp_path: Path
) -> None:
    move(path, target, "there")
    assert move(path, target, "there") == {}
    with closing(SqliteStore(tmp_path / "other.db")) as other:
        put(other)
    with pytest.raises(StoreInUse, match="there already has documents, and not those of"):
        move(tmp_path / "other.db", target, "there")


def test_a_move_that_is_killed_leaves_nothing(
    path: Path, target: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rag_service.store.move._number_on", killed)
        with pytest.raises(KeyboardInterrupt):
            move(path, target, "there")
    assert target.collections() == {}
    assert move(path, target, "there")["documents"] == 2


@pytest.mark.parametrize(("version", "error"), [(1, StoreDamaged), (99, StoreTooNew)])
def test_another_schema_is_refused(version: int, error: type[Exception], path: Path, target: PostgresStore) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(error):
        move(path, target, "there")


def test_the_command(path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("RAG_DATA_DIR", str(path.parent))
    assert __main__.main(["move"]) == 2
    assert "RAG_STORE is not set" in capsys.readouterr().err
    monkeypatch.setenv("RAG_STORE", url.replace("postgres:@", "postgres@"))
    assert __main__.main(["move"]) == 0
    assert "documents            2" in capsys.readouterr().out
