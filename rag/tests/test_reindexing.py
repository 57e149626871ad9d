"""All vectors are made anew beside the old ones, which answer until the new ones take their place."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until_ready
from fastapi.testclient import TestClient
from test_jobs import finished
from test_service import problem, upload
from test_store import TEXT, add, rows, unit

from rag_service.documents import Extracted, Span
from rag_service.engines.folders import embedder_folder
from rag_service.ingestion import Library
from rag_service.jobs import Job
from rag_service.main import create_app
from rag_service.reindexing import Gate, reindex
from rag_service.runtime import Runtime
from rag_service.settings import Settings
from rag_service.store import Store

QUESTION = {"question": "What is port fortified with?"}


class Halves:
    """A library that cuts every text in two, as far as reindexing knows a library; `hears` of each text."""

    def __init__(self, store: Store, hears: Any = None) -> None:
        self._store, self._hears = store, hears

    def write(self, extracted: Extracted, *where: Any) -> None:
        if self._hears:
            self._hears()
        middle = len(extracted.text) // 2
        spans = [Span(0, middle), Span(middle, len(extracted.text))]
        collection, document_id, name, size, origin, added_at, _ = where
        self._store.add(collection, document_id, name, size, extracted, spans, unit(2, 3), "new", origin, added_at)


def test_what_changes_meanwhile_is_caught_up_with(store: Store, tmp_path: Path) -> None:
    for number in "123":
        add(store, number, f"{number}.txt", embedder="old")
    before = store.documents()
    beside = tmp_path / "beside.db"
    beside.write_text("left by a process that was killed")
    job, changed = Job("reindex"), []

    def change() -> None:
        if not changed:
            changed.append(True)
            add(store, "4", "1.txt", embedder="old")  # in place of document 1
            store.delete("c", "2")

    reindex(store, beside, lambda new: Halves(new, change), lambda seen: store.take_over(beside, seen), job)  # type: ignore[arg-type, return-value]

    assert [(document.id, document.name) for document in store.documents()] == [("4", "1.txt"), ("3", "3.txt")]
    assert store.find("c", document_id="3") == before[2]
    assert rows(store) == {"documents": 2, "chunks": 4, "vectors": 4, "tokens": 0, "full_text": 4}
    stored = store.embedder()
    assert stored is not None
    assert stored.identity == "new"
    assert job.seen().done == job.seen().total == 3  # 2 was gone before its turn
    assert list(tmp_path.glob("beside*")) == []
    numbers = [number for number, _ in store.search_text("c", ["wine"], 9)]
    assert min(numbers) > 2**32  # none of the old ones: an index in memory cannot take a new passage for an old one
    assert {store.passages([number])[number].text for number in numbers} <= {TEXT[:18], TEXT[18:]}


def test_a_gate_lets_many_pass_and_closes_when_they_have_left() -> None:
    gate, order = Gate(), []
    inside, leave = threading.Barrier(3), threading.Event()

    def pass_through() -> None:
        with gate.passing():
            inside.wait(20)
            leave.wait(20)
            order.append("left")

    passing = [threading.Thread(target=pass_through) for _ in "12"]
    for thread in passing:
        thread.start()
    inside.wait(20)

    def close() -> None:
        with gate.closed():
            order.append("closed")

    closing = threading.Thread(target=close)
    closing.start()
    leave.set()
    for thread in [*passing, closing]:
        thread.join(20)
    assert order == ["left", "left", "closed"]
    with gate.passing(), Gate(patience=0.01).closed():
        pass  # one that never leaves does not keep the gate open for ever
    impatient = Gate(patience=0.01)
    with impatient.passing(), impatient.closed():
        pass


@pytest.fixture(scope="module")
def other_embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights with a line more in the tokenizer's file: another identity."""
    original = embedder_folder(None, "x", Path("nowhere"), 1).path
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
        client.app.state.runtime.loaded.wait(100)  # type: ignore[attr-defined]
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
        upload(client, ("port.txt", b"Port is fortified with brandy."), ("beer.txt", b"Beer is brewed."))
        before = client.get("/documents").json()

    changed = settings.model_copy(update={"embedder": str(other_embedder)})
    with service(changed) as client:
        assert "reindex" in client.get("/readyz").json()["needs_reindex"]
        old = answer(client)["model"]["embedder"]
        half_way, go_on = threading.Event(), threading.Event()
        write = Library.write

        def slow_write(library: Library, *where: Any, **more: Any) -> int:
            if library._store is not client.app.state.runtime.store:  # type: ignore[attr-defined]
                half_way.set()
                go_on.wait(50)
            return write(library, *where, **more)

        monkeypatch.setattr(Library, "write", slow_write)
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
        ended = finished(client.app.state.runtime.jobs, job["job"])  # type: ignore[attr-defined]
        assert answer(client)["model"]["embedder"] == str(other_embedder)
        stop.set()
        asking.join(50)
        assert (ended.state, ended.error, ended.done) == ("done", None, 3)
        assert asked
        assert set(asked) <= {old, str(other_embedder)}
        assert client.get("/readyz").json()["needs_reindex"] is None
        after = client.get("/documents").json()["documents"]
        assert [one for one in after if one["name"] != "new.txt"] == before["documents"]
        upload(client, ("late.txt", b"Cider is made from apples."))

    gone = settings.model_copy(update={"embedder": None})
    monkeypatch.setattr(Library, "write", write)
    moved = other_embedder.with_name("moved")
    other_embedder.rename(moved)
    with service(gone) as client:  # the stored vectors' embedder cannot be had any more: only a reindex helps
        assert "reindex" in problem(client.get("/readyz"), 503)["hint"]
        client.app.state.runtime.loaded.clear()  # type: ignore[attr-defined]
        finished(client.app.state.runtime.jobs, client.post("/reindex").json()["job"])  # type: ignore[attr-defined]
        wait_until_ready(client)
        assert answer(client)["model"]["embedder"] == old
        assert len(client.get("/documents").json()["documents"]) == 4
        with closing(Runtime(settings.model_copy(update={"embedder": str(moved)}))) as other:
            other.reindex(Job("reindex"))  # by another process, as it were
        assert client.post("/ask", json=QUESTION).status_code == 503  # noticed at once, never a mix
