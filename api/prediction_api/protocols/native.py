"""The service's own calls: read, ask one thing, shape the answer. What is refused is raised, and answered in `http`."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from prediction_api.errors import Complaint, FeedbackNotKept, WrongFeedback, complaints_of
from prediction_api.http.bodies import read_json_body
from prediction_api.http.middleware import json_response
from prediction_api.models.contract import Description, Interval, Value
from prediction_api.models.predictor import Prediction, Row
from prediction_api.models.registry import HistoryAnswer
from prediction_api.models.store import LiveModel, Refusal
from prediction_api.predicting.explanation import Explanation, explain
from prediction_api.predicting.rows import shown
from prediction_api.protocols import routing
from prediction_api.protocols.batches import CsvOptions, answer_batch, bounds, csv_form
from prediction_api.telemetry.prediction_log import ID_PATTERN, new_id
from prediction_api.web.overview import OverviewAnswer

Json = dict[str, Any]
router = APIRouter(route_class=routing.PlainRoute)  # of the service
model_router = APIRouter(route_class=routing.PlainRoute)  # of one model: these calls are under /models/{name} too
MOST_FEEDBACK_BYTES = 4_096
_BATCH_ANSWERS = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **routing.PROBLEM_STATUSES}
_CSV_PARAMETERS = [
    {"name": name, "in": "query", "description": what, "schema": {"type": "boolean", "default": False}}
    for name, what in {
        "skip_invalid": "Of a CSV, predict the rows that fit. The last column, `error`, says why another was not "
        "predicted; `X-Skipped-Rows` has their number, `X-Skipped-Lines` the first 20.",
        "passthrough": "Begin the lines of the answer with those of the CSV, which may then have columns that are no "
        "feature. One with the name of a column of the answer is called `input_…`.",
        "safe": "In CSV, begin a text that a spreadsheet would run as a formula with an apostrophe.",
    }.items()
]


class ModelName(BaseModel):
    name: str
    version: str


class IntervalAnswer(BaseModel):
    low: float
    high: float
    coverage: float


class PredictionAnswer(BaseModel):
    """`interval` comes with regression where training measured one, `probabilities` with classification.

    `unknown` names the features whose category the training table does not have; it is left out where there are none.
    """

    prediction: float | str
    interval: IntervalAnswer | None = None
    probabilities: dict[str, float] | None = None
    unknown: list[str] | None = None
    id: str
    model: ModelName


class BatchAnswer(BaseModel):
    """All lists are in the order of the rows; `interval` is one for all rows, `unknown` is there if a row has any."""

    predictions: list[float | str]
    interval: Interval | None = None
    probabilities: list[dict[str, float]] | None = None
    unknown: list[list[str]] | None = None
    id: str
    model: ModelName


@dataclass(frozen=True)
class ExplanationAnswer(Explanation):
    """Contributions with the largest change first. They need not add up."""

    model: ModelName


class Feedback(BaseModel):
    """The id of an answer (`<id>.<n>` for row n of a batch, from 0) and what turned out to be true."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(pattern=ID_PATTERN)
    actual: FiniteFloat | str


class FeedbackAnswer(BaseModel):
    status: str


class ListedModel(BaseModel):
    name: str
    version: str | None
    alias: str
    ready: bool
    refused: Refusal | None


class ModelsAnswer(BaseModel):
    """`default` is the model of the calls that name none."""

    default: str | None
    models: list[ListedModel]


