"""Vectors that are compared inside PostgreSQL: as FAISS does, but for the last of many."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import numpy
import psycopg
import pytest
from numpy.typing import NDArray
from storing import cut, edition, named

from rag_service.errors import BadSettings, StoreTooOld
from rag_service.settings import read_settings
from rag_service.store import postgres_index
from rag_service.store.faiss_index import Index
from rag_service.store.postgres import PostgresStore
from rag_service.store.postgres_index import PostgresIndex
from rag_service.store.protocol import VectorIndex
from rag_service.types import Span

DIMENSION = 64


def units(vectors: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    return (vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)).astype(numpy.float32)


def passages(count: int, seed: int) -> NDArray[numpy.float32]:
    """In clusters, as those of texts are; the same clusters for every seed."""
    choose, centres = numpy.random.default_rng(seed), numpy.random.default_rng(0).normal(size=(40, DIMENSION))
    return units(centres[choose.integers(40, size=count)] + 0.7 * choose.normal(size=(count, DIMENSION)))


def add(store: PostgresStore, collection: str, name: str, vectors: NDArray[numpy.float32]) -> None:
    text = "x " * len(vectors)
    spans = [Span(2 * place, 2 * place + 1) for place in range(len(vectors))]
    store.put(collection, named(name, name, text), edition(), cut(text, spans, vectors))


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    with closing(PostgresStore(url)) as opened:
        yield opened


def recall(index: VectorIndex, exact: VectorIndex, store: PostgresStore, collection: str) -> float:
    view, count = store.view(collection), 10

    def numbers(one: VectorIndex, asked: NDArray[numpy.float32]) -> set[int]:
        found = one.search(view, asked, count)
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
        return {number for number, _ in found}

    return float(numpy.mean([len(numbers(index, one) & numbers(exact, one)) for one in passages(100, 9)])) / count


def test_the_nearest_are_those_of_faiss(store: PostgresStore, url: str) -> None:
    for name, count in (("a", 700), ("b", 700)):
        add(store, "large", name, passages(count, ord(name)))
    index, exact = PostgresIndex(store.database, DIMENSION, exact_limit=400), Index(store, DIMENSION)
    add(store, "large", "c", passages(500, 3))  # the index follows
    add(store, "small", "d", passages(300, 4))
    add(store, "other", "e", passages(500, 5))  # a part of the index, and searched in it

    found = {name: recall(index, exact, store, name) for name in ("large", "other", "small")}

    assert found["large"] >= 0.9
    assert found["other"] >= 0.9
    assert found["small"] == 1.0
    store.close()  # a session's statistics are there when it has ended
    used = f"SELECT idx_scan >= 200 FROM pg_stat_user_indexes WHERE indexrelname = 'vectors_{DIMENSION}'"
    with psycopg.connect(url, autocommit=True) as connection:
        looks = (connection.execute(used).fetchone() == (True,) or threading.Event().wait(0.05) for _ in range(200))
        assert any(looks), "the index was not used"


def test_only_passages_of_the_view_and_of_those_chosen_are_found(store: PostgresStore) -> None:
    for name in ("a", "b"):
        add(store, "c", name, passages(300, ord(name)))
    index = PostgresIndex(store.database, DIMENSION, exact_limit=100)
    view, asked = store.view("c"), passages(1, 9)[0]
    mine = store.passages_of(view, ["a"], {})

    assert {number for number, _ in index.search(view, asked, 20, mine)} <= set(mine)
    assert index.search(view, asked, 10, []) == []
    store.delete("c", "b")
    assert {number for number, _ in index.search(view, asked, 400)} == set(mine)


def test_a_collection_behind_many_passages_of_others_is_found_all_the_same(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_index, "_MOST_SCANNED", 1)
    asked = passages(1, 9)[0]
    for name, side in (("near", asked), ("far", -asked)):
        add(store, name, name, units(side + 0.01 * passages(300, 1)))
    index = PostgresIndex(store.database, DIMENSION, exact_limit=100)

    assert len(index.search(store.view("far"), asked, 10)) == 10


def test_an_index_whose_making_was_killed_is_made_again(store: PostgresStore, url: str) -> None:
    valid = f"SELECT indisvalid FROM pg_index WHERE indexrelid = 'vectors_{DIMENSION}'::regclass"
    with psycopg.connect(url, autocommit=True) as connection:
        PostgresIndex(store.database, DIMENSION)
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", (f"vectors_{DIMENSION}",)
        )

        PostgresIndex(store.database, DIMENSION)

        assert connection.execute(valid).fetchone() == (True,)


def test_an_older_pgvector_is_refused(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_index, "_LEAST_PGVECTOR", (9, 1))
    with pytest.raises(StoreTooOld, match=r"needs pgvector 9\.1 or newer"):
        PostgresIndex(store.database, DIMENSION)


def test_sqlite_does_not_compare_vectors() -> None:
    with pytest.raises(BadSettings, match="set RAG_STORE too"):
        read_settings(search="store", store=None)
