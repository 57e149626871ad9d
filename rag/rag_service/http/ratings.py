"""What people say of answers, over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from rag_service.evaluation.ratings import Rating, append, cited
from rag_service.http.ask import Collection, Question
from rag_service.http.documents import Granted, Running

router = APIRouter()

_LONGEST_QUOTE = 5000


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