class ModelAnswer(Description):
    """What is served, since when, and where it comes from."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    version: str
    alias: str
    run_id: str | None
    loaded_at: datetime
    sha256: str
    rows: list[dict[str, Value]]  # a few of the test set, for whoever wants to try the model


async def read_row(request: Request, live: LiveModel) -> Row:
    """The row in the body, which is no longer than a row of this model needs. Raises a refusal."""
    most = min(routing.catalog_of(request).settings.api_max_body_bytes, live.reader.most_row_bytes)
    return live.reader.one(await read_json_body(request, most))


def read_feedback(body: bytes, labels: list[str]) -> Feedback:
    """The feedback in this body. Raises WrongFeedback, also when the truth is no number or none of the labels."""
    try:
        given = Feedback.model_validate_json(body)
    except ValidationError as error:
        wrong = complaints_of(error, depth=1)
        raise WrongFeedback(str(wrong[0]), wrong[:5]) from None
    fits = given.actual in labels if labels else not isinstance(given.actual, str)
    if not fits:
        known = ", ".join(map(repr, labels[:10])) + (", ..." if len(labels) > 10 else "")
        expected = f"one of {known}" if labels else "a number"
        mismatch = Complaint(("actual",), f"expected {expected}, found {shown(given.actual)}")
        raise WrongFeedback(str(mismatch), [mismatch])
    return given


def _name(live: LiveModel) -> Json:
    return {"name": live.name, "version": live.version}


# The two that answer predictions build plain dictionaries: models would cost more than the prediction itself.


def prediction_answer(live: LiveModel, row: Row, prediction: Prediction, identifier: str) -> Response:
    answer: Json = {"prediction": prediction.value}
    interval = live.predictor.contract.interval
    if prediction.probabilities is not None:
        answer["probabilities"] = prediction.probabilities
    elif interval is not None and isinstance(prediction.value, float):
        low, high = bounds(prediction.value, interval.half_width)
        answer["interval"] = {"low": low, "high": high, "coverage": interval.coverage}
    if unknown := live.reader.unknown(row):
        answer["unknown"] = unknown
    return json_response(answer | {"id": identifier, "model": _name(live)})


def batch_answer(live: LiveModel, rows: Sequence[Row], predictions: Sequence[Prediction], identifier: str) -> Response:
    contract = live.predictor.contract
    answer: Json = {"predictions": [one.value for one in predictions]}
    if contract.task == "classification":
        answer["probabilities"] = [one.probabilities for one in predictions]
    elif contract.interval is not None:
        answer["interval"] = contract.interval
    if any(unknown := [live.reader.unknown(row) for row in rows]):
        answer["unknown"] = unknown
    return json_response(answer | {"id": identifier, "model": _name(live)})


@model_router.post("/predict", response_model=PredictionAnswer, responses=routing.PROBLEM_STATUSES, tags=["predict"])
async def predict(request: Request) -> Response:
    """One prediction. The body is one JSON object with every feature of the model, by either of its names."""
    live = routing.live_model_of(request)
    row, identifier = await read_row(request, live), new_id()
    prediction = await live.predict(row, identifier)
    return prediction_answer(live, row, prediction, identifier)


@model_router.post(
    "/predict/batch",
    response_model=BatchAnswer,
    responses=_BATCH_ANSWERS,
    tags=["predict"],
    openapi_extra={"parameters": _CSV_PARAMETERS},
)
async def predict_batch(request: Request) -> Response:
    """Predictions in the order of the rows: 1 to 10,000 as JSON, or CSV of any length.

    One bad row refuses the batch; the first 20 faults are named. CSV is answered with CSV, and JSON too where the
    request has `Accept: text/csv`.
    """
    live, options = routing.live_model_of(request), CsvOptions.of(request)
    in_json = None if "text/csv" in request.headers.get("accept", "") else partial(batch_answer, live)
    return await answer_batch(request, live, live.reader.many, partial(csv_form, live, options), in_json, options)


@model_router.post(
    "/feedback", status_code=202, response_model=FeedbackAnswer, responses=routing.PROBLEM_STATUSES, tags=["predict"]
)
async def feedback(request: Request) -> Response:
    """The later truth about a prediction, by its id. The answer 202 means that it is on the disk.

    Ids are not kept here, so an unknown id is accepted too; the monitoring finds no prediction for it.
    """
    live = routing.live_model_of(request)
    given = read_feedback(await read_json_body(request, MOST_FEEDBACK_BYTES), live.predictor.contract.labels)
    if live.log is None:
        raise FeedbackNotKept("the prediction log is switched off")
    await live.log.keep_feedback(given.id, given.actual)
    return json_response({"status": "accepted"}, 202)


@model_router.get("/model", response_model=ModelAnswer, responses=routing.problems(503), tags=["model"])
async def model(request: Request) -> Response:
    """What is served: version, features, metrics, the data it was trained on, and its digest."""
    live = routing.live_model_of(request)
    trained = live.predictor.contract.model_dump(mode="json", include=set(Description.model_fields))
    own = live.record.model_dump(include={"name", "version", "alias", "run_id", "sha256"})
    return json_response(trained | own | {"loaded_at": live.loaded_at, "rows": live.predictor.contract.rows()})


@model_router.post("/explain", response_model=ExplanationAnswer, responses=routing.PROBLEM_STATUSES, tags=["predict"])
async def explanation(request: Request) -> Response:
    """What moved a prediction: each feature in turn replaced by its median or most frequent value of training.

    The body is that of `/predict`. This is no traffic: it is neither counted as a prediction nor logged.
    """
    live = routing.live_model_of(request)
    row = await read_row(request, live)
    # As many predictions as there are features: in a thread, so that nobody else waits for a wide model's.
    found = await asyncio.to_thread(explain, live.predictor, row)
    return json_response(asdict(found) | {"model": _name(live)})


@model_router.get("/history", response_model=HistoryAnswer, responses=routing.problems(503), tags=["model"])
async def history(request: Request) -> Response:
    """The last 20 decisions about the model, newest first: what was promoted, refused or rolled back, when and why."""
    name = routing.model_of(request).name
    return json_response(await routing.catalog_of(request).registry.history(name))


@router.get("/livez", tags=["health"])
@router.get("/health", include_in_schema=False)
@router.get("/healthz", include_in_schema=False)
@router.get("/ping", include_in_schema=False)
async def livez(request: Request) -> Response:
    """The process answers. Aliases: /health, /healthz, /ping. `ready` says whether it can predict; see /readyz."""
    default = routing.catalog_of(request).default
    return json_response({"status": "ok", "ready": default is not None and default.live is not None})


@router.get("/models", response_model=ModelsAnswer, tags=["model"])
async def models(request: Request) -> Response:
    """Every registered model that carries the alias. Each has the calls that predict under `/models/{name}/` too."""
    catalog = routing.catalog_of(request)
    default, alias = catalog.default, catalog.registry.alias
    found = [(name, model.live, model.refusal) for name, model in catalog.models.items()]
    found += [(name, None, refusal) for name, refusal in catalog.unsafe.items()]
    listed = [
        ListedModel(name=name, version=live.version if live else None, alias=alias, ready=bool(live), refused=refusal)
        for name, live, refusal in found
    ]
    return json_response(ModelsAnswer(default=default.name if default else None, models=listed))


@router.get("/readyz", responses=routing.problems(503), tags=["health"])
@router.get("/models/{name}/readyz", responses=routing.problems(404, 503), tags=["health"])
async def readyz(request: Request) -> Response:
    """The model is loaded. Says also what the registry last answered, which version was refused, and why."""
    name = routing.live_model_of(request).name
    return json_response(routing.readiness_answer(routing.catalog_of(request), routing.model_of(request), name))


@router.get("/overview", response_model=OverviewAnswer, tags=["health"])
async def overview(request: Request) -> Response:
    """What serves and how it does: models, drift, live error, documents, Airflow, alerts; at most 5 s old.

    The page at `/` shows it and `make status` prints it. A source that is away is named in the tile's `away`.
    """
    found: OverviewAnswer = await request.app.state.overview.read()
    return json_response(found)


@router.get("/metrics", response_class=PlainTextResponse, tags=["health"])
async def metrics(request: Request) -> Response:
    """Counts and times in Prometheus' text format."""
    return Response(routing.catalog_of(request).metrics.page(), media_type=CONTENT_TYPE_LATEST)
