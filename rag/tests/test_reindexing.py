"""All passages are made again beside the old ones, which answer until the new ones take their place."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until_ready
from fastapi.testclient import TestClient
from storing import TEXT, cut, edition, put, unit
from test_jobs import finished
from test_service import problem, upload

from rag_service.app import create_app
from rag_service.indexing.ingest import Library
from rag_service.indexing.jobs import Job
from rag_service.indexing.reindex import reindex
from rag_service.language import terms_of
from rag_service.models.find import embedder_folder
from rag_service.service import Service
from rag_service.settings import Settings
from rag_service.store.faiss_index import Index
from rag_service.store.protocol import Edition, Passages, Store
from rag_service.types import Extracted, Span

CONTENTS = ("port.txt", b"Port is fortified with brandy."), ("beer.txt", b"Beer is brewed.")
QUESTION = {"question": "What is port fortified with?"}


class Halves(Library):
    """A library that cuts every text in two; `hears` of each text."""

    def __init__(self, store: Store, hears: Callable[[], object] = lambda: None) -> None:
        self._store, self._hears, self._lock = store, hears, threading.Lock()

    def passages(self, extracted: Extracted, *_: Any) -> Passages:
        self._hears()
        middle = len(extracted.text) // 2
        return cut(extracted.text, [Span(0, middle), Span(middle, len(extracted.text))], unit(2, 3))


def test_what_changes_meanwhile_is_caught_up_with(store: Store) -> None:
    for number in "123":
        put(store, number, f"{number}.txt", embedder="old")
    old = store.view("c")
    job, changed = Job("reindex"), []

    def change() -> None:
        if not changed:
            changed.append(True)
            put(store, "4", "1.txt", embedder="old")  # in place of document 1
            store.delete("c", "2")

    reindex(store, Halves(store, change), edition("new", 80), job)

    assert [(document.id, document.name) for document in store.documents()] == [("4", "1.txt"), ("3", "3.txt")]
    view = store.view("c")
    assert (view.edition.embedder, view.edition.chunk_tokens) == ("new", 80)
    assert job.seen().done == job.seen().total
    numbers = [number for number, _ in store.lexical(view, terms_of("wine"), 9)]
    assert {passage.text for passage in store.passages(view, numbers).values()} <= {TEXT[:18], TEXT[18:]}
    index = Index(store, 4)
    assert len(index.search(view, unit(2)[0], 9)) == 4
    # A request that began before ends with the passages that it began with.
    assert len(store.passages(old, store.passage_numbers(old).tolist())) == 4


def test_old_passages_are_deleted_when_no_request_can_use_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, embedder="old")
    old = store.view("c")
    before = store.passage_numbers(old).tolist()
    reindex(store, Halves(store), edition("new"), Job("reindex"))

    store.sweep()
    assert len(store.vectors(before)) == 2
    monkeypatch.setattr("rag_service.store.sql._LONGEST_REQUEST", -1.0)
    while store.sweep():
        pass

    assert store.vectors(before) == {}
    assert len(store.passage_numbers(store.view("c"))) == 2


def test_a_reindexing_that_was_killed_goes_on_where_it_was(store: Store) -> None:
    put(store, "1", "1.txt", embedder="old")
    put(store, "2", "2.txt", embedder="old")
    begun = store.begin_edition(edition("new"))
    [(key, _), _] = store.lacking(begun)
    content = store.content_of(key)
    assert content is not None
    store.put_passages(key, begun, Halves(store).passages(content))
    cuts: list[int] = []

    reindex(store, Halves(store, lambda: cuts.append(1)), edition("new"), Job("reindex"))

    assert len(cuts) == 1
    assert store.view("c").edition.id == begun.id


@pytest.fixture(scope="module")
def other_embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights with a line more in the tokenizer's file: another identity."""
    original = embedder_folder(None, Path("nowhere"), 1).path
    folder = tmp_path_factory.mktemp("embedder") / "other"
    shutil.copytree(original, folder, copy_function=lambda source, target: Path(target).symlink_to(source))
    tokenizer = folder / "tokenizer.json"
    text = tokenizer.read_text()
    tokenizer.unlink()
    tokenizer.write_text(text + "\n")
    return folder


