"""Large indexes compare by lists: they forget, learn and come back as small ones do."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest
from numpy.typing import NDArray
from storing import cut, edition, named

from rag_service.store.faiss_index import Index
from rag_service.store.protocol import Numbers, Store
from rag_service.types import Span

DIMENSION = 32
LIMIT = 400


def units(count: int, seed: int) -> NDArray[numpy.float32]:
    vectors = numpy.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(numpy.float32)
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def add(store: Store, name: str, vectors: NDArray[numpy.float32]) -> None:
    text = "x " * len(vectors)
    spans = [Span(2 * place, 2 * place + 1) for place in range(len(vectors))]
    store.put("c", named(name, name, text), edition(), cut(text, spans, vectors))


def size(index: Index, store: Store) -> int:
    return index.size(store.view("c"))


def kind(index: Index, store: Store) -> str:
    size(index, store)
    [held] = index._held.values()
    return type(held.index).__name__


def found(index: Index, store: Store, vector: NDArray[numpy.float32], count: int = 1) -> list[int]:
    return [number for number, _ in index.search(store.view("c"), vector, count)]


def test_beyond_the_limit_the_nearest_are_found_by_lists(store: Store) -> None:
    vectors = units(600, 1)
    add(store, "a", vectors)
    index, exact = Index(store, DIMENSION, flat_limit=LIMIT), Index(store, DIMENSION)

    assert (kind(index, store), kind(exact, store)) == ("IndexIVFScalarQuantizer", "IndexIDMap2")
    both = [len({*found(index, store, one, 10)} & {*found(exact, store, one, 10)}) for one in units(50, 2)]
    assert numpy.mean(both) / 10 >= 0.95


def test_lists_follow_the_store(store: Store) -> None:
    first, second = units(600, 1), units(50, 2)
    add(store, "a", first)
    index = Index(store, DIMENSION, flat_limit=LIMIT)
    assert size(index, store) == 600

    add(store, "b", second)
    [added] = found(index, store, second[7])
    assert store.vectors([added])[added].vector == pytest.approx(second[7], abs=1e-3)  # half floats in PostgreSQL
    store.delete("c", "b")

    assert size(index, store) == 600
    assert all(number <= 600 for one in second for number in found(index, store, one, 5))
    view = store.view("c")
    store.delete("c", "a")
    assert index.search(view, first[0], 5) == []


@pytest.mark.parametrize("flat_limit", [LIMIT, 10_000])
def test_only_the_chosen_passages_are_found_however_far_they_lie(store: Store, flat_limit: int) -> None:
    vectors = units(600, 1)
    add(store, "a", vectors)
    index = Index(store, DIMENSION, flat_limit=flat_limit)

    view = store.view("c")
    chosen = index.search(view, vectors[0], 10, only=[5, 300, 599, 7000])

    assert {number for number, _ in chosen} == {5, 300, 599}
    assert index.search(view, vectors[0], 10, only=[]) == []


def test_an_index_that_grows_large_is_rebuilt_while_it_answers(store: Store) -> None:
    vectors = units(600, 1)
    add(store, "a", vectors[:300])
    index = Index(store, DIMENSION, flat_limit=LIMIT)
    assert kind(index, store) == "IndexIDMap2"

    add(store, "b", vectors[300:])
    assert found(index, store, vectors[450]) == [451]
    index.close()

    assert kind(index, store) == "IndexIVFScalarQuantizer"
    assert found(index, store, vectors[450]) == [451]
    assert size(index, store) == 600


def test_while_a_large_index_is_made_other_collections_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, "a", units(600, 1))
    other = units(3, 2)
    store.put("other", named("b", "b", "x x x "), edition(), cut("x x x ", [Span(0, 1), Span(2, 3), Span(4, 5)], other))
    index, real = Index(store, DIMENSION, flat_limit=LIMIT), Index._lists
    begun, go_on = threading.Event(), threading.Event()

    def slow(self: Index, numbers: Numbers) -> Any:
        begun.set()
        assert go_on.wait(60)
        return real(self, numbers)

    monkeypatch.setattr(Index, "_lists", slow)
    with ThreadPoolExecutor() as pool:
        large = pool.submit(size, index, store)
        assert begun.wait(60)
        try:
            small = pool.submit(index.search, store.view("other"), other[1], 1)
            assert len(small.result(timeout=30)) == 1
        finally:
            go_on.set()
        assert large.result(timeout=60) == 600


def no_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the index was made again")

    monkeypatch.setattr(Index, "_lists", refused)


def test_the_kept_index_is_used_and_brought_up_to_date(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, later = units(600, 1), units(5, 2)
    add(store, "a", vectors)
    index = Index(store, DIMENSION, tmp_path / "cache", LIMIT)
    size(index, store)
    index.close()
    add(store, "b", later)
    no_learning(monkeypatch)

    again = Index(store, DIMENSION, tmp_path / "cache", LIMIT)

    assert size(again, store) == 605
    assert found(again, store, later[3]) == [604]


def test_the_kept_index_outlives_a_run_that_does_not_search_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, "a", units(600, 1))
    index = Index(store, DIMENSION, tmp_path / "cache", LIMIT)
    size(index, store)
    index.close()
    Index(store, DIMENSION, tmp_path / "cache", LIMIT).close()
    no_learning(monkeypatch)

    assert size(Index(store, DIMENSION, tmp_path / "cache", LIMIT), store) == 600


@pytest.mark.parametrize("damage", ["a flipped bit", "cut short", "another store", "no description", "no json"])
def test_a_kept_index_that_does_not_match_is_made_again(
    store: Store, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = units(600, 1)
    add(store, "a", vectors)
    index = Index(store, DIMENSION, tmp_path / "cache", LIMIT)
    size(index, store)
    index.close()
    [kept], [description] = (tmp_path / "cache").glob("*.faiss"), (tmp_path / "cache").glob("*.json")
    content = bytearray(kept.read_bytes())
    if damage == "a flipped bit":
        content[len(content) // 2] ^= 1
        kept.write_bytes(content)
    elif damage == "cut short":
        kept.write_bytes(content[:1000])
    elif damage == "another store":
        monkeypatch.setattr(store, "store_id", lambda: "another")
    elif damage == "no description":
        description.unlink()
    else:
        description.write_text("{")

    learned = []
    lists = Index._lists
    monkeypatch.setattr(Index, "_lists", lambda *given: learned.append(1) or lists(*given))
    again = Index(store, DIMENSION, tmp_path / "cache", LIMIT)

    assert size(again, store) == 600
    assert learned
    assert found(again, store, vectors[9]) == [10]
