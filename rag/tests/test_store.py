"""The store changes whole or not at all, and the index follows it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from numpy.typing import NDArray

from rag_service.documents import Extracted, Span
from rag_service.errors import OtherEmbedder, UnknownDocument
from rag_service.index import Index
from rag_service.store import Store

TEXT = "Red wine is dry. White wine is sweet."
SPANS = [Span(0, 16), Span(17, 37)]


def unit(*directions: int) -> NDArray[numpy.float32]:
    return numpy.eye(4, dtype=numpy.float32)[list(directions)]


def add(
    store: Store, document_id: str = "1", name: str = "a.txt", *, collection: str = "c", embedder: str = "e"
) -> None:
    store.add(collection, document_id, name, 9, Extracted(TEXT), SPANS, unit(0, 1), embedder, signs=[b"one", b"two"])


def rows(store: Store) -> dict[str, int]:
    with sqlite3.connect(store._path) as connection:
        counts = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("documents", "chunks", "vectors", "tokens", "full_text")
        }
    connection.close()
    return counts


def test_a_document_is_found_by_words_and_by_vector(store: Store) -> None:
    add(store)
    index = Index(store, 4)

    [(by_word, _)] = store.search_text("c", ["sweet"], 5)
    [(by_vector, cosine), _] = index.search("c", unit(1)[0], 5)

    assert by_word == by_vector
    assert cosine == pytest.approx(1.0)
    passage = store.passages([by_word])[by_word]
    assert passage.text == TEXT[passage.start : passage.end] == "White wine is sweet."
    assert store.token_signs([by_word]) == {by_word: b"two"}
    assert store.text_between(by_word, 0, passage.start) == "Red wine is dry. "


def test_the_same_name_replaces_and_deleting_leaves_nothing(store: Store) -> None:
    add(store, "1")
    add(store, "2")
    assert [document.id for document in store.documents("c")] == ["2"]
    assert rows(store) == {"documents": 1, "chunks": 2, "vectors": 2, "tokens": 2, "full_text": 2}

    store.delete("c", "2")

    assert set(rows(store).values()) == {0}
    with pytest.raises(UnknownDocument):
        store.delete("c", "2")
    with pytest.raises(UnknownDocument):
        store.content("c", "2")


def test_the_index_forgets_what_the_store_forgot_even_by_another_process(store: Store) -> None:
    index = Index(store, 4)
    add(store, "1", "a.txt")
    assert len(index.search("c", unit(0)[0], 5)) == 2
    first = {number for number, _ in index.search("c", unit(0)[0], 5)}
    other = Store(store._path)

    add(other, "2", "a.txt")
    other.close()

    assert first.isdisjoint(number for number, _ in index.search("c", unit(0)[0], 5))
    store.delete("c", "2")
    assert index.search("c", unit(0)[0], 5) == []
    assert index.size() == 0


def test_collections_are_kept_apart(store: Store) -> None:
    add(store, collection="one")
    add(store, collection="two")
    index = Index(store, 4)

    assert store.collections() == {"one": 1, "two": 1}
    one = {number for number, _ in index.search("one", unit(0)[0], 9)}
    two = {number for number, _ in index.search("two", unit(0)[0], 9)}
    assert len(one) == len(two) == 2
    assert one.isdisjoint(two)
    assert {number for number, _ in store.search_text("one", ["wine"], 9)} == one
    assert index.search("three", unit(0)[0], 9) == []


def test_another_embedder_is_refused_until_the_store_is_empty(store: Store) -> None:
    add(store, embedder="MiniLM")

    with pytest.raises(OtherEmbedder, match="MiniLM"):
        add(store, "2", "b.txt", embedder="other")
    assert len(store.documents()) == 1

    store.delete("c", "1")
    add(store, embedder="other")


def test_a_failure_half_way_leaves_the_old_document(store: Store) -> None:
    add(store, "1")
    before = rows(store), store.generation()

    with pytest.raises(ValueError, match="zip"):
        store.add("c", "2", "a.txt", 9, Extracted(TEXT), SPANS, unit(0), "e")

    assert (rows(store), store.generation()) == before
    assert store.content("c", "1").text == TEXT


def test_a_kill_half_way_leaves_the_old_document(store: Store, tmp_path: Path) -> None:
    add(store, "1")
    before = rows(store)
    dying = """
import os, signal, sys
from pathlib import Path
from rag_service.documents import Extracted, Span
from rag_service.store import Store
class Dying(list):
    def __iter__(self):
        yield __import__("numpy").ones(4, dtype="float32")
        os.kill(os.getpid(), signal.SIGKILL)
Store(Path(sys.argv[1])).add("c", "2", "a.txt", 9, Extracted("x y"), [Span(0, 1), Span(2, 3)], Dying(), "e")
"""
    killed = subprocess.run([sys.executable, "-c", dying, str(store._path)], env={**os.environ, "PYTHONPATH": "."})

    assert killed.returncode == -signal.SIGKILL
    again = Store(store._path)
    assert rows(again) == before
    assert again.find("c", name="a.txt").id == "1"  # type: ignore[union-attr]
    again.close()


@pytest.mark.parametrize(
    "words", [['"'], ["AND"], ["NOT", "NEAR"], ["a*"], ["text:"], ["^"], ["("], ["\x00"], ["';--"], []]
)
def test_no_word_is_read_as_query_language(words: list[str], store: Store) -> None:
    add(store)

    assert store.search_text("c", words, 5) == []


def test_in_a_large_store_rare_words_count_and_common_ones_only_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_service.passages._MOST_ROWS", 5)
    texts = ["red wine", "dry wine", *["red paint"] * 5, *["dry paint"] * 5, *["wine wine wine"] * 5, "dry red wine"]
    ends = numpy.cumsum([len(text) + 1 for text in texts]).tolist()
    spans = [Span(end - 1 - len(text), end - 1) for text, end in zip(texts, ends, strict=True)]
    store.add("c", "1", "a.txt", 9, Extracted(" ".join(texts)), spans, unit(*[0] * len(texts)), "e")

    def found(*words: str) -> list[str]:
        numbers = [number for number, _ in store.search_text("c", words, 50)]
        return sorted(store.passages([number])[number].text for number in numbers)

    assert found("paint", "dry", "red") == []  # no passage holds all three, and each is in too many
    assert found("wine", "dry") == ["dry red wine", "dry wine"]
    assert found("dry", "red", "wine", "nothing") == ["dry red wine"]