@contextmanager
def service(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        client.app.state.service.loaded.wait(100)  # type: ignore[attr-defined]
        yield client


def answer(client: TestClient) -> dict[str, Any]:
    response = client.post("/ask", json=QUESTION)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    assert body["answer"] == "Port is fortified with brandy."
    return body


def test_another_embedder_answers_after_a_reindex_and_the_old_one_until_then(
    settings: Settings, other_embedder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings.model_copy(update={"data_dir": tmp_path / "data"})
    with service(settings) as client:
        wait_until_ready(client)
        upload(client, *CONTENTS)
        before = client.get("/documents").json()

    changed = settings.model_copy(update={"embedder": str(other_embedder)})
    with service(changed) as client:
        assert "reindex" in client.get("/readyz").json()["needs_reindex"]
        old = answer(client)["model"]["embedder"]
        half_way, go_on = threading.Event(), threading.Event()
        whole = Library.passages

        def slowly(library: Library, content: Extracted, wanted: Edition, *rest: Any) -> Passages:
            current = client.app.state.service.store.edition()  # type: ignore[attr-defined]
            if current is not None and wanted.embedder != current.embedder:
                half_way.set()
                go_on.wait(50)
            return whole(library, content, wanted, *rest)

        monkeypatch.setattr(Library, "passages", slowly)
        job = client.post("/reindex").json()
        assert half_way.wait(100)
        assert answer(client)["model"]["embedder"] == old
        upload(client, ("new.txt", b"Sherry comes from Jerez."))
        problem(client.post("/reindex"), 409)
        go_on.set()
        stop, asked = threading.Event(), []

        def ask_on() -> None:
            while not stop.is_set():
                asked.append(answer(client)["model"]["embedder"])

        asking = threading.Thread(target=ask_on)
        asking.start()
        ended = finished(client.app.state.service.jobs, job["job"])  # type: ignore[attr-defined]
        assert answer(client)["model"]["embedder"] == str(other_embedder)
        stop.set()
        asking.join(50)
        assert (ended.state, ended.error, ended.done) == ("done", None, 3)
        assert asked
        assert set(asked) <= {old, str(other_embedder)}
        assert client.get("/readyz").json()["needs_reindex"] is None
        after = client.get("/documents").json()["documents"]
        assert [one for one in after if one["name"] != "new.txt"] == before["documents"]
        for document in client.get("/documents").json()["documents"]:
            client.delete(f"/documents/{document['id']}")
        upload(client, *CONTENTS)  # an emptied store begins with the new embedder, not with the old one
        assert answer(client)["model"]["embedder"] == str(other_embedder)
        upload(client, ("late.txt", b"Cider is made from apples."))

    gone = settings.model_copy(update={"embedder": None})
    monkeypatch.setattr(Library, "passages", whole)
    moved = other_embedder.with_name("moved")
    other_embedder.rename(moved)
    with service(gone) as client:  # the stored vectors' embedder cannot be had any more: only a reindex helps
        assert "reindex" in problem(client.get("/readyz"), 503)["hint"]
        client.app.state.service.loaded.clear()  # type: ignore[attr-defined]
        finished(client.app.state.service.jobs, client.post("/reindex").json()["job"])  # type: ignore[attr-defined]
        wait_until_ready(client)
        assert answer(client)["model"]["embedder"] == old
        assert len(client.get("/documents").json()["documents"]) == 3
        with closing(Service(settings.model_copy(update={"embedder": str(moved)}))) as other:
            other.reindex(Job("reindex"))  # by another process, as it were
        assert client.post("/ask", json=QUESTION).status_code == 503  # noticed at once, never a mix
