"""Over PostgreSQL an upload that was acknowledged is added, whatever is killed meanwhile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import psycopg
import pytest
from conftest import wait_until_ready
from fastapi.testclient import TestClient
from storing import library_over
from test_service import problem

from rag_service.__main__ import main
from rag_service.app import create_app
from rag_service.errors import StoreFull
from rag_service.indexing.jobs import Job, Jobs
from rag_service.indexing.uploads import UploadWorker
from rag_service.models.engines import Embedder
from rag_service.settings import Settings
from rag_service.store import postgres, postgres_jobs
from rag_service.store.postgres import PostgresStore

FILES = [(f"{number}.txt", f"Wine {number} is dry.\n\n".encode() * 40) for number in range(30)]
HOLDER = (
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity a USING (pid) "
    "WHERE locktype = 'advisory' AND classid > 0 AND a.datname = current_database()"  # two numbers, as tasks have
)


@pytest.fixture
def replica(url: str, settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    """One that adds nothing itself."""
    there = {"store": url, "data_dir": tmp_path / "data", "work": False, "max_files": 50}
    with TestClient(create_app(settings.model_copy(update=there)), raise_server_exceptions=False) as client:
        wait_until_ready(client)
        yield client


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    with closing(PostgresStore(url)) as opened:
        yield opened


@contextmanager
def running(command: str, url: str, settings: Settings, folder: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ, "RAG_STORE": url, "RAG_DATA_DIR": str(folder), "RAG_MODELS_DIR": str(settings.models_dir),
        "RAG_GENERATOR": "none", "RAG_WORK": "false", "RAG_PORT": "0", "PGAPPNAME": name,
    }  # fmt: skip
    arguments = [sys.executable, "-m", "rag_service", command]
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def uploaded(client: TestClient | httpx2.Client, files: list[tuple[str, bytes]], **fields: str) -> str:
    sent = client.post("/documents?background=true", files=[("files", file) for file in files], data=fields)
    assert sent.status_code == 202, sent.text
    return str(sent.json()["job"])


def until(seen: Callable[[], object]) -> object:
    while not (found := seen()):
        threading.Event().wait(0.02)
    return found


def ended(client: TestClient, job: str) -> dict[str, object]:
    until(lambda: client.get(f"/jobs/{job}").json()["state"] != "running")
    found: dict[str, object] = client.get(f"/jobs/{job}").json()
    return found


def test_what_a_killed_replica_acknowledged_and_a_killed_worker_began_another_worker_ends(
    replica: TestClient,
    url: str,
    settings: Settings,
    tmp_path: Path,
) -> None:
    with running("serve", url, settings, tmp_path / "killed", "serve") as served:
        assert served.stderr is not None
        port = next(found[1] for line in served.stderr if (found := re.search(r"port (\d+)", line)))
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as http:
            until(lambda: http.get("/readyz").status_code == 200)
            job = uploaded(http, FILES, metadata='{"year": "2024"}')
        served.send_signal(signal.SIGKILL)
        served.wait()
    assert replica.get(f"/jobs/{job}").json()["done"] == 0

    with (
        running("work", url, settings, tmp_path, "one") as one,
        running("work", url, settings, tmp_path, "other") as other,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        until(lambda: replica.get(f"/jobs/{job}").json()["done"])
        [holder] = connection.execute(HOLDER).fetchone() or [None]
        killed, left = (one, other) if holder == "one" else (other, one)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        assert replica.get(f"/jobs/{job}").json()["state"] == "running"

        seen = ended(replica, job)

        left.send_signal(signal.SIGTERM)
        assert left.wait() == 0
    assert (seen["state"], seen["done"]) == ("done", len(FILES))
    assert [one["name"] for one in seen["documents"]] == [name for name, _ in FILES]  # type: ignore[attr-defined]
    documents = replica.get("/documents").json()["documents"]
    assert sorted(one["name"] for one in documents) == sorted(name for name, _ in FILES)
    assert {one["metadata"]["year"] for one in documents} == {"2024"}


@contextmanager
def worker(store: PostgresStore, embedder: Embedder, *refusals: Exception) -> Iterator[UploadWorker]:
    """One whose library is not to be had at first, for each of these reasons."""
    library, left, now = library_over(store, embedder), list(refusals), threading.Event()

    def to_add_with() -> object:
        if left:
            raise left.pop()
        return library

    working = UploadWorker(store.board, Jobs(store.board), to_add_with)  # type: ignore[arg-type]
    now.set()
    working.start(now)
    yield working
    working.close()


def test_a_file_that_ends_its_worker_again_and_again_fails_by_name_and_the_others_are_added(
    replica: TestClient, store: PostgresStore, embedder: Embedder
) -> None:
    job = uploaded(replica, [("bomb.txt", b"Boom."), ("wine.txt", b"Port is fortified with brandy.")])
    for _ in range(3):
        with store.board.take() as found:  # as a process that ended here
            assert found is not None
            assert store.board.next_file(job).name == "bomb.txt"  # type: ignore[union-attr]

    with worker(store, embedder):
        seen = ended(replica, job)

    bomb, wine = seen["documents"]  # type: ignore[misc]
    assert (bomb["name"], bomb["verdict"], bomb["code"]) == ("bomb.txt", "failed", "cut off")
    assert "3 times" in bomb["reason"]
    assert (wine["name"], wine["verdict"], seen["state"]) == ("wine.txt", "indexed", "done")


def test_nobody_else_takes_what_is_being_added(replica: TestClient, store: PostgresStore) -> None:
    first, second = (uploaded(replica, [(name, b"Wine.")]) for name in ("a.txt", "b.txt"))
    jobs, taken = Jobs(store.board), []
    with store.board.take(), store.board.take(), store.board.take() as third:
        assert third is None
        assert jobs.take(lambda job: None) is False
    while jobs.take(lambda job: taken.append(job.seen().job)):
        pass
    assert taken == [first, second]


def test_a_waiting_upload_is_cancelled_from_any_replica(
    replica: TestClient, store: PostgresStore, embedder: Embedder
) -> None:
    job = uploaded(replica, FILES)
    Jobs(store.board).cancel(job)

    with worker(store, embedder):
        seen = ended(replica, job)

    assert (seen["state"], seen["done"]) == ("cancelled", 0)
    assert store.documents() == []
    with store.board.take() as found:
        assert found is None


def test_an_upload_waits_while_it_cannot_be_added(
    replica: TestClient, store: PostgresStore, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_service.indexing.uploads._TRY_AGAIN_SECONDS", 0.01)
    jobs = [uploaded(replica, [(name, b"Port is fortified with brandy.")]) for name in ("a.txt", "b.txt")]

    with worker(store, embedder, *[StoreFull("rag", "no space") for _ in range(20)]):
        assert [ended(replica, job)["state"] for job in jobs] == ["done", "done"]

    assert len(store.documents()) == 2


def measured(metrics: httpx2.Response, name: str) -> float:
    assert metrics.status_code == 200
    return next(float(line.split()[-1]) for line in metrics.text.splitlines() if line.startswith(f"{name} "))


def test_each_replica_measures_what_waits_and_what_broke_in_a_worker(replica: TestClient, store: PostgresStore) -> None:
    def breaks(_: Job) -> None:
        raise ZeroDivisionError

    for files in (FILES[:2], FILES[2:3]):
        uploaded(replica, files)
    assert until(lambda: measured(replica.get("/metrics"), "rag_uploads_oldest_seconds") > 0.1)
    assert measured(replica.get("/metrics"), "rag_uploads_queued") == 2

    Jobs(store.board).take(breaks)

    metrics = replica.get("/metrics")
    assert measured(metrics, "rag_uploads_queued") == 1
    assert abs(measured(metrics, 'rag_jobs_failed_time_seconds{kind="ingest"}') - time.time()) < 60


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who needs the database waits for it; who wants its figures does not."""
    monkeypatch.setattr(postgres, "_WAIT_SECONDS", 60.0)
    monkeypatch.setattr(postgres_jobs, "_LOOK_SECONDS", 0.01)


