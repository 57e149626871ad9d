"""Documents in bulk: what Spark and the loader store is what the service would have stored, and it is there at once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from bucket import KEYS, s3_running
from conftest import wait_until_ready
from fastapi.testclient import TestClient
from pyarrow import fs

from rag_service.__main__ import main
from rag_service.app import create_app
from rag_service.bulk.embed import embed, make_parts
from rag_service.bulk.files import files_of, read
from rag_service.bulk.load import Load, drop_next
from rag_service.bulk.parts import Work
from rag_service.errors import AlreadyReindexing, LoadFailed, NoDocuments, SparkStopped, Watched
from rag_service.indexing.ingest import files_under
from rag_service.models.embedder import BertEmbedder
from rag_service.service import Service
from rag_service.settings import Settings
from rag_service.store.protocol import Store, every_document
from rag_service.store.sqlite import SqliteStore

SAMPLES = Path(__file__).parent.parent / "documents"
QUESTION = {"question": "Who built the clock tower of Vell?", "collection": "towns"}
TOWER = "The clock tower of Vell was built by {}."
MASTER = "local[2]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Documents of several kinds, one of them twice, one that is none, and one that is not looked at."""
    documents = tmp_path / "documents"
    (documents / "deep").mkdir(parents=True)
    for name in ("acidity.md", "malolactic-fermentation.html", "vinho-verde.pdf"):
        shutil.copy(SAMPLES / name, documents)
    shutil.copy(SAMPLES / "acidity.md", documents / "deep" / "again.md")
    (documents / "tower.txt").write_text(TOWER.format("Anna Riedl"))
    (documents / os.fsdecode(b"caf\xe9.txt")).write_text("The coffee of Vell is strong.")
    (documents / "bad.txt").write_bytes(b"\x89PNG")
    (documents / ".hidden.txt").write_text("Nobody reads this.")
    return documents


@pytest.fixture
def service(settings: Settings, tmp_path: Path) -> Iterator[Service]:
    """One with a store of its own, whose models are not loaded."""
    with closing(Service(settings.model_copy(update={"data_dir": tmp_path / "data"}))) as opened:
        yield opened


def add(service: Service, embedder: BertEmbedder, name: str, text: bytes) -> None:
    service.library_over(service.store, embedder).add(name, text, "towns")


def work_of(service: Service, embedder: BertEmbedder, source: Path | str) -> Work:
    edition = service.library_over(service.store, embedder).edition()
    settings, store = service.settings, service.store
    parts = str(settings.data_dir / "parts")
    return Work(str(source), parts, settings, service.limits(), edition, store.known(edition))


def bulk(service: Service, embedder: BertEmbedder, folder: Path, store: Store | None = None) -> dict[str, int]:
    """The whole of it without Spark, each file a part."""
    drop_next(service.store, "towns")
    work = work_of(service, embedder, folder)
    parts = [part for file in files_of(str(folder)) for part in work.parts([file])]
    for part in parts:
        work.make(part)
    failures = service.settings.data_dir / "made" / "failed.jsonl"
    return dict(Load(store or service.store, "towns", work, failures, lambda line: None).run(parts))


def everything(store: Store) -> dict[str, Any]:
    """What is stored of a collection, but for numbers, times and vectors."""
    view = store.view("towns")
    numbers = store.passage_numbers(view).tolist()
    passages, vectors = store.passages(view, numbers), store.vectors(numbers)
    documents = [replace(one, added_at="") for one in every_document(store, "towns")]
    return {
        "edition": replace(view.edition, id=0),
        "documents": documents,
        "contents": [store.content("towns", one.id) for one in documents],
        "originals": [store.original("towns", one.id) for one in documents],
        "passages": [(replace(passages[number], chunk_id=0), vectors[number].signs) for number in numbers],
        "words": [score for _, score in store.lexical(view, ["acid", "tower"], 100)],
    }


def vectors(store: Store) -> numpy.ndarray:
    numbers = store.passage_numbers(store.view("towns")).tolist()
    found = store.vectors(numbers)
    return numpy.stack([found[number].vector for number in numbers])


def text_of(store: Store, name: str = "tower.txt") -> str:
    there = store.find("towns", name=name)
    assert there is not None
    return store.content("towns", there.id).text


