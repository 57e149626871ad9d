"""What the calls of every protocol have in common: how they are reached, what they ask, what they can answer."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from prediction_api.errors import NoModel, UnknownModel
from prediction_api.http.bodies import read_json_body
from prediction_api.models.catalog import Catalog, Entry
from prediction_api.models.predictor import Row
from prediction_api.models.store import LiveModel
from prediction_api.predicting.responses import readiness_answer

_PROBLEMS = {
    401: "No key that is valid was given",
    404: "No such model is served, or another version of it is live",
    413: "Body too large",
    415: "Not a content type that is read here, or not in UTF-8",
    422: "Does not fit the model; names row and column",
    429: "More is waiting than can be answered soon; Retry-After says when to come again",
    500: "The model gave no usable prediction, or the service has a fault",
    503: "No model is loaded, or what the call needs is full or away",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These statuses as the OpenAPI schema describes them."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _PROBLEMS[status], "content": content} for status in statuses}


PROBLEM_STATUSES = problems(413, 415, 422, 429, 500, 503)  # of every call that predicts
_INLINE_BYTES = 5_000  # a larger body would keep other requests waiting, so it goes to a thread


class PlainRoute(APIRoute):
    """Hands the request straight to the function: FastAPI's reading of parameters costs more than a prediction."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


def named(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    """The same calls under /models/{name}. `openapi` describes them for each model, with its own features."""
    router = APIRouter(route_class=PlainRoute)
    for route in routes:
        if isinstance(route, APIRoute):
            path = f"/models/{{name}}{route.path}"
            router.add_api_route(path, route.endpoint, methods=sorted(route.methods or ()), include_in_schema=False)
    return router.routes


async def worked(request: Request, size: int, work: Callable[[], Response]) -> Response:
    """The answer that `work` gives for a body of this size: at once for a small one, else from a thread."""
    if size < _INLINE_BYTES:
        return work()
    async with request.app.state.batches:
        return await asyncio.to_thread(work)


async def read_row(request: Request, live: LiveModel) -> Row:
    """The row in the body, which is no longer than a row of this model needs. Raises a refusal."""
    most = min(catalog_of(request).settings.api_max_body_bytes, live.reader.most_row_bytes)
    return live.reader.one(await read_json_body(request, most))


def live_model_of(request: Request) -> LiveModel:
    """The model for this whole request. Raises UnknownModel, or NoModel saying what the registry and a refusal said."""
    entry, catalog = entry_of(request), catalog_of(request)
    if entry.live is None:
        model = entry.model
        refused = f"; version {model.refusal.version} was refused: {model.refusal.detail}" if model.refusal else ""
        members = readiness_answer(catalog, entry, model.name)
        raise NoModel(f"registry: {members['registry']['detail']}{refused}", members=members)
    return entry.live


def entry_of(request: Request) -> Entry:
    """The model that the path names, else the default one: the same for the whole request."""
    entry: Entry | None = request.scope.get("model")
    if entry is None:
        name, catalog = request.path_params.get("name"), catalog_of(request)
        entry = request.scope["model"] = catalog.default if name is None else catalog.entries.get(name)
        if entry is None:
            kind = UnknownModel if name is not None and catalog.state.reachable else NoModel
            members = readiness_answer(catalog, None, name or catalog.settings.default_model)
            raise kind(catalog.missing(name), members=members)
    return entry


def catalog_of(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog
