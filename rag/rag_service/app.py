"""Composes the service: `create_app(settings)`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from rag_service.errors import BadSettings, RagError
from rag_service.evaluation.first_use import FirstUse
from rag_service.evaluation.samples import Samples
from rag_service.http.ask import router
from rag_service.http.documents import UploadPool
from rag_service.http.documents import router as document_router
from rag_service.http.keys import KeyRing
from rag_service.http.mcp import McpOverHttp
from rag_service.http.middleware import Outermost
from rag_service.http.openai_chat import router as chat_router
from rag_service.http.operations import router as evaluation_router
from rag_service.http.page_files import PageFiles
from rag_service.http.page_images import router as page_router
from rag_service.http.problems import problem, problem_of
from rag_service.http.ratings import router as rating_router
from rag_service.service import Service
from rag_service.settings import Settings
from rag_service.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from rag_service.telemetry.traces import Traces

log = logging.getLogger(__name__)


def create_app(settings: Settings, lasting: bool = True) -> FastAPI:
    """The application. Models load in the background once it starts; the store is open at once. One that is not
    `lasting` is made for a single call, and begins nothing of its own accord."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = Service(settings)
        app.state.first_use = FirstUse(app.state.service) if lasting else None
        app.state.service.start()
        app.state.service.watch()
        yield
        app.state.service.close()
        if app.state.traces is not None:
            app.state.traces.close()

    # FastAPI's own pages fetch their scripts from elsewhere; /docs needs nothing but this service.
    app = FastAPI(
        title="Question answering", version="1", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.state.settings = settings
    app.state.metrics = Metrics()
    app.state.samples = Samples()
    app.state.drawing = BoundedSemaphore(settings.max_uploads)
    app.state.traces = _traces(settings, app.state.metrics)
    app.include_router(router)
    app.include_router(chat_router)
    app.include_router(document_router)
    app.include_router(page_router)
    app.include_router(rating_router)
    app.include_router(evaluation_router)
    app.router.routes.append(Route("/mcp", McpOverHttp(app), methods=["POST"], include_in_schema=False))
    app.mount("/pages", PageFiles())
    app.add_middleware(UploadPool, limit=settings.max_uploads)
    app.add_middleware(Outermost, metrics=app.state.metrics, settings=settings, keys=KeyRing(settings.api_key_file))
    app.add_exception_handler(RagError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _broken)
    return app


def _traces(settings: Settings, metrics: Metrics) -> Traces | None:
    if not settings.traces:
        return None
    if not settings.mlflow_tracking_uri:
        raise BadSettings("RAG_TRACES is on, and MLFLOW_TRACKING_URI is not set.", "Set both, or neither.")
    from rag_service.telemetry.traces import Traces  # OpenTelemetry's packages, which nothing else needs

    return Traces(settings.mlflow_tracking_uri, metrics)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RagError)
    request.app.state.metrics.refused(error.title)
    return problem_of(request, error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        reason, place = first["ctx"]["error"], first["loc"][-1] + 1
        detail, errors = f"The body is not valid JSON, at character {place:,}: {reason}.", []
    else:
        errors = [{"loc": [part for part in one["loc"] if part != "body"], "msg": one["msg"]} for one in error.errors()]
        place = ".".join(str(part) for part in errors[0]["loc"]) or "the body"
        detail = f"{place}: {errors[0]['msg']}"
    hint = "GET /docs shows what is expected."
    if first["type"] == "model_attributes_type":  # what a client that names no type sends, or another one
        detail = "The body is not read as a JSON object."
        hint = f"Send a JSON object, with the header Content-Type: application/json. {hint}"
    return problem(request, 422, "The request is not understood", detail, hint, errors)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    hint = "GET /docs lists what can be asked."
    return problem(request, error.status_code, title, str(error.detail), hint, headers=dict(error.headers or {}))


async def _broken(request: Request, error: Exception) -> JSONResponse:
    log.error("request %s broke: %s", request.scope.get("request_id"), type(error).__name__)
    return problem_of(request, error)
