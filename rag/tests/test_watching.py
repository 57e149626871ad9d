"""A watched folder and its collection hold the same, whatever happens to the files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import pytest
from conftest import wait_until_ready
from fastapi.testclient import TestClient
from storing import library_over

from rag_service.app import create_app
from rag_service.errors import BadSettings, NotReady
from rag_service.indexing.ingest import Library
from rag_service.indexing.jobs import Jobs
from rag_service.indexing.watch import Watcher
from rag_service.models.engines import Embedder
from rag_service.reading import Limits
from rag_service.settings import Settings, read_settings
from rag_service.store.protocol import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "watched"
    (made / "deep").mkdir(parents=True)
    (made / "port.txt").write_text("Port is fortified with brandy.")
    (made / "deep" / "beer.md").write_text("Beer is brewed.")
    (made / ".hidden.md").write_text("Hidden.")
    return made


@pytest.fixture
def library(store: Store, embedder: Embedder, limits: Limits) -> Library:
    return library_over(store, embedder, limits)


@pytest.fixture
def watcher(folder: Path, store: Store, library: Library) -> Watcher:
    return Watcher(folder, "c", store, lambda: library, Jobs(), 1024 * 1024)


def names(store: Store) -> list[str]:
    return [document.name for document in store.documents("c")]


def test_files_come_change_move_and_go(folder: Path, store: Store, watcher: Watcher) -> None:
    watcher.reconcile()
    assert names(store) == ["deep/beer.md", "port.txt"]
    assert (watcher.state.files, watcher.state.failed, watcher.state.error) == (2, (), None)
    generation, jobs = store.change(), len(watcher._jobs.all())
    watcher.reconcile()
    assert (store.change(), len(watcher._jobs.all())) == (generation, jobs)  # nothing changed, nothing done

    (folder / "port.txt").write_text("Port is fortified with grape spirit.")
    (folder / "deep" / "beer.md").rename(folder / "ale.md")
    watcher.reconcile()

    assert names(store) == ["ale.md", "port.txt"]
    [document] = [one for one in store.documents("c") if one.name == "port.txt"]
    assert store.content("c", document.id).text == "Port is fortified with grape spirit."
    assert watcher._jobs.all()[0].counts == {"indexed": 2}

    (folder / "port.txt").unlink()
    watcher.reconcile()
    assert names(store) == ["ale.md"]
    assert store.lexical(store.view("c"), ["spirit"], 5) == []


def test_one_of_several_follows_until_it_ends(store: Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_service.indexing.watch._TRY_AGAIN_SECONDS", 0.2)
    tried, at_once, alone = threading.Semaphore(0), threading.Event(), store.alone

    def counted(task: Literal["reindex", "watch"]) -> AbstractContextManager[bool]:
        tried.release()
        return alone(task)

    monkeypatch.setattr(store, "alone", counted)
    at_once.set()
    with alone("watch") as other:  # another replica has it
        assert other
        watcher.start(at_once)
        assert tried.acquire(timeout=30)
        assert tried.acquire(timeout=30)  # a second time: the first has not begun
        assert watcher.state.checked_at is None
    try:
        while names(store) != ["deep/beer.md", "port.txt"]:
            time.sleep(0.01)
    finally:
        watcher.close()


def test_what_was_removed_while_nobody_watched_is_forgotten_at_the_start(
    folder: Path, store: Store, library: Library, watcher: Watcher
) -> None:
    watcher.reconcile()
    library.add("uploaded.txt", b"Cider is pressed from apples.", "c")
    library.add("port.txt", b"Another collection's port.", "other")
    (folder / "port.txt").unlink()

    Watcher(folder, "c", store, lambda: library, Jobs(), 1024 * 1024).reconcile()

    assert names(store) == ["deep/beer.md", "uploaded.txt"]  # what came another way stays
    assert [document.name for document in store.documents("other")] == ["port.txt"]


def test_a_content_under_two_names_is_there_as_long_as_one_of_them(
    folder: Path, store: Store, watcher: Watcher
) -> None:
    (folder / "a-copy.txt").write_text("Port is fortified with brandy.")
    watcher.reconcile()
    watcher.reconcile()
    assert names(store) == ["a-copy.txt", "deep/beer.md", "port.txt"]

    (folder / "a-copy.txt").unlink()
    watcher.reconcile()

    assert names(store) == ["deep/beer.md", "port.txt"]


def test_a_file_that_is_no_longer_readable_is_not_cited_as_it_was(folder: Path, store: Store, watcher: Watcher) -> None:
    watcher.reconcile()
    (folder / "port.txt").write_bytes(b"\x00\x01" * 500)
    watcher.reconcile()

    assert names(store) == ["deep/beer.md"]
    [failed] = watcher.state.failed
    assert (failed.name, failed.code) == ("port.txt", "not text")
    (folder / "port.txt").write_text("Port is fortified with brandy.")
    watcher.reconcile()
    assert names(store) == ["deep/beer.md", "port.txt"]
    assert watcher.state.failed == ()


def test_a_folder_that_cannot_be_read_forgets_nothing(
    folder: Path, store: Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher.reconcile()
    before = names(store)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError):
        watcher.reconcile()
    folder.with_name("elsewhere").rename(folder)

    def not_ready() -> Library:
        raise NotReady("The models are still loading.")

    monkeypatch.setattr(watcher, "_library", not_ready)
    (folder / "port.txt").unlink()
    with pytest.raises(NotReady):
        watcher.reconcile()

    assert names(store) == before


def test_a_running_service_follows_its_folder(settings: Settings, folder: Path, tmp_path: Path) -> None:
    watching = settings.model_copy(update={"data_dir": tmp_path / "data", "watch": f"{folder}:cellar"})
    with TestClient(create_app(watching)) as client:
        wait_until_ready(client)

        def shown() -> dict[str, Any]:
            documents = client.get("/documents", params={"collection": "cellar"}).json()["documents"]
            return {document["name"]: document["origin"] for document in documents}

        until(lambda: shown() == {"deep/beer.md": str(folder), "port.txt": str(folder)})
        (folder / "new.txt").write_text("Sherry comes from Jerez.")
        (folder / "bad.pdf").write_bytes(b"%PDF-1.7 cut")
        (folder / "port.txt").unlink()
        until(lambda: shown() == {"deep/beer.md": str(folder), "new.txt": str(folder)})
        until(lambda: bool(client.get("/readyz").json()["watch"]["failed"]))
        watch = client.get("/readyz").json()["watch"]
        assert (watch["folder"], watch["collection"], watch["files"], watch["error"]) == (
            str(folder),
            "cellar",
            3,
            None,
        )
        assert [(one["name"], one["code"]) for one in watch["failed"]] == [("bad.pdf", "damaged")]
        asked = client.post("/ask", json={"question": "What is port fortified with?", "collection": "cellar"}).json()
        assert "port.txt" not in str(asked)
        assert "watch" in [job["kind"] for job in client.get("/jobs").json()["jobs"]]

        folder.rename(folder.with_name("away"))
        until(lambda: client.get("/readyz").json()["watch"]["error"] is not None)
        assert set(shown()) == {"deep/beer.md", "new.txt"}


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until it holds; a machine under load may take its time."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        threading.Event().wait(0.05)


def test_a_watched_folder_is_named_with_its_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(watch="/srv/papers").watched == (Path("/srv/papers"), "default")
    assert read_settings(watch="/srv/a:b/papers:wine").watched == (Path("/srv/a:b/papers"), "wine")
    assert read_settings().watched is None
    monkeypatch.setenv("RAG_WATCH", "/srv/papers:../x")
    with pytest.raises(BadSettings, match="RAG_WATCH"):
        read_settings()


def test_a_watched_content_is_not_deleted_by_its_other_name(settings: Settings, folder: Path, tmp_path: Path) -> None:
    watching = settings.model_copy(update={"data_dir": tmp_path / "data", "watch": f"{folder}:cellar"})
    with TestClient(create_app(watching)) as client:
        wait_until_ready(client)
        where = {"collection": "cellar"}
        until(lambda: len(client.get("/documents", params=where).json()["documents"]) == 2)
        [added] = client.post(
            "/documents", files={"files": ("a.txt", (folder / "port.txt").read_bytes())}, data=where
        ).json()["documents"]

        assert client.delete(f"/documents/{added['document_id']}", params=where).status_code == 409
