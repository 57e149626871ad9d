"""The HTTP calls: read, ask one thing, shape the answer. What is refused is raised and becomes a problem in `http`."""

import asyncio
from functools import partial

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from prediction_api.errors import NoModel
from prediction_api.http.bodies import content_kind, read_json_body
from prediction_api.http.problems import json_response
from prediction_api.predicting.explanation import explain
from prediction_api.predicting.responses import (
    BatchAnswer,
    ExplanationAnswer,
    Json,
    ModelAnswer,
    ModelsAnswer,
    PredictionAnswer,
    batch_answer,
    explanation_answer,
    model_answer,
    models_answer,
    prediction_answer,
    readiness_answer,
    readiness_of_all,
)
from prediction_api.protocols.csv import answer_csv, csv_form, whole
from prediction_api.protocols.routing import (
    PROBLEM_STATUSES,
    PlainRoute,
    catalog_of,
    entry_of,
    live_model_of,
    problems,
    read_row,
    worked,
)
from prediction_api.telemetry.feedback import MOST_BYTES, FeedbackAnswer, read_feedback
from prediction_api.telemetry.history import HistoryAnswer

router = APIRouter(route_class=PlainRoute)  # of the service
model_router = APIRouter(route_class=PlainRoute)  # of one model: these calls are under /models/{name} too
_BATCH_ANSWERS = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **PROBLEM_STATUSES}


@model_router.post("/predict", response_model=PredictionAnswer, responses=PROBLEM_STATUSES, tags=["predict"])
async def predict(request: Request) -> Response:
    """One prediction. The body is one JSON object with every feature of the model, by either of its names."""
    live = live_model_of(request)
    row = await read_row(request, live)
    inference = entry_of(request).inference
    identifier = inference.new_id()
    return json_response(prediction_answer(live, row, await inference.one(live, row, identifier), identifier))


@model_router.post("/predict/batch", response_model=BatchAnswer, responses=_BATCH_ANSWERS, tags=["predict"])
async def predict_batch(request: Request) -> Response:
    """Predictions in the order of the rows: 1 to 10,000 as JSON, or CSV of any length.

    One bad row refuses the batch; the first 20 faults are named. CSV is answered with CSV, and JSON too where the
    request has `Accept: text/csv`. With `?safe=1`, texts that a spreadsheet would run as
    a formula begin with an apostrophe.
    """
    live = live_model_of(request)
    form_for = partial(csv_form, live, request)
    if content_kind(request) == "csv":
        return await answer_csv(request, live, form_for)
    body = await read_json_body(request, catalog_of(request).settings.api_max_body_bytes)
    inference = entry_of(request).inference
    identifier = inference.new_id()

    def answer() -> Response:
        rows = live.reader.many(body)
        predictions = inference.many(live, rows, identifier)
        if "text/csv" in request.headers.get("accept", ""):
            return whole(form_for(any(map(live.reader.unknown, rows))), rows, predictions, identifier)
        return json_response(batch_answer(live, rows, predictions, identifier))

    return await worked(request, len(body), answer)


@model_router.post(
    "/feedback", status_code=202, response_model=FeedbackAnswer, responses=PROBLEM_STATUSES, tags=["predict"]
)
async def feedback(request: Request) -> Response:
    """The later truth about a prediction, by its id. The answer 202 means that it is on the disk.

    Ids are not kept here, so an unknown id is accepted too; the monitoring finds no prediction for it.
    """
    contract = live_model_of(request).predictor.contract
    given = read_feedback(await read_json_body(request, MOST_BYTES), contract)
    await entry_of(request).log.keep_feedback(given.id, given.actual)
    return json_response({"status": "accepted"}, 202)


@model_router.get("/model", response_model=ModelAnswer, responses=problems(503), tags=["model"])
async def model(request: Request) -> Response:
    """What is served: version, features, metrics, the data it was trained on, and its digest."""
    return json_response(model_answer(live_model_of(request)))


@model_router.post("/explain", response_model=ExplanationAnswer, responses=PROBLEM_STATUSES, tags=["predict"])
async def explanation(request: Request) -> Response:
    """What moved a prediction: each feature in turn replaced by its median or most frequent value of training.

    The body is that of `/predict`. This is no traffic: it is neither counted as a prediction nor logged.
    """
    live = live_model_of(request)
    row = await read_row(request, live)
    # As many predictions as there are features: in a thread, so that nobody else waits for a wide model's.
    return json_response(explanation_answer(live, await asyncio.to_thread(explain, live.predictor, row)))


@model_router.get("/history", response_model=HistoryAnswer, responses=problems(503), tags=["model"])
async def history(request: Request) -> Response:
    """The last 20 decisions about the model, newest first: what was promoted, refused or rolled back, when and why."""
    return json_response(await entry_of(request).history.read())


@router.get("/livez", tags=["health"])
@router.get("/health", include_in_schema=False)
@router.get("/healthz", include_in_schema=False)
@router.get("/ping", include_in_schema=False)
async def livez(request: Request) -> Response:
    """The process answers. Aliases: /health, /healthz, /ping. `ready` says whether it can predict; see /readyz."""
    default = catalog_of(request).default
    return json_response({"status": "ok", "ready": default is not None and default.live is not None})


@router.get("/models", response_model=ModelsAnswer, tags=["model"])
async def models(request: Request) -> Response:
    """Every registered model that carries the alias. Each has the calls that predict under `/models/{name}/` too."""
    return json_response(models_answer(catalog_of(request)))


@router.get("/readyz", responses=problems(503), tags=["health"])
async def readyz(request: Request) -> Response:
    """The default model is loaded. Says also what the registry last answered, which version was refused, and why."""
    every = {"models": readiness_of_all(catalog_of(request))}
    try:
        return json_response(_readiness(request) | every)
    except NoModel as error:
        raise NoModel(error.detail, members={**error.members, **every}) from None


@router.get("/models/{name}/readyz", responses=problems(404, 503), tags=["health"])
async def model_readyz(request: Request) -> Response:
    """This model is loaded; otherwise as `/readyz`."""
    return json_response(_readiness(request))


def _readiness(request: Request) -> Json:
    return readiness_answer(catalog_of(request), entry_of(request), live_model_of(request).name)


@router.get("/metrics", response_class=PlainTextResponse, tags=["health"])
async def metrics(request: Request) -> Response:
    """Counts and times in Prometheus' text format."""
    return Response(catalog_of(request).metrics.page(), media_type=CONTENT_TYPE_LATEST)
