"""Puts the service together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException

from prediction_api.http.access import AccessCheck, KeyRing
from prediction_api.http.admission import AdmissionControl
from prediction_api.http.middleware import RequestRecord, answer_framework
from prediction_api.models.store import Catalog
from prediction_api.protocols.mlflow import mlflow_router
from prediction_api.protocols.native import model_router, router
from prediction_api.protocols.routing import named
from prediction_api.protocols.v2 import v2_router
from prediction_api.settings import Settings
from prediction_api.telemetry.metrics import Metrics
from prediction_api.web.docs import TITLE, openapi_schema, page_router
from prediction_api.web.files import PageFiles
from prediction_api.web.neighbours import Neighbours
from prediction_api.web.overview import Overview

BATCHES_AT_ONCE = 2  # large batches hold memory; the next ones wait


def create_app(settings: Settings) -> FastAPI:
    """The whole service for these settings. It reads keys now, the models and the registry once it is started.

    Raises StartRefused for a key that could be guessed.
    """
    metrics = Metrics()
    metrics.watch_folders(settings.models_dir, settings.prediction_log_dir)
    catalog = Catalog(settings, metrics)
    admission = AdmissionControl(metrics)
    overview = Overview(catalog, metrics, Neighbours(settings))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await catalog.load_copies()
        following = asyncio.create_task(catalog.follow())
        watching = asyncio.create_task(admission.end_slow_connections(min(1.0, settings.request_seconds / 2)))
        yield
        for task in (following, watching):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await overview.close()
        await catalog.close()

    # FastAPI's own documentation pages fetch their scripts from the internet; its telemetry costs time on each request
    quiet: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    of_model = [*model_router.routes, *mlflow_router.routes]
    # tried in this order, each for half a percent of the time of a prediction: the calls that predict come first
    routes = [*of_model, *v2_router.routes, *named(of_model), *router.routes, *page_router.routes]
    bare = {"docs_url": None, "redoc_url": None, "redirect_slashes": False}  # a redirect would repeat the client's Host
    app = FastAPI(title=TITLE, lifespan=lifespan, routes=routes, telemetry=quiet, **bare)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, answer_framework)  # type: ignore[arg-type]  # of this kind only
    app.mount("/pages", PageFiles())
    app.state.catalog, app.state.admission, app.state.overview = catalog, admission, overview
    app.state.batches, app.state.tables = asyncio.Semaphore(BATCHES_AT_ONCE), asyncio.Semaphore(BATCHES_AT_ONCE)
    keys = KeyRing(settings.api_key, settings.api_key_file) if settings.api_key or settings.api_key_file else None
    app.add_middleware(admission.around)
    check = app.state.check_access = AccessCheck(settings.api_host, settings.api_allowed_hosts, keys)
    app.add_middleware(RequestRecord, check_access=check, metrics=metrics, log_all=settings.api_access_log)
    app.openapi = lambda: openapi_schema(app, catalog, keys is not None)  # type: ignore[method-assign]  # FastAPI's documented way
    return app
