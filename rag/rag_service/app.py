"""Composes the service: `create_app(settings)`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.routing import Route

from rag_service.errors import BadSettings
from rag_service.evaluation.first_use import FirstUse
from rag_service.evaluation.samples import Samples
from rag_service.http.ask import router
from rag_service.http.documents import router as document_router
from rag_service.http.keys import KeyRing
from rag_service.http.mcp import McpOverHttp
from rag_service.http.middleware import Outermost
from rag_service.http.openai_chat import router as chat_router
from rag_service.http.operations import router as evaluation_router
from rag_service.http.page_files import PageFiles
from rag_service.http.problems import answer_errors
from rag_service.http.reference import PROBLEM
from rag_service.service import Service
from rag_service.settings import Settings
from rag_service.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from rag_service.telemetry.traces import Traces

# How OpenAPI describes a refused request; FastAPI would name its own kind of error.
_Responses = dict[int | str, dict[str, Any]]
_REFUSED: _Responses = {
    "default": {
        "description": "A problem document (RFC 9457)",
        "content": {"application/problem+json": {"schema": PROBLEM}},
    }
}
_REFUSED_AS_OPENAI: _Responses = {"default": {"description": "The error of OpenAI's protocol"}}


def create_app(settings: Settings, lasting: bool = True) -> FastAPI:
    """The application. Models load in the background once it starts; the store is open at once. One that is not
    `lasting` is made for a single call, and begins nothing of its own accord. Raises BadSettings."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = app.state.service = Service(settings)
        service.jobs.on_end = app.state.metrics.job_ended
        service.on_verdict = app.state.metrics.judged
        app.state.metrics.watch_disk(settings.data_dir)
        app.state.first_use = FirstUse(app.state.service) if lasting else None
        app.state.service.start(lasting)
        if settings.drain_seconds:  # behind a proxy, which sends questions to every replica that can be reached
            await asyncio.to_thread(service.loaded.wait)
        yield
        app.state.service.close()
        if app.state.traces is not None:
            app.state.traces.close()

    # FastAPI's own pages fetch their scripts from elsewhere; /docs needs nothing but this service.
    app = FastAPI(title="Question answering", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.settings = settings
    app.state.metrics = Metrics()
    app.state.samples = Samples()
    app.state.drawing = BoundedSemaphore(settings.max_uploads)
    app.state.traces = _traces(settings, app.state.metrics)
    app.include_router(document_router, max_body_size=settings.max_upload_bytes, responses=_REFUSED)
    for one in (router, evaluation_router):
        app.include_router(one, max_body_size=settings.max_body_bytes, responses=_REFUSED)
    app.include_router(chat_router, max_body_size=settings.max_body_bytes, responses=_REFUSED_AS_OPENAI)
    mcp = McpOverHttp(app, settings.max_body_bytes)
    app.router.routes.append(Route("/mcp", mcp, methods=["POST"], include_in_schema=False))
    app.mount("/pages", PageFiles())
    app.state.keys = KeyRing(settings.api_key_file)
    app.add_middleware(Outermost, metrics=app.state.metrics, keys=app.state.keys, settings=settings)
    answer_errors(app)
    return app


def _traces(settings: Settings, metrics: Metrics) -> Traces | None:
    if not settings.traces:
        return None
    if not settings.mlflow_tracking_uri:
        raise BadSettings("RAG_TRACES is on, but MLFLOW_TRACKING_URI is not set.", "Set both, or neither.")
    from rag_service.telemetry.traces import Traces  # OpenTelemetry's packages, which nothing else needs

    return Traces(settings.mlflow_tracking_uri, metrics)
