"""Long work shows how far it is, and says how it ended."""

from __future__ import annotations

import re
import threading

import pytest
from fastapi.testclient import TestClient
from storing import library_over
from test_service import problem

from rag_service.errors import TooManyJobs, UnknownJob
from rag_service.indexing.jobs import Job, Jobs
from rag_service.models.engines import Embedder
from rag_service.reading import Limits
from rag_service.store.protocol import Store
from rag_service.types import Verdict


def test_a_job_tells_how_far_it_is_and_how_it_ended() -> None:
    half_way, go_on = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        job.reaches(0, 2)
        job.works_on("a.txt")
        job.ends_step(Verdict("a.txt", "indexed"))
        job.works_on("b.txt")
        job.on_passages(128, 300)
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

    library = library_over(store, embedder, limits, 16, 0)
    verdict = library.add("long.txt", text.encode(), "c", on_passages=lambda done, total: told.append((done, total)))

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


def test_metrics_count_jobs_by_how_they_ended(client: TestClient) -> None:
    def failed() -> float:
        shown = re.search(r'rag_jobs_total\{kind="reindex",state="failed"\} (\S+)', client.get("/metrics").text)
        assert shown is not None  # from the start, so that its first rise is seen
        return float(shown[1])

    def breaks(_: Job) -> None:
        raise ZeroDivisionError

    before = failed()
    client.app.state.service.jobs.run("reindex", breaks)  # type: ignore[attr-defined]
    assert failed() == before + 1


def test_metrics_count_files_by_verdict_in_a_job_or_without(client: TestClient) -> None:
    def failed() -> float:
        shown = re.search(r'rag_files_total\{verdict="failed"\} (\S+)', client.get("/metrics").text)
        assert shown is not None
        return float(shown[1])

    before, files = failed(), [("files", ("empty.txt", b""))]
    client.post("/documents", files=files)
    started = client.post("/documents", params={"background": True}, files=files).json()
    finished(client.app.state.service.jobs, started["job"])  # type: ignore[attr-defined]

    assert failed() == before + 2


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

    ended = finished(client.app.state.service.jobs, started["job"])  # type: ignore[attr-defined]

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


def test_a_cancelled_job_ends_at_its_next_step(client: TestClient) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        job.reaches(0, 2)
        job.works_on("a.txt")
        begun.set()
        go_on.wait(20)
        job.ends_step(Verdict("a.txt", "indexed"))
        job.works_on("b.txt")
        raise AssertionError("it went on")

    jobs = client.app.state.service.jobs  # type: ignore[attr-defined]
    started = jobs.start("ingest", work)
    assert begun.wait(20)
    assert client.delete(f"/jobs/{started.job}").json()["state"] == "running"
    go_on.set()

    ended = finished(jobs, started.job)

    assert (ended.state, ended.error, ended.done) == ("cancelled", None, 1)
    problem(client.delete("/jobs/none"), 404)
