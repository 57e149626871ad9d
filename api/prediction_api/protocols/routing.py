"""What the calls of every protocol have in common: how they are reached, what they ask, what they can answer."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from prediction_api.errors import NoModel, RequestRefused, UnknownModel
from prediction_api.models.store import Catalog, LiveModel, ServedModel


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These statuses as the OpenAPI schema describes them."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    kinds = RequestRefused.__subclasses__()
    titles = {status: ", or ".join(kind.title for kind in kinds if kind.status == status) for status in statuses}
    return {status: {"description": title, "content": content} for status, title in titles.items()}


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


def live_model_of(request: Request) -> LiveModel:
    """The model for this whole request. Raises UnknownModel, or NoModel saying what the registry and a refusal said."""
    model = model_of(request)
    if model.live is not None:
        return model.live
    refusal = model.refusal
    refused = f"; version {refusal.version} was refused: {refusal.detail}" if refusal else ""
    members = readiness_answer(catalog_of(request), model, model.name)
    raise NoModel(f"registry: {members['registry']['detail']}{refused}", **members)


def model_of(request: Request) -> ServedModel:
    """The model that the path names, else the default one."""
    name, catalog = request.path_params.get("name"), catalog_of(request)
    model = catalog.default if name is None else catalog.models.get(name)
    if model is None:
        kind = UnknownModel if name is not None and catalog.state.reachable else NoModel
        members = readiness_answer(catalog, None, name or catalog.settings.default_model)
        raise kind(catalog.missing(name), **members)
    return model


def readiness_answer(catalog: Catalog, model: ServedModel | None, name: str | None) -> dict[str, Any]:
    """Of one model, by `name`; `model` is None where no such model is served. Of each, `ready` or why it is not."""
    live, state = model and model.live, catalog.state
    states = {name: refusal.reason for name, refusal in catalog.unsafe.items()}
    for one in catalog.models.values():
        states[one.name] = "ready" if one.live else one.refusal.reason if one.refusal else "loading"
    registry = {"model": name, "alias": catalog.registry.alias, **asdict(state)}
    if state.reachable:
        registry["detail"] = model.detail if model else catalog.missing(name)
    return {
        "ready": live is not None,
        "model": live and {"name": live.name, "version": live.version, "loaded_at": live.loaded_at},
        "registry": registry,
        "refused": model and model.refusal,
        "models": states,
    }


def catalog_of(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog
