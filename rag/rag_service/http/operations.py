"""Long work over HTTP: jobs, reindexing, evaluations; and what people say of answers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from rag_service.evaluation.gate import check_gate
from rag_service.evaluation.ratings import Rating, append, cited
from rag_service.evaluation.run import Plan, evaluate_and_log
from rag_service.http.answers import Jobs
from rag_service.http.ask import Collection, Question, TopK
from rag_service.http.documents import Granted, Running
from rag_service.indexing.jobs import Progress

router = APIRouter()

_LONGEST_QUOTE = 5000


class Evaluation(BaseModel):
    """`gate`: the least that each figure must reach (the most for `ece` and `quotes`)."""

    model_config = ConfigDict(extra="forbid")
    collection: Collection = "default"
    count: Annotated[int, Field(ge=1, le=2000, strict=True)] = 150
    top_k: TopK = 4
    seed: Annotated[int, Field(ge=0, strict=True)] = 7
    calibrate: bool = False
    gate: dict[Annotated[str, StringConstraints(max_length=80)], float] = Field(
        default_factory=dict, examples=[{"answer_containment": 0.8}]
    )


@router.get("/jobs")
def list_jobs(
    service: Running,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Jobs:
    """Long work that runs or has ended since the start, the newest first, without verdicts."""
    return Jobs(service.jobs.all()[offset : offset + limit])


@router.get("/jobs/{job}")
def get_job(job: str, service: Running) -> Progress:
    """How far a job is: `state` running, done, failed or cancelled; `done` of `total`; `current`, with its `passages`
    of `passages_total`; a verdict for each file."""
    return service.jobs.find(job)


@router.delete("/jobs/{job}")
def cancel_job(job: str, service: Running) -> Progress:
    """Lets a job end after the step that it is at; what it has done so far stays."""
    return service.jobs.cancel(job)


@router.post("/reindex", status_code=202)
def reindex(service: Running) -> Progress:
    """Makes all passages again from the stored text, with the embedder and passage size of the settings. A job; the old
    passages answer until it has ended."""
    return service.start_reindex()


@router.post("/evaluations", status_code=202)
def start_evaluation(body: Evaluation, service: Running, grant: Granted) -> Progress:
    """Asks a collection questions that are made from its own documents. A job; when GET /jobs/{job} says `done`, its
    `result` has the `figures`, and in `missed` a sentence for each threshold that was not met."""
    grant.check(body.collection)
    service.parts()
    service.store.view(body.collection)
    gate = check_gate(body.gate)
    plan = Plan(body.collection, body.count, body.top_k, body.seed, calibrate=body.calibrate)

    return service.jobs.start("evaluate", lambda job: asdict(evaluate_and_log(service, plan, gate, job.reaches)))


class Cited(BaseModel):
    model_config = ConfigDict(extra="forbid")
    document_id: Annotated[str, StringConstraints(max_length=100)]
    start: Annotated[int, Field(ge=0, strict=True)]
    end: Annotated[int, Field(ge=0, strict=True)]


class Rate(BaseModel):
    """`abstained` and `citations` as they came with the answer."""

    model_config = ConfigDict(extra="forbid")
    question: Question = Field(examples=["What does sulphur dioxide do in wine?"])
    collection: Collection = "default"
    good: bool
    abstained: bool = False
    citations: Annotated[tuple[Cited, ...], Field(max_length=50)] = ()


@router.post("/ratings", status_code=204)
def rate(body: Rate, service: Running, grant: Granted) -> Response:
    """Keeps whether an answer was good, and what it cited, in the data folder's `questions.jsonl`, whose questions
    `python -m rag_service eval --questions` asks again. A later rating of the same question replaces the first."""
    grant.check(body.collection)
    citations = tuple(
        cited(service.store, body.collection, one.document_id, one.start, min(one.end, one.start + _LONGEST_QUOTE))
        for one in body.citations
    )
    rating = Rating(body.question, body.collection, body.good, body.abstained, citations)
    append(service.settings.ratings_path, rating)
    return Response(status_code=204)
