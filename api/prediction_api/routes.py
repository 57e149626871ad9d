"""The HTTP calls: read, ask one thing, shape the answer. What is refused is raised and becomes a problem in `http`."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST

from prediction_api.answers import (
    BatchAnswer,
    ModelAnswer,
    PredictionAnswer,
    Problem,
    batch_answer,
    model_answer,
    prediction_answer,
    readiness_answer,
)
from prediction_api.docs_page import docs_page
from prediction_api.errors import NoModel
from prediction_api.feedback import MOST_BYTES, FeedbackAnswer, read_feedback
from prediction_api.http import json_response, read_json_body
from prediction_api.metrics import Metrics
from prediction_api.model_store import LiveModel, ModelStore
from prediction_api.page_files import PAGE_HEADERS, front_page
from prediction_api.predictor import Prediction
from prediction_api.serving import Serving
from prediction_api.settings import Settings

PROBLEM_STATUSES: dict[int | str, dict[str, object]] = {
    status: {"description": text, "content": {"application/problem+json": {"schema": Problem.model_json_schema()}}}
    for status, text in {
        413: "Body too large",
        415: "Not JSON in UTF-8",
        422: "Does not fit the model; names row and column",
        503: "No model is loaded",
    }.items()
}
_INLINE_BYTES = 20_000  # a larger batch would keep other requests waiting, so it goes to a thread


class PlainRoute(APIRoute):
    """Hands the request straight to the function: FastAPI's reading of parameters costs more than a prediction."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


router = APIRouter(route_class=PlainRoute)


@router.post("/predict", response_model=PredictionAnswer, responses=PROBLEM_STATUSES, tags=["predict"])
async def predict(request: Request) -> Response:
    """One prediction. The body is one JSON object with every feature of the model, by either of its names."""
    live = _live_model(request)
    row = live.reader.one(await read_json_body(request, _settings(request).api_max_body_bytes))
    serving = _serving(request)
    identifier = serving.new_id()
    return json_response(prediction_answer(live, serving.one(live, row, identifier), identifier))


@router.post("/predict/batch", response_model=BatchAnswer, responses=PROBLEM_STATUSES, tags=["predict"])
async def predict_batch(request: Request) -> Response:
    """Predictions for 1 to 10,000 rows, in order. One bad row refuses the batch; the first 20 faults are named."""
    live = _live_model(request)
    body = await read_json_body(request, _settings(request).api_max_body_bytes)
    serving = _serving(request)
    identifier = serving.new_id()

    def predict_rows() -> list[Prediction]:
        return serving.many(live, live.reader.many(body), identifier)

    if len(body) < _INLINE_BYTES:
        predictions = predict_rows()
    else:
        async with request.app.state.batches:
            predictions = await asyncio.to_thread(predict_rows)
    return json_response(batch_answer(live, predictions, identifier))


@router.post("/feedback", status_code=202, response_model=FeedbackAnswer, responses=PROBLEM_STATUSES, tags=["predict"])
async def feedback(request: Request) -> Response:
    """The later truth about a prediction, by its id. It is in the prediction log within a second.

    Ids are not kept here, so one that was never given out is taken too; the monitoring finds no prediction for it.
    """
    contract = _live_model(request).predictor.contract
    told = read_feedback(await read_json_body(request, MOST_BYTES), contract)
    request.app.state.log.told(told.id, told.actual)
    return json_response({"status": "accepted"}, 202)


@router.get("/model", response_model=ModelAnswer, responses={503: PROBLEM_STATUSES[503]}, tags=["model"])
async def model(request: Request) -> Response:
    """What is served: version, features, metrics, the data it was trained on, and its digest."""
    return json_response(model_answer(_live_model(request)))


@router.get("/livez", tags=["health"])
@router.get("/health", include_in_schema=False)
@router.get("/healthz", include_in_schema=False)
@router.get("/ping", include_in_schema=False)
async def livez(request: Request) -> Response:
    """The process answers. Aliases: /health, /healthz, /ping. `ready` says whether it can predict; see /readyz."""
    return json_response({"status": "ok", "ready": _store(request).live is not None})


@router.get("/readyz", responses={503: PROBLEM_STATUSES[503]}, tags=["health"])
async def readyz(request: Request) -> Response:
    """A model is loaded. Says also what the registry last answered and which version was refused last, and why."""
    _live_model(request)
    return json_response(readiness_answer(_store(request)))


@router.get("/metrics", tags=["health"])
async def metrics(request: Request) -> Response:
    """Counts and times in Prometheus' text format."""
    return Response(_metrics(request).page(), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def page(_: Request) -> Response:
    """The page for people."""
    return front_page()


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """The calls and the live model's features, as a page that needs nothing from the internet."""
    return Response(docs_page(request.app.openapi()), headers=PAGE_HEADERS, media_type="text/html")


def _live_model(request: Request) -> LiveModel:
    """The model for this whole request. Raises NoModel, saying what the registry and the last refusal said."""
    store = _store(request)
    if store.live is None:
        refusal = store.refusal
        refused = f"; version {refusal.version} was refused: {refusal.detail}" if refusal else ""
        raise NoModel(f"registry: {store.registry_state.detail}{refused}")
    return store.live


def _store(request: Request) -> ModelStore:
    store: ModelStore = request.app.state.store
    return store


def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics
