"""What the calls of every protocol have in common: how they are reached, what they ask, what they can answer."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from prediction_api.errors import NoModel
from prediction_api.models.store import LiveModel, ModelStore
from prediction_api.predicting.micro_batching import Inference
from prediction_api.predicting.responses import Problem, readiness_answer
from prediction_api.settings import Settings
from prediction_api.telemetry.metrics import Metrics

_PROBLEMS = {
    401: "No key that is valid was given",
    404: "Another model or version is live",
    413: "Body too large",
    415: "Not a content type that is read here, or not in UTF-8",
    422: "Does not fit the model; names row and column",
    429: "More is waiting than can be answered soon; Retry-After says when to come again",
    500: "The model gave no usable prediction, or the service has a fault",
    503: "No model is loaded, or what the call needs is full or away",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These statuses as the OpenAPI schema describes them."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {status: {"description": _PROBLEMS[status], "content": content} for status in statuses}


PROBLEM_STATUSES = problems(413, 415, 422, 429, 500, 503)  # of every call that predicts
_INLINE_BYTES = 5_000  # a larger body would keep other requests waiting, so it goes to a thread


class PlainRoute(APIRoute):
    """Hands the request straight to the function: FastAPI's reading of parameters costs more than a prediction."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


async def worked(request: Request, size: int, work: Callable[[], Response]) -> Response:
    """The answer that `work` gives for a body of so many bytes: at once for a small one, else from a thread."""
    if size < _INLINE_BYTES:
        return work()
    async with request.app.state.batches:
        return await asyncio.to_thread(work)


def live_model_of(request: Request) -> LiveModel:
    """The model for this whole request. Raises NoModel, saying what the registry and the last refusal said."""
    store = store_of(request)
    if store.live is None:
        refusal = store.refusal
        refused = f"; version {refusal.version} was refused: {refusal.detail}" if refusal else ""
        raise NoModel(f"registry: {store.registry_state.detail}{refused}", members=readiness_answer(store))
    return store.live


def store_of(request: Request) -> ModelStore:
    store: ModelStore = request.app.state.store
    return store


def inference_of(request: Request) -> Inference:
    inference: Inference = request.app.state.inference
    return inference


def settings_of(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def metrics_of(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics
