"""HTTP to calls and back; no decisions here. Blocking calls are plain functions and so run in threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from rag_service.answering.answerer import CheckedText, Completed, Draft, Retrieved, Tell
from rag_service.errors import RagError, StoreAway, WrongKey, kinds_of
from rag_service.http.answers import FoundPassage, Hits, Models, ModelsAnswer, Ready
from rag_service.http.keys import granted
from rag_service.http.page_files import PAGE_HEADERS, page, site_links
from rag_service.http.problems import NOT_UNDERSTOOD
from rag_service.http.reference import html_of, key_page, reference_page, table
from rag_service.http.streaming import Event, event_line, event_stream
from rag_service.service import Parts, Service
from rag_service.settings import COLLECTION
from rag_service.store.protocol import NEXT, PREVIOUS
from rag_service.types import Answer, Hit, SearchOptions, Turn, Weights

router = APIRouter()

# NAME@next is what a refresh writes to, NAME@previous what the name stood for before.
Collection = Annotated[str, StringConstraints(pattern=rf"^{COLLECTION}({NEXT}|{PREVIOUS})?$")]
Name = Annotated[str, StringConstraints(pattern=f"^{COLLECTION}$")]
LONGEST_QUESTION = 2000
Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_QUESTION)]
TopK = Annotated[int, Field(ge=1, le=20, strict=True)]
Documents = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=255)], ...],
    Field(max_length=100, description="Search only in these documents, by name or id; empty: in all."),
]
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=500)],
    ],
    Field(max_length=20, description='Search only in documents with these values, such as {"year": "2024"}.'),
]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class EarlierTurn(BaseModel):
    """A question that was asked before, best as `asked` of its answer has it, and what was answered."""

    model_config = ConfigDict(extra="forbid")
    question: Question
    answer: Annotated[str, StringConstraints(max_length=10_000)] = ""


class Within(BaseModel):
    """Where to look, and for how much."""

    model_config = ConfigDict(extra="forbid")
    collection: Collection = "default"
    top_k: TopK = 4
    documents: Documents = ()
    metadata: Metadata = {}


class Ask(Within):
    question: Question = Field(examples=["What does sulphur dioxide do in wine?"])
    conversation: list[EarlierTurn] = Field(
        default=[], max_length=50, description="The earlier turns, oldest first; they complete a follow-up."
    )


class Shares(BaseModel):
    """What a hit's place is made of: late interaction, cosine, BM25. For trying out; `/ask` uses the defaults."""

    model_config = ConfigDict(extra="forbid")
    late: Share = Weights.late
    dense: Share = Weights.dense
    lexical: Share = Weights.lexical


class Search(Within):
    query: Question = Field(examples=["sulphur dioxide"])
    weights: Shares = Shares()
    depth: int = Field(
        default=SearchOptions.depth,
        ge=1,
        le=200,
        description="Passages of each search that are compared token by token.",
    )

    def options(self) -> SearchOptions:
        return SearchOptions(self.documents, self.metadata, Weights(**self.weights.model_dump()), self.depth)


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _granted_collection(request: Request, collection: Annotated[Collection, Query()] = "default") -> str:
    granted(request).check(collection)
    return collection


OfQuery = Annotated[str, Depends(_granted_collection)]  # refused where the key is not for it


@router.post(
    "/ask", response_model=None, responses={200: {"model": ModelsAnswer, "content": {"text/event-stream": {}}}}
)
def ask(body: Ask, request: Request) -> dict[str, Any] | Response:
    """An answer with verbatim quotes, or the plain word that the documents do not answer. With
    `Accept: text/event-stream` as events: `asked` where a follow-up was completed, `retrieved`, `token`…, `answer`."""
    options = SearchOptions(body.documents, body.metadata)
    turns = [Turn(one.question, one.answer) for one in body.conversation]
    work = answering(request, body.question, body.collection, body.top_k, options, turns)
    if "text/event-stream" in request.headers.get("accept", ""):
        return event_stream(request, work, lambda event: _lines(event, request))
    return _shaped(work(None), request)


