"""The store changes whole or not at all, and the index follows it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy
import pytest
from storing import TEXT, cut, edition, named, put, unit

from rag_service.errors import OtherEmbedder, StoreDamaged, StoreFull, StoreTooNew, UnknownDocument
from rag_service.language import terms_of
from rag_service.store.faiss_index import Index
from rag_service.store.protocol import Store, every_document
from rag_service.store.sql import SqlStore
from rag_service.store.sqlite import SqliteDatabase, SqliteStore
from rag_service.types import Span


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.db"


@pytest.fixture
def sqlite_store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path)) as opened:
        yield opened


def rows(store: SqlStore) -> dict[str, int]:
    with store.database.reading() as transaction:
        return {
            table: transaction.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("documents", "names", "blocks", "chunks", "vectors")
        }


def names(store: Store, collection: str = "c") -> list[str]:
    return [document.name for document in store.documents(collection)]


def test_a_document_is_found_by_words_and_by_vector(store: SqlStore) -> None:
    put(store)
    index, view = Index(store, 4), store.view("c")

    [(by_word, _)] = store.lexical(view, terms_of("sweet"), 5)
    [(by_vector, cosine), _] = index.search(view, unit(1)[0], 5)

    assert by_word == by_vector
    assert cosine == pytest.approx(1.0)
    passage = store.passages(view, [by_word])[by_word]
    assert passage.text == TEXT[passage.start : passage.end] == "White wine is sweet."
    assert [(block.kind, block.start, block.end) for block in passage.blocks] == [("paragraph", 0, len(TEXT))]
    assert store.vectors([by_word])[by_word].signs == b"Whi"
    assert store.text_between(by_word, 0, passage.start) == "Red wine is dry. "
    assert store.text("c", "1", 4, 8) == "wine"


def test_the_same_name_replaces_and_deleting_leaves_nothing(store: SqlStore) -> None:
    put(store, "1")
    put(store, "2")
    assert [document.id for document in store.documents("c")] == ["2"]
    assert rows(store) == {"documents": 1, "names": 1, "blocks": 1, "chunks": 2, "vectors": 2}

    store.delete("c", "2")

    assert set(rows(store).values()) == {0}
    assert store.collections() == {}
    for ask in (store.delete, store.content):
        with pytest.raises(UnknownDocument):
            ask("c", "2")


def test_a_content_with_two_names_is_there_as_long_as_one_of_them_holds_it(store: SqlStore) -> None:
    """`a.txt` and `b.txt` hold X; then `a.txt` changes: X is still `b.txt`'s."""
    put(store, "X", "a.txt")
    assert store.add_name("c", "b.txt", "X", None) is not None
    put(store, "Y", "a.txt")

    assert [(one.name, one.id) for one in store.documents("c")] == [("a.txt", "Y"), ("b.txt", "X")]
    view = store.view("c")
    found = store.passages(view, [number for number, _ in store.lexical(view, terms_of("sweet"), 9)])
    assert {passage.document for passage in found.values()} == {"a.txt", "b.txt"}
    store.remove_name("c", "b.txt")
    assert names(store) == ["a.txt"]
    assert store.add_name("c", "b.txt", "X", None) is None


def test_the_index_forgets_what_the_store_forgot_even_by_another_process(
    store: SqlStore, open_store: Callable[[], SqlStore]
) -> None:
    index = Index(store, 4)
    put(store, "1", "a.txt")
    first = {number for number, _ in index.search(store.view("c"), unit(0)[0], 5)}
    assert len(first) == 2
    with closing(open_store()) as other:
        put(other, "2", "a.txt")

    second = {number for number, _ in index.search(store.view("c"), unit(0)[0], 5)}

    assert len(second) == 2
    assert first.isdisjoint(second)
    view = store.view("c")
    store.delete("c", "2")
    assert index.search(view, unit(0)[0], 5) == []


def test_collections_share_a_content_and_nothing_else(store: SqlStore) -> None:
    put(store, collection="one")
    put(store, collection="two")
    put(store, "2", "b.txt", collection="two")
    index = Index(store, 4)

    assert store.collections() == {"one": 1, "two": 2}
    assert rows(store)["documents"] == 2
    assert len(index.search(store.view("one"), unit(0)[0], 9)) == 2
    assert len(index.search(store.view("two"), unit(0)[0], 9)) == 4
    store.delete("two", "1")
    assert len(store.lexical(store.view("one"), terms_of("wine"), 9)) == 2


