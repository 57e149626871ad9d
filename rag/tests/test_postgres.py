"""What PostgreSQL adds: several replicas over one store. What both stores promise is in test_store.py."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from conftest import wait_until_ready
from fastapi.testclient import TestClient
from pydantic import TypeAdapter
from storing import cut, edition, named, put, unit

from rag_service.app import create_app
from rag_service.errors import BadSettings, StoreAway, StoreTooNew, UnknownJob
from rag_service.indexing.jobs import Job, Jobs, Progress
from rag_service.language import terms_of
from rag_service.service import open_store
from rag_service.settings import Settings, read_settings
from rag_service.store.postgres import PostgresStore
from rag_service.store.protocol import Store
from rag_service.store.sqlite import SqliteStore
from rag_service.types import Span

DOCUMENTS = Path(__file__).parent.parent / "documents"


@pytest.fixture(params=["memory", "store"])
def replicas(
    url: str, settings: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[list[TestClient]]:
    """Two services over one store, which compare vectors in their memory, or in it."""
    with ExitStack() as stack:
        there = {"store": url, "data_dir": tmp_path / "data", "search": request.param}
        apps = [create_app(settings.model_copy(update=there)) for _ in range(2)]
        clients = [stack.enter_context(TestClient(app)) for app in apps]
        for client in clients:
            wait_until_ready(client)
        yield clients


def test_what_one_replica_acknowledged_the_other_finds_and_what_was_deleted_it_no_longer_cites(
    replicas: list[TestClient],
) -> None:
    first, second = replicas
    assert second.get("/collections").json()["collections"] == []
    file = {"files": ("tower.txt", b"The clock tower of Vell was built by Anna Riedl in 1702.")}

    added = first.post("/documents", files=file).json()["documents"][0]
    found = second.post("/ask", json={"question": "Who built the clock tower of Vell?"}).json()
    deleted = first.delete(f"/documents/{added['document_id']}")
    afterwards = second.post("/ask", json={"question": "Who built the clock tower of Vell?"})

    assert found["citations"][0]["document"] == "tower.txt"
    assert deleted.status_code == 204
    assert afterwards.status_code == 404


def test_a_data_folder_that_is_missing_is_made(url: str, settings: Settings, tmp_path: Path) -> None:
    missing = tmp_path / "new" / "data"
    with closing(open_store(settings.model_copy(update={"store": url, "data_dir": missing}))):
        assert missing.is_dir()


def test_words_count_alike_in_both_stores(url: str, tmp_path: Path) -> None:
    """The weights of the two ways to find a passage were fitted to SQLite's BM25."""
    with closing(SqliteStore(tmp_path / "store.db")) as one, closing(PostgresStore(url)) as other:
        for number, file in enumerate(sorted(DOCUMENTS.glob("*.md"))):
            text = file.read_text()
            spans = [Span(match.start(), match.end()) for match in re.finditer(r"\S(?:.|\n(?!\n))+", text)]
            vectors = unit(*[0] * len(spans))
            for store in (one, other):
                store.put("c", named(file.name, str(number), text), edition(), cut(text, spans, vectors))

        for question in ("Isn't naïve café_wine dry?", "How much sulphur dioxide may red wine hold?", "2019 or 1999"):
            here, there = (store.lexical(store.view("c"), terms_of(question), 50) for store in (one, other))
            assert [number for number, _ in there] == [number for number, _ in here]
            assert [score for _, score in there] == pytest.approx([score for _, score in here])


def test_a_replica_that_is_killed_half_way_leaves_the_old_document(url: str) -> None:
    with closing(PostgresStore(url)) as store:
        put(store, "1")
        dying = """
import os, signal, sys
from storing import cut, edition, named, unit
from rag_service.store.postgres import PostgresStore
from rag_service.types import Span
class Dying(list):
    def __iter__(self):
        yield unit(0)[0]
        os.kill(os.getpid(), signal.SIGKILL)
passages = cut("x y", [Span(0, 1), Span(2, 3)], Dying())
PostgresStore(sys.argv[1]).put("c", named("a.txt", "2", "x y"), edition(), passages)
"""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", "tests"])}
        killed = subprocess.run([sys.executable, "-c", dying, url], env=environment)

        assert killed.returncode == -signal.SIGKILL
        assert store.find("c", name="a.txt").id == "1"  # type: ignore[union-attr]
        put(store, "3", "b.txt")  # the writers' lock died with the writer
        assert len(store.documents("c")) == 2


def test_a_task_is_one_process_s_alone(store: Store) -> None:
    with store.alone("reindex") as first, store.alone("reindex") as second, store.alone("watch") as other:
        assert (first, second, other) == (True, False, True)
    with store.alone("reindex") as again:
        assert again


def test_a_job_is_followed_and_cancelled_from_another_replica(url: str) -> None:
    with closing(PostgresStore(url)) as store, closing(PostgresStore(url)) as other:
        here, there = Jobs(store.board), Jobs(other.board)
        begun, cancelled = threading.Event(), threading.Event()

        def work(job: Job) -> None:
            job.reaches(1, 3)
            begun.set()
            while True:  # until it is cancelled
                job.works_on("a.txt")
                cancelled.wait(0.01)

        job = here.start("ingest", work).job
        assert begun.wait(30)
        assert there.find(job).state == "running"
        assert [one.job for one in there.all()] == [job]
        there.cancel(job)
        while (seen := there.find(job)).state == "running":
            cancelled.wait(0.01)
        assert (seen.state, seen.done, seen.total) == ("cancelled", 1, 3)
        with pytest.raises(UnknownJob):
            there.find("another")


def test_a_job_whose_replica_was_killed_has_failed(url: str) -> None:
    with closing(PostgresStore(url)) as store:
        board = store.board
        job = Job("ingest").seen()
        board.post(job.job, TypeAdapter(Progress).dump_json(job).decode())
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE jobs SET seen_at = seen_at - 3600")

        assert Jobs(board).find(job.job).state == "failed"


def test_a_newer_releases_store_is_refused(url: str) -> None:
    PostgresStore(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO migrations VALUES (99)")

    with pytest.raises(StoreTooNew, match="99"):
        PostgresStore(url)


def test_a_database_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")

    with pytest.raises(StoreAway, match=r"rag at 127\.0\.0\.1") as raised:
        PostgresStore("postgresql://rag@127.0.0.1:1/rag", tmp_path / "password")

    assert "secret" not in raised.value.detail


def test_a_password_in_the_address_is_refused() -> None:
    with pytest.raises(BadSettings, match="RAG_STORE_PASSWORD_FILE"):
        read_settings(store="postgresql://rag:secret@db/rag")