def answering(
    request: Request,
    question: str,
    collection: str,
    top_k: int,
    options: SearchOptions | None = None,
    conversation: Sequence[Turn] = (),
) -> Callable[[Tell | None], Answer]:
    """The work of answering one question, in a place of its own. Raises NotGranted; the work raises what
    `Service.work` and `ask` raise."""
    granted(request).check(collection)

    def work(tell: Tell | None) -> Answer:
        state, began, hits = request.app.state, time.time_ns(), list[Hit]()

        def tell_on(event: Completed | Retrieved | Draft | CheckedText) -> None:
            if isinstance(event, Retrieved):
                hits.extend(event.hits)
            if tell is not None:
                tell(event)

        listener = tell_on if state.traces is not None else tell
        with state.metrics.working.track_inprogress():
            answer = service_of(request).work(
                lambda parts: parts.answerer.ask(question, collection, top_k, listener, options, conversation)
            )
        state.metrics.answered(answer)
        if state.first_use is not None:
            state.first_use(collection)
        if state.traces is not None:
            state.traces.asked(answer.asked, collection, hits, answer, began)
        return answer

    return work


@router.post("/search")
def search(body: Search, request: Request) -> Hits:
    """The passages nearest to a query, with how each search ranked them and the query's words in them."""
    granted(request).check(body.collection)
    hits = service_of(request).work(
        lambda parts: parts.answerer.search(body.query, body.collection, body.top_k, body.options())
    )
    return Hits([FoundPassage.of(hit) for hit in hits])


@router.get("/livez")
@router.get("/health", include_in_schema=False)
@router.get("/healthz", include_in_schema=False)
@router.get("/ping", include_in_schema=False)
async def livez() -> dict[str, str]:
    """200 as long as the process answers."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(request: Request) -> Ready:
    """200 once the models are loaded; says which, and why there is no generator if there is none."""
    service = service_of(request)
    parts = await asyncio.to_thread(service.parts)  # a database that is away lets it wait, and nobody else
    return Ready(
        **asdict(_models(parts)),
        without_generator=parts.without_generator,
        needs_reindex=service.needs_reindex,
        uploads=int(request.app.state.metrics.registry.get_sample_value("rag_uploads_working")),
        watch=service.watcher.state if service.watcher else None,
    )


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    found, service = request.app.state.metrics, service_of(request)
    try:
        # Not in one of the threads that answer requests, which may all be taken.
        if service.store.board is not None:
            found.saw(await asyncio.to_thread(service.store.board.backlog))
        found.ready.set(await asyncio.to_thread(lambda: service.ready))
    except StoreAway:  # `ready` would wait for the database again, longer than Prometheus does
        found.ready.set(0)
    return Response(generate_latest(found.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
def front_page(request: Request) -> Response:
    """The page for people."""
    return page("index.html", _links(request, "Ask"))


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    links, app = _links(request), request.app
    if app.state.keys.given(request.scope) is None:
        html = key_page(app.title, links=links, home=".")
        return HTMLResponse(html, WrongKey.status, {**PAGE_HEADERS, **WrongKey.headers})
    html = reference_page(app.openapi(), str(request.base_url).rstrip("/"), links=links, home=".", more=_errors())
    return HTMLResponse(html, headers=PAGE_HEADERS)


def _errors() -> str:
    """What each status of a refused request can stand for."""
    titles = {422: [NOT_UNDERSTOOD]}
    for kind in kinds_of(RagError):
        titles.setdefault(kind.status, []).append(kind.title)
    rows = [(str(status), html_of("; ".join(titles[status]))) for status in sorted(titles)]
    shown = table(("Status", "Stands for"), rows)
    note = "Below <code>/v1/</code> a refused request has the error of OpenAI's protocol instead."
    return f'<section class="card"><h2>Kinds of errors</h2><p>{note}</p>{shown}</section>'


def _links(request: Request, here: str = "") -> str:
    return site_links(request.app.state.settings.pages, request.url, here)


def _models(parts: Parts) -> Models:
    return Models(parts.embedder.name, parts.generator.name if parts.generator else None, parts.sent_to)


def _shaped(answer: Answer, request: Request) -> dict[str, Any]:
    models = _models(service_of(request).parts())
    return asdict(ModelsAnswer(**vars(answer), model=models, request_id=request.scope["request_id"]))


def _lines(event: Event, request: Request) -> Iterator[str]:
    """The tokens that are no draft, joined, are the answer's text; nothing has checked the drafts."""
    if isinstance(event, Completed):
        yield event_line({"question": event.question}, "asked")
    elif isinstance(event, Retrieved):
        yield event_line(asdict(Hits([FoundPassage.of(hit) for hit in event.hits])), "retrieved")
    elif isinstance(event, Draft):
        yield event_line({"text": event.text, "draft": True}, "token")
    elif isinstance(event, CheckedText):
        yield event_line({"text": event.text, "draft": False}, "token")
    else:
        if not event.sentences:  # they have been said
            yield event_line({"text": event.answer, "draft": False}, "token")
        yield event_line(_shaped(event, request), "answer")