def test_one_collections_words_do_not_count_in_another(store: SqlStore) -> None:
    put(store)
    alone = store.lexical(store.view("c"), terms_of("sweet"), 5)
    for number in range(40):
        put(store, f"x{number}", f"{number}.txt", collection="other")

    assert store.lexical(store.view("c"), terms_of("sweet"), 5) == alone


def test_another_embedder_is_refused_until_the_store_is_empty(store: SqlStore) -> None:
    put(store, embedder="MiniLM")

    with pytest.raises(OtherEmbedder, match="MiniLM"):
        put(store, "2", "b.txt", embedder="other")
    assert len(store.documents()) == 1

    store.delete("c", "1")
    put(store, embedder="other")


def test_what_a_deleted_collection_left_is_found_when_it_is_added_again(store: SqlStore) -> None:
    put(store, document_id="1")
    store.drop("c")
    assert store.add_name("c", "a.txt", "1") is None  # the next edition has no passages of it: they are to be made
    put(store, document_id="1")
    assert len(store.passage_numbers(store.view("c"))) == 2


def test_documents_are_read_page_by_page(store: SqlStore) -> None:
    for number in range(5):
        put(store, str(number), f"{number}.txt")
    put(store, "9", "0.txt", collection="d")

    assert [one.name for one in store.documents("c", after="1.txt", limit=2)] == ["2.txt", "3.txt"]
    put(store, "9", "deep/9.txt", collection="d")
    assert [one.collection for one in store.documents(None, after="c/3.txt")] == ["c", "d", "d"]
    assert [one.name for one in store.documents(None, after="c/3.txt", limit=2)] == ["4.txt", "0.txt"]
    assert [one.name for one in store.documents(["d", "e"])] == ["0.txt", "deep/9.txt"]
    assert [one.name for one in store.documents(holding="DEEP")] == ["deep/9.txt"]
    assert [one.name for one in store.documents("c", after="1.txt", holding=".t", limit=1)] == ["2.txt"]
    put(store, "9", "last.txt", collection="d")
    assert [one.name for one in store.documents(None, after="d/deep/9.txt")] == ["last.txt"]
    assert len(list(every_document(store, "c"))) == 5


def test_documents_are_chosen_by_name_and_by_metadata(store: SqlStore) -> None:
    for year in ("2023", "2024"):
        content = named(f"{year}.txt", year)
        store.put("c", content.__class__(**{**vars(content), "metadata": {"year": year}}), edition(),
                  cut(TEXT, [Span(0, 16)], unit(0)))  # fmt: skip
    view = store.view("c")

    assert len(store.passages_of(view, ["2023.txt"], {})) == 1
    assert store.passages_of(view, [], {"year": "2024"}) == store.passages_of(view, ["2024"], {})
    assert store.passages_of(view, [], {"year": "1999"}) == store.passages_of(view, [], {'"': "x"}) == []
    with pytest.raises(UnknownDocument):
        store.passages_of(view, ["none.txt"], {})


def test_a_failure_half_way_leaves_the_old_document(store: SqlStore) -> None:
    put(store, "1")
    before = rows(store), store.change()

    with pytest.raises(ValueError, match="zip"):
        store.put("c", named(document_id="2"), edition(), cut(TEXT, [Span(0, 16), Span(17, 37)], unit(0)))

    assert (rows(store), store.change()) == before
    assert store.content("c", "1").text == TEXT


