"""Large indexes compare by lists: they forget, learn and come back as small ones do."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy
import pytest
from numpy.typing import NDArray

from rag_service.documents import Extracted, Span
from rag_service.index import Index
from rag_service.store import Store

DIMENSION = 32
LIMIT = 400


def units(count: int, seed: int) -> NDArray[numpy.float32]:
    vectors = numpy.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(numpy.float32)
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def add(store: Store, name: str, vectors: NDArray[numpy.float32]) -> None:
    spans = [Span(2 * place, 2 * place + 1) for place in range(len(vectors))]
    store.add("c", name, name, 1, Extracted("x " * len(vectors)), spans, vectors, "e")


def kinds(index: Index) -> dict[str, str]:
    index.size()
    return {name: type(one).__name__ for name, one in index._indexes.items()}


def nearest(index: Index, vector: NDArray[numpy.float32]) -> int:
    return index.search("c", vector, 1)[0][0]


def test_beyond_the_limit_the_nearest_are_found_by_lists(store: Store) -> None:
    vectors = units(600, 1)
    add(store, "a", vectors)
    index, exact = Index(store, DIMENSION, flat_limit=LIMIT), Index(store, DIMENSION)

    assert (kinds(index), kinds(exact)) == ({"c": "IndexIVFScalarQuantizer"}, {"c": "IndexIDMap2"})
    found = [
        len({number for number, _ in index.search("c", one, 10)} & {number for number, _ in exact.search("c", one, 10)})
        for one in units(50, 2)
    ]
    assert numpy.mean(found) / 10 >= 0.95


def test_lists_follow_the_store(store: Store) -> None:
    first, second = units(600, 1), units(50, 2)
    add(store, "a", first)
    index = Index(store, DIMENSION, flat_limit=LIMIT)
    assert index.size() == 600

    add(store, "b", second)
    added = nearest(index, second[7])
    assert store.vectors([added])[added] == pytest.approx(second[7])
    store.delete("c", "b")

    assert index.size() == index._indexes["c"].ntotal == 600
    assert all(number <= 600 for one in second for number, _ in index.search("c", one, 5))
    store.delete("c", "a")
    assert index.search("c", first[0], 5) == []


@pytest.mark.parametrize("flat_limit", [LIMIT, 10_000])
def test_only_the_chosen_passages_are_found_however_far_they_lie(store: Store, flat_limit: int) -> None:
    vectors = units(600, 1)
    add(store, "a", vectors)
    index = Index(store, DIMENSION, flat_limit=flat_limit)

    found = index.search("c", vectors[0], 10, only=[5, 300, 599, 7000])

    assert {number for number, _ in found} == {5, 300, 599}
    assert index.search("c", vectors[0], 10, only=[]) == []


def test_an_index_that_grows_large_is_rebuilt_while_it_answers(store: Store) -> None:
    vectors = units(600, 1)
    add(store, "a", vectors[:300])
    index = Index(store, DIMENSION, flat_limit=LIMIT)
    assert kinds(index) == {"c": "IndexIDMap2"}

    add(store, "b", vectors[300:])
    assert nearest(index, vectors[450]) == 451
    index.close()

    assert kinds(index) == {"c": "IndexIVFScalarQuantizer"}
    assert nearest(index, vectors[450]) == 451
    assert index.size() == 600


def test_closing_bears_a_rebuilding_that_ends_at_this_moment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = threading.Thread(target=int)
    ending.start()
    looks = iter([ending, None])  # who looks again finds that it has ended
    monkeypatch.setattr(Index, "_rebuilding", property(lambda _: next(looks), lambda *_: None), raising=False)

    Index(store, DIMENSION).close()


def no_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the index was made anew")

    monkeypatch.setattr(Index, "_lists", refused)


def test_the_kept_index_is_used_and_brought_up_to_date(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, later = units(600, 1), units(5, 2)
    add(store, "a", vectors)
    index = Index(store, DIMENSION, tmp_path / "cache", LIMIT)
    index.size()
    index.close()
    add(store, "b", later)
    no_learning(monkeypatch)

    again = Index(store, DIMENSION, tmp_path / "cache", LIMIT)

    assert again.size() == 605
    assert nearest(again, later[3]) == 604


@pytest.mark.parametrize("damage", ["a flipped bit", "cut short", "another store", "no description", "no json"])
def test_a_kept_index_that_does_not_match_is_made_anew(store: Store, tmp_path: Path, damage: str) -> None:
    vectors = units(600, 1)
    add(store, "a", vectors)
    index = Index(store, DIMENSION, tmp_path / "cache", LIMIT)
    index.size()
    index.close()
    [kept], [description] = (tmp_path / "cache").glob("*.faiss"), (tmp_path / "cache").glob("*.json")
    content = bytearray(kept.read_bytes())
    if damage == "a flipped bit":
        content[len(content) // 2] ^= 1
        kept.write_bytes(content)
    elif damage == "cut short":
        kept.write_bytes(content[:1000])
    elif damage == "another store":
        with store._writing() as connection:
            connection.execute("UPDATE facts SET value = 'other' WHERE name = 'store'")
    elif damage == "no description":
        description.unlink()
    else:
        description.write_text("{")

    again = Index(store, DIMENSION, tmp_path / "cache", LIMIT)

    assert again.size() == 600
    assert again._changed == {"c"}
    assert nearest(again, vectors[9]) == 10
