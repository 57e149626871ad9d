"""Long work shows how far it is, and says how it ended."""

from __future__ import annotations

import threading

import pytest
from fastapi.testclient import TestClient
from test_service import problem

from rag_service.documents import Verdict
from rag_service.engines import Embedder
from rag_service.errors import TooManyJobs, UnknownJob
from rag_service.ingestion import Library
from rag_service.jobs import Job, Jobs
from rag_service.loaders import Limits
from rag_service.store import Store


def test_a_job_tells_how_far_it_is_and_how_it_ended() -> None:
    half_way, go_on = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        job.expects(2)
        job.works_on("a.txt")
        job.ends_step(Verdict("a.txt", "indexed"))
        job.works_on("b.txt")
        job.tells(128, 300)
        half_way.set()
        go_on.wait(20)
        job.ends_step(Verdict("b.txt", "failed", code="empty"))

    jobs = Jobs()
    started = jobs.start("ingest", work)
    half_way.wait(20)
    seen = jobs.find(started.job)
    assert (seen.state, seen.done, seen.total, seen.current, seen.counts) == ("running", 1, 2, "b.txt", {"indexed": 1})
    assert (seen.passages, seen.passages_total) == (128, 300)
    go_on.set()
    ended = finished(jobs, started.job)
    assert (ended.state, ended.done, ended.current) == ("done", 2, None)
    assert [verdict.name for verdict in ended.documents] == ["a.txt", "b.txt"]
    assert jobs.all()[0].documents == ()


def finished(jobs: Jobs, job: str):  # type: ignore[no-untyped-def]
    while (seen := jobs.find(job)).state == "running":
        threading.Event().wait(0.01)
    return seen


def test_a_long_file_tells_how_many_of_its_passages_are_embedded(
    store: Store, embedder: Embedder, limits: Limits
) -> None:
    told: list[tuple[int, int]] = []
    text = "\n\n".join(f"Wine {number} is made from the grapes of the year {number}." for number in range(1, 300))

    library = Library(store, embedder, limits, 16, 0)
    verdict = library.add("long.txt", text.encode(), "c", tell=lambda done, total: told.append((done, total)))

    assert [done for done, _ in told] == [*range(0, verdict.passages, 128)]
    assert {total for _, total in told} == {verdict.passages}
    assert len(told) > 1


def test_work_that_breaks_ends_its_job_with_a_reason() -> None:
    def breaks(_: Job) -> None:
        raise ZeroDivisionError("a secret detail")

    ended = Jobs().run("ingest", breaks)

    assert ended.state == "failed"
    assert "ZeroDivisionError" in str(ended.error)
    assert "secret" not in str(ended.error)


def test_jobs_are_bounded_and_old_ones_forgotten() -> None:
    go_on = threading.Event()
    jobs = Jobs()
    started = [jobs.start("ingest", lambda _: bool(go_on.wait(20)) and None) for _ in range(8)]
    with pytest.raises(TooManyJobs):
        jobs.start("ingest", lambda _: None)
    go_on.set()
    for one in started:
        finished(jobs, one.job)
    for _ in range(120):
        jobs.run("ingest", lambda _: None)
    assert len(jobs.all()) == 100
    with pytest.raises(UnknownJob):
        jobs.find(started[0].job)


def test_an_upload_in_the_background_is_followed_to_its_end(client: TestClient) -> None:
    files = [("files", ("wine.txt", b"Port is fortified with brandy.")), ("files", ("empty.txt", b""))]
    response = client.post("/documents", params={"background": True}, files=files, data={"collection": "later"})
    assert response.status_code == 202
    started = response.json()
    assert (started["collection"], started["kind"]) == ("later", "ingest")

    ended = finished(client.app.state.runtime.jobs, started["job"])  # type: ignore[attr-defined]

    seen = client.get(f"/jobs/{started['job']}").json()
    assert [(one["name"], one["verdict"]) for one in seen["documents"]] == [
        ("wine.txt", "indexed"),
        ("empty.txt", "failed"),
    ]
    assert (seen["state"], seen["done"], seen["total"], seen["counts"]) == ("done", 2, 2, ended.counts)
    assert client.get("/jobs").json()["jobs"][0]["job"] == started["job"]
    answer = client.post("/ask", json={"question": "What is port fortified with?", "collection": "later"}).json()
    assert answer["answer"] == "Port is fortified with brandy."
    problem(client.get("/jobs/none"), 404)
    client.delete(f"/documents/{ended.documents[0].document_id}", params={"collection": "later"})


def test_a_snapshot_undoes_what_came_after_it(client: TestClient) -> None:
    def upload(text: bytes) -> None:
        client.post("/documents", files=[("files", ("port.txt", text))], data={"collection": "kept"})

    def answer() -> str:
        question = {"question": "What is port fortified with?", "collection": "kept"}
        return str(client.post("/ask", json=question).json()["answer"])

    upload(b"Port is fortified with brandy.")
    taken = client.post("/snapshots", json={"name": "before-refresh"})
    assert (taken.status_code, taken.json()["documents"]) == (201, 1)
    upload(b"Port is fortified with water.")
    assert answer() == "Port is fortified with water."

    assert client.post("/snapshots/before-refresh/restore").json() == taken.json()

    assert answer() == "Port is fortified with brandy."
    assert [one["name"] for one in client.get("/snapshots").json()["snapshots"]] == ["before-refresh"]
    problem(client.post("/snapshots", json={"name": "../x"}), 422)
    problem(client.post("/snapshots/none/restore"), 404)
    assert client.delete("/snapshots/before-refresh").status_code == 204
    problem(client.delete("/snapshots/before-refresh"), 404)
    [document] = client.get("/documents", params={"collection": "kept"}).json()["documents"]
    client.delete(f"/documents/{document['id']}", params={"collection": "kept"})