def test_a_kill_half_way_leaves_the_old_document(sqlite_store: SqliteStore, path: Path) -> None:
    put(sqlite_store, "1")
    before = rows(sqlite_store)
    dying = """
import os, signal, sys
from pathlib import Path
from storing import cut, edition, named, unit
from rag_service.language import terms_of
from rag_service.types import Span
from rag_service.store.sqlite import SqliteDatabase, SqliteStore
class Dying(list):
    def __iter__(self):
        yield unit(0)[0]
        os.kill(os.getpid(), signal.SIGKILL)
passages = cut("x y", [Span(0, 1), Span(2, 3)], Dying())
SqliteStore(Path(sys.argv[1])).put("c", named("a.txt", "2", "x y"), edition(), passages)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", "tests"])}
    killed = subprocess.run([sys.executable, "-c", dying, str(path)], env=environment)

    assert killed.returncode == -signal.SIGKILL
    with closing(SqliteStore(path)) as again:
        assert rows(sqlite_store) == before
        assert again.find("c", name="a.txt").id == "1"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "terms", [['"'], ["AND"], ["NOT", "NEAR"], ["a*"], ["terms:"], ["^"], ["("], ["\x00"], ["';--"], []]
)
def test_no_term_is_read_as_query_language(terms: list[str], store: SqlStore) -> None:
    put(store)

    assert store.lexical(store.view("c"), terms, 5) == []


def test_in_a_large_store_rare_terms_count_and_common_ones_only_together(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_service.store.database.MOST_ROWS", 5)
    texts = ["red wine", "dry wine", *["red paint"] * 5, *["dry paint"] * 5, *["wine wine wine"] * 5, "dry red wine"]
    ends = numpy.cumsum([len(text) + 1 for text in texts]).tolist()
    spans = [Span(end - 1 - len(text), end - 1) for text, end in zip(texts, ends, strict=True)]
    whole = " ".join(texts)
    store.put("c", named(text=whole), edition(), cut(whole, spans, unit(*[0] * len(texts))))
    view = store.view("c")

    def found(*terms: str) -> list[str]:
        numbers = [number for number, _ in store.lexical(view, terms, 50)]
        return sorted(passage.text for passage in store.passages(view, numbers).values())

    wine, dry, paint = terms_of("wine dry paint")
    assert found(paint, dry, "red") == []  # no passage holds all three, and each is in too many
    assert found(dry, "red", wine, "nothing") == ["dry red wine"]


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to be one", b"SQLite format 3\x00"])
def test_a_store_that_cannot_be_read_says_so(content: bytes, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(StoreDamaged, match="cannot be read"):
        SqliteStore(path)
    assert path.read_bytes() == content


def test_a_newer_releases_store_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(StoreTooNew, match="99"):
        SqliteStore(path)


def test_a_full_disk_is_named_and_changes_nothing(sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(sqlite_store)
    opened = SqliteDatabase._open

    def on_a_full_disk(self: SqliteDatabase) -> sqlite3.Connection:
        connection = opened(self)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    monkeypatch.setattr(SqliteDatabase, "_open", on_a_full_disk)
    sqlite_store.database._idle.clear()
    big = "wine " * 100_000

    with pytest.raises(StoreFull, match="full"):
        sqlite_store.put("c", named("big.txt", "2", big), edition(), cut(big, [Span(0, 4)], unit(0)))
    assert names(sqlite_store) == ["a.txt"]


def test_a_store_of_the_first_release_is_read(path: Path) -> None:
    path.parent.mkdir()
    script = (Path(__file__).parent / "data" / "store-1.sql").read_text()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)

    with closing(SqliteStore(path)) as store:
        assert store.collections() == {"default": 2, "other": 1}
        assert names(store, "default") == ["cellar.md", "slopes.txt"]
        content = store.content("default", store.find("default", name="cellar.md").id)  # type: ignore[union-attr]
        assert [heading.title for heading in content.headings] == ["Cellars"]
        view = store.view("default")
        [(number, _)] = store.lexical(view, terms_of("miner"), 5)
        assert store.passages(view, [number])[number].text.endswith("by a miner.")
        assert Index(store, 4).search(view, store.vectors([number])[number].vector, 1)[0][0] == number
        assert store.edition().embedder == "int8:sha256:old"  # type: ignore[union-attr]
    with closing(SqliteStore(path)) as again:
        assert again.collections() == {"default": 2, "other": 1}


def test_every_write_is_on_disk_before_it_is_acknowledged(sqlite_store: SqliteStore) -> None:
    with sqlite_store.database.reading() as connection:
        settings: dict[str, Any] = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")
        }
    assert settings == {"synchronous": 2, "journal_mode": "wal"}