def answer(settings: Settings) -> Any:
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        said = client.post("/ask", json=QUESTION).json()
    return said["answer"], said["confidence"], said["citations"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_bulk_stores_what_the_service_would_have_stored(
    kind: str, settings: Settings, folder: Path, embedder: BertEmbedder, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    new_url = request.getfixturevalue("new_url") if kind == "postgresql" else lambda: None
    bulk, usual = (
        settings.model_copy(update={"data_dir": tmp_path / name, "store": new_url()}) for name in ("bulk", "usual")
    )
    said: list[str] = []
    with closing(Service(bulk)) as service:  # a run that was killed
        service.library_over(service.store, embedder).add("left.txt", b"Nobody reads this.", "towns@next")

    counts = embed(bulk, str(folder), "towns", MASTER, None, said.append)
    with closing(Service(usual)) as service:
        library = service.library_over(service.store, embedder)
        verdicts = [library.add(name, path.read_bytes(), "towns") for name, path in files_under([folder])]

    assert counts == {"indexed": 6, "unchanged": 0, "failed": 1}
    [failed] = [one for one in verdicts if one.verdict == "failed"]
    listed = (bulk.data_dir / "bulk-towns.failed.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in listed] == [
        {"name": "bad.txt", "code": failed.code, "reason": failed.reason},
    ]
    assert f"bad.txt failed: {failed.reason}" in said
    assert any(line.startswith("embedded 7 of 7 documents, ") for line in said)
    with closing(Service(bulk)) as one, closing(Service(usual)) as other:
        assert everything(one.store) == everything(other.store)
        numpy.testing.assert_allclose(vectors(one.store), vectors(other.store), atol=1e-3)
    assert answer(bulk) == answer(usual)
    assert not (bulk.data_dir / "bulk-towns").exists()


def test_what_is_wrong_on_an_executor_is_said(service: Service, folder: Path, embedder: BertEmbedder) -> None:
    work = work_of(service, embedder, folder)
    other = replace(work, edition=replace(work.edition, embedder="another"))

    with pytest.raises(SparkStopped, match="The store's vectors were made by another, but the embedder is now int8"):
        make_parts(other, list(other.parts(files_of(str(folder)))), MASTER, lambda line: None)

    assert other.done() == set()


class Killed(SqliteStore):
    """Its process ends when the last document is loaded."""

    def put_all(self, *arguments: Any) -> list[str]:
        super().put_all(*arguments)
        if self.find("towns@next", name="vinho-verde.pdf"):
            raise KeyboardInterrupt
        return []


def test_users_see_the_old_state_until_all_is_loaded_and_a_killed_loader_leaves_it(
    service: Service, folder: Path, embedder: BertEmbedder
) -> None:
    add(service, embedder, "tower.txt", TOWER.format("Ole Brandt").encode())
    add(service, embedder, "note.txt", b"The market of Vell is on Monday.")
    before = everything(service.store)

    with closing(Killed(service.settings.store_path)) as store, pytest.raises(KeyboardInterrupt):
        bulk(service, embedder, folder, store)

    assert everything(service.store) == before
    assert service.store.collections()["towns@next"] > 2
    add(service, embedder, "late.txt", b"The mill of Vell stands by the river.")  # while it goes on
    bulk(service, embedder, folder)
    assert text_of(service.store) == TOWER.format("Anna Riedl")
    names = [one.name for one in every_document(service.store, "towns")]
    assert {"note.txt", "late.txt", "acidity.md", "deep/again.md"} < set(names)
    assert service.store.collections() == {"towns": 8, "towns@previous": 3}


def test_a_new_collection_is_not_there_until_all_is_loaded_and_holds_nothing_of_a_killed_run(
    service: Service, folder: Path, embedder: BertEmbedder
) -> None:
    with closing(Killed(service.settings.store_path)) as store, pytest.raises(KeyboardInterrupt):
        bulk(service, embedder, folder, store)
    assert set(service.store.collections()) == {"towns@next"}
    (folder / "tower.txt").unlink()

    bulk(service, embedder, folder)

    assert service.store.collections() == {"towns": 5}
    assert service.store.find("towns", name="tower.txt") is None


def test_what_is_stored_already_is_not_embedded_again(
    service: Service, folder: Path, embedder: BertEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bulk(service, embedder, folder) == {"indexed": 6, "unchanged": 0, "failed": 1}
    change = service.store.change()
    texts: list[str] = []
    encode = BertEmbedder.encode_passages

    def noted(self: BertEmbedder, some: list[str], urgent: bool = False) -> Any:
        texts.extend(some)
        return encode(self, some, urgent)

    monkeypatch.setattr(BertEmbedder, "encode_passages", noted)
    shutil.rmtree(service.settings.data_dir / "parts")
    assert bulk(service, embedder, folder) == {"indexed": 0, "unchanged": 6, "failed": 1}
    assert (service.store.change(), texts) == (change, [])

    (folder / "tower.txt").write_text(TOWER.format("Ole Brandt"))
    shutil.copy(folder / "acidity.md", folder / "third.md")
    assert bulk(service, embedder, folder) == {"indexed": 2, "unchanged": 5, "failed": 1}
    assert texts == [TOWER.format("Ole Brandt")]
    assert text_of(service.store, "third.md") == text_of(service.store, "acidity.md")


def test_what_was_deleted_while_the_parts_were_made_is_said(
    service: Service, folder: Path, embedder: BertEmbedder
) -> None:
    add(service, embedder, "tower.txt", (folder / "tower.txt").read_bytes())
    work = work_of(service, embedder, folder)
    parts = list(work.parts(files_of(str(folder))))
    for part in parts:
        work.make(part)
    service.store.remove_name("towns", "tower.txt")
    said: list[str] = []

    counts = Load(service.store, "towns", work, service.settings.data_dir / "failed.jsonl", said.append).run(parts)

    assert counts == {"indexed": 5, "unchanged": 0, "failed": 2}
    assert any(line.startswith("tower.txt failed: Its content was deleted") for line in said)


def test_parts_that_are_there_are_not_made_again(service: Service, folder: Path, embedder: BertEmbedder) -> None:
    work = work_of(service, embedder, folder)
    parts = [part for file in files_of(str(folder)) for part in work.parts([file])]
    for part in parts:
        work.make(part)
    (Path(work.folder) / f"{parts[0].key}.parquet.half").touch()  # of a task that was killed
    said: list[str] = []

    make_parts(work, parts, "no such master", said.append)

    assert work.done() == {part.key for part in parts}
    (folder / "tower.txt").write_text(TOWER.format("Ole Brandt"))
    changed = [part for file in files_of(str(folder)) for part in work.parts([file])]
    assert len({part.key for part in changed} - work.done()) == 1


def test_a_document_that_breaks_the_work_is_its_own_verdict(
    service: Service, folder: Path, embedder: BertEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = BertEmbedder.count

    def broken(self: BertEmbedder, texts: list[str]) -> list[int]:
        if any("Anna Riedl" in text for text in texts):
            raise ValueError("no such token")
        return count(self, texts)

    monkeypatch.setattr(BertEmbedder, "count", broken)
    assert bulk(service, embedder, folder) == {"indexed": 5, "unchanged": 0, "failed": 2}
    failures = (service.settings.data_dir / "made" / "failed.jsonl").read_text()
    assert "The work on the file broke (ValueError: no such token)." in failures


def test_large_files_are_apart(service: Service, folder: Path, embedder: BertEmbedder) -> None:
    work = work_of(service, embedder, folder)
    file = next(files_of(str(folder)))
    files = [replace(file, name=str(number), size=size) for number, size in enumerate([9, 2**25, 2**25, *[1] * 150])]

    assert [len(part.files) for part in work.parts(files)] == [1, 1, 1, 100, 50]


def test_what_cannot_be_begun_is_refused(
    service: Service, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, nothing = service.settings, tmp_path / "nothing"
    nothing.mkdir()

    def refused(error: type[Exception], source: Path | None, changed: Settings = settings) -> None:
        with pytest.raises(error):
            embed(changed, str(source or ""), "towns", MASTER, None, lambda line: None)

    refused(NoDocuments, nothing)
    refused(NoDocuments, None)
    refused(NoDocuments, tmp_path / "no such folder")
    refused(Watched, folder, settings.model_copy(update={"watch": f"{folder}:towns"}))
    with service.store.alone("reindex"):
        refused(AlreadyReindexing, folder)
    for name, value in {"RAG_DATA_DIR": settings.data_dir, "RAG_MODELS_DIR": settings.models_dir}.items():
        monkeypatch.setenv(name, str(value))
    assert main(["embed", str(folder), "--collection", "towns@next"]) == 2
    assert main(["embed", str(nothing)]) == 1
    assert "it has no file of a supported type" in capsys.readouterr().err
    assert main(["embed", "s3://no bucket/manuals"]) == 1
    assert capsys.readouterr().err.startswith("s3://no bucket/manuals: ")


def test_a_bucket_is_read_as_a_folder_is(
    service: Service, folder: Path, embedder: BertEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "s3").mkdir()
    with s3_running(tmp_path / "s3") as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        bucket = fs.S3FileSystem(endpoint_override=address, allow_bucket_creation=True)
        bucket.create_dir("made")
        (folder / "Bär 100% #1.txt").write_text("The mill of Vell stands by the river.")
        (folder / "picture.png").write_bytes(b"\x89PNG")
        (folder / os.fsdecode(b"caf\xe9.txt")).unlink()  # buckets have no such names
        fs.copy_files(str(folder), "made/up/here", fs.LocalFileSystem(), bucket)
        work = replace(work_of(service, embedder, "s3://made/up/here/"), folder="s3://made/parts")
        parts = list(work.parts(files_of(work.source)))

        assert [one.name for part in parts for one in part.files] == [one.name for one in files_of(str(folder))]
        for part in parts:
            work.make(part)
        assert work.done() == {part.key for part in parts}
        counts = Load(service.store, "towns", work, tmp_path / "failed", lambda line: None).run(parts)
        work.remove()

        assert counts == {"indexed": 6, "unchanged": 0, "failed": 1}
        assert text_of(service.store, "Bär 100% #1.txt") == "The mill of Vell stands by the river."
        assert work.done() == set()
        bucket.delete_file("made/up/here/tower.txt")
        with pytest.raises(LoadFailed, match="The object cannot be opened"):
            read(work.source, parts[0].files[-2], 9)
        with pytest.raises(NoDocuments, match="NO_SUCH_BUCKET"):
            list(files_of("s3://nowhere"))
