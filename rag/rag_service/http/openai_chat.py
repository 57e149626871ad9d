"""OpenAI's chat protocol, so that existing chat front ends and clients connect. A collection is a model there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, StringConstraints, field_validator

from rag_service.answering.answerer import CheckedText
from rag_service.errors import EmptyCollection
from rag_service.http.ask import LONGEST_QUESTION, Collection, TopK, answering, service_of
from rag_service.http.keys import granted
from rag_service.http.streaming import Event, event_line, event_stream
from rag_service.types import Answer, Citation, Turn

router = APIRouter(prefix="/v1")

_SOURCES = "\n\nSources:"

Text = Annotated[str, StringConstraints(max_length=10_000_000)]  # with any constraint, half a character is refused


class TextPart(BaseModel):
    """A part of a message. Only text is understood."""

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | list[TextPart] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content).strip()
        return (self.content or "").strip()


class StreamOptions(BaseModel):
    """Whether the stream ends with a chunk that counts tokens."""

    include_usage: bool = False


class Model(BaseModel):
    """A collection."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "rag_service"


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class Choice(BaseModel):
    """`message` says the answer and, below it, its sources."""

    index: Literal[0]
    message: dict[Literal["role", "content", "refusal"], str | None]
    finish_reason: Literal["stop"]
    logprobs: None


class Completion(BaseModel):
    """The protocol's answer, and what `/ask` adds to it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: dict[Literal["prompt_tokens", "completion_tokens", "total_tokens"], int]
    citations: list[Citation]
    abstained: bool
    answered_by: Literal["generator", "extractive", "none"]
    confidence: float
    asked: str


_EXAMPLE = {"role": "user", "content": "What does sulphur dioxide do in wine?"}


class Conversation(BaseModel):
    """What else the protocol offers (temperature, tools, …) is taken and has no effect: nothing is sampled here."""

    model: Collection = Field(examples=["default"])
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)] = Field(examples=[[_EXAMPLE]])
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    top_k: TopK = 4

    @field_validator("messages")
    @classmethod
    def _has_a_question(cls, messages: list[Message]) -> list[Message]:
        length = len(_question(messages))
        if not 1 <= length <= LONGEST_QUESTION:
            wanted = f"1 to {LONGEST_QUESTION:,} characters"
            raise ValueError(f"the last user message is the question: {wanted}, here {length:,}")
        return messages


def _question(messages: list[Message]) -> str:
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def _turns(messages: list[Message]) -> list[Turn]:
    """What was asked and answered before the last user message, without the sources below the answers."""
    turns: list[Turn] = []
    for message in messages:
        if message.role == "user":
            turns.append(Turn(message.text[:LONGEST_QUESTION]))
        elif message.role == "assistant" and turns:
            turns[-1] = replace(turns[-1], answer=message.text.partition(_SOURCES)[0])
    return turns[:-1]


@router.post("/chat/completions", responses={200: {"model": Completion, "content": {"text/event-stream": {}}}})
def complete(body: Conversation, request: Request) -> Response:
    """Answers the last user message, as `/ask` does; the model is the collection. A follow-up is completed from the
    turns before it."""
    question = _question(body.messages)
    work = answering(request, question, body.model, body.top_k, conversation=_turns(body.messages))
    reply = _Reply(request, body, question)
    if body.stream:
        return event_stream(request, work, reply.lines)
    return JSONResponse(reply.whole(work(None)))


@router.get("/models")
def list_models(request: Request) -> Models:
    """The collections that hold documents and that the key is for, as models."""
    names = service_of(request).store.collections()
    return Models(data=[Model(id=name) for name in names if granted(request).sees(name)])


@router.get("/models/{name}")
def get_model(name: str, request: Request) -> Model:
    """One collection, as a model."""
    granted(request).check(name)
    known = service_of(request).store.collections()
    if name not in known:
        raise EmptyCollection(name[:80], sorted(known))
    return Model(id=name)


class _Reply:
    """An answer in the protocol's shapes, whole or as chunks."""

    def __init__(self, request: Request, body: Conversation, question: str) -> None:
        self._head = {"id": f"chatcmpl-{request.scope['request_id']}", "created": int(time.time()), "model": body.model}
        self._count = service_of(request).parts().embedder.count
        self._question = question
        self._with_usage = body.stream_options is not None and body.stream_options.include_usage

    def whole(self, answer: Answer) -> dict[str, Any]:
        """A completion."""
        message = {"role": "assistant", "content": reply_text(answer), "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        usage = self._usage(answer)
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage, **_added(answer)}

    def lines(self, event: Event) -> Iterator[str]:
        """The chunks of an event. Only the checked answer is sent: what a chat front end has shown stays shown."""
        if isinstance(event, CheckedText):
            yield self._chunk({"role": "assistant", "content": event.text})
        if not isinstance(event, Answer):
            return
        for piece in list(_pieces(event))[1 if event.sentences else 0 :]:  # these have been said
            yield self._chunk({"role": "assistant", "content": piece})
        yield self._chunk({}, "stop", **_added(event))
        if self._with_usage:
            chunk = {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage(event)}
            yield event_line(chunk)
        yield "data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None, **added: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return event_line({**self._head, "object": "chat.completion.chunk", "choices": [choice], **added})

    def _usage(self, answer: Answer) -> dict[str, int]:
        asked, said = self._count([self._question, reply_text(answer)])
        return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def reply_text(answer: Answer) -> str:
    """The answer with its sources below it, as plain text."""
    return "".join(_pieces(answer))


def _pieces(answer: Answer) -> Iterator[str]:
    yield answer.answer
    for number, citation in enumerate(answer.citations, start=1):
        yield (_SOURCES if number == 1 else "") + f"\n[{number}] {_source(citation, answer)}"


def _source(citation: Citation, answer: Answer) -> str:
    place = citation.document + (f", page {citation.page}" if citation.page else "")
    return place if citation.quote in answer.answer else f"{place}: “{citation.quote}”"


def _added(answer: Answer) -> dict[str, Any]:
    """What the protocol has no field for; its clients pass added fields on."""
    shaped = asdict(answer)
    return {name: shaped[name] for name in ("citations", "abstained", "answered_by", "confidence", "asked")}