def test_a_database_that_is_away_hides_no_other_figure_and_stops_nobody_who_does_not_need_it(
    patient: None, replica: TestClient, url: str
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with ThreadPoolExecutor(1) as pool, psycopg.connect(url, dbname="postgres", autocommit=True) as elsewhere:
        elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        elsewhere.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        waiting = pool.submit(replica.get, "/readyz")
        until(waiting.running)
        metrics = replica.get("/metrics")
        waits = waiting.running()
        elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert waiting.result().status_code == 200
    assert waits
    assert measured(metrics, "rag_ready") == 0


def test_as_many_uploads_wait_as_are_remembered(replica: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_jobs, "_MOST_JOBS", 1)
    job = uploaded(replica, [("a.txt", b"Wine.")])
    refused = replica.post("/documents?background=true", files={"files": ("b.txt", b"Wine.")})
    problem(refused, 429)
    replica.app.state.service.jobs.run("evaluate", lambda _: None)  # type: ignore[attr-defined]
    assert replica.get(f"/jobs/{job}").json()["state"] == "running"  # it is not forgotten for a newer one


def test_over_sqlite_nobody_else_works(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("RAG_STORE", raising=False)
    assert main(["work"]) == 2
    assert "RAG_STORE is not set" in capsys.readouterr().err
