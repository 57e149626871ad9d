"""Running an evaluation over HTTP: it takes minutes, so it is a job."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from rag_service.errors import EmptyCollection
from rag_service.evaluation.gate import check_gate
from rag_service.evaluation.running import Plan, evaluate_and_log
from rag_service.jobs import Job
from rag_service.routes import Collection, TopK, runtime_of
from rag_service.runtime import Runtime

router = APIRouter()


class Evaluation(BaseModel):
    """`gate`: the least that each figure must reach (the most for `ece` and `quotes`)."""

    model_config = ConfigDict(extra="forbid")
    collection: Collection = "default"
    count: Annotated[int, Field(ge=1, le=2000, strict=True)] = 150
    top_k: TopK = 4
    seed: Annotated[int, Field(ge=0, strict=True)] = 7
    calibrate: bool = False
    gate: dict[str, float] = Field(default_factory=dict, examples=[{"answer_containment": 0.8}])


@router.post("/evaluations", status_code=202)
def start_evaluation(body: Evaluation, runtime: Annotated[Runtime, Depends(runtime_of)]) -> dict[str, Any]:
    """Asks a collection questions that are made from its own documents. Gives a job at once; when GET /jobs/{job} says
    `done`, its `result` has the `figures`, and in `missed` a sentence for each threshold that was not met."""
    runtime.parts()
    known = runtime.store.collections()
    if body.collection not in known:
        raise EmptyCollection(body.collection, sorted(known))
    gate = check_gate(body.gate)
    plan = Plan(body.collection, body.count, body.top_k, body.seed, calibrate=body.calibrate)

    def work(job: Job) -> None:
        job.gives(asdict(evaluate_and_log(runtime, plan, gate, job.reaches)))

    return asdict(runtime.jobs.start("evaluate", work))
