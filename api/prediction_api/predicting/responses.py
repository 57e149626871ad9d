"""The shapes of what the service answers; they also document it in the OpenAPI schema."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from prediction_api.models.catalog import Catalog, Entry
from prediction_api.models.contract import DataOrigin, Feature, Interval, NumberHistogram, example_of
from prediction_api.models.predictor import Prediction, Row, seven_digits
from prediction_api.models.store import LiveModel, Refusal
from prediction_api.predicting.explanation import Contribution, Explanation

Json = dict[str, Any]


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


class ExplanationAnswer(BaseModel):
    """Contributions with the largest change first. They need not add up."""

    prediction: float | str
    typical_prediction: float | str
    contributions: list[Contribution]
    model: ModelName


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


class ModelAnswer(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    name: str
    version: str
    alias: str
    run_id: str | None
    task: str
    target: str
    labels: list[str]
    features: list[Feature]
    interval: Interval | None
    prediction_histogram: NumberHistogram | None
    metrics: dict[str, float]
    data: DataOrigin | None
    trained_at: datetime | None
    code_version: str | None
    loaded_at: datetime
    sha256: str


_DESCRIBED = {"task", "target", "labels", "interval", "prediction_histogram", "metrics", "data"}


class Problem(BaseModel):
    """RFC 9457, with a hint at what to do and, for wrong input, each place that is wrong."""

    type: str
    title: str
    status: int
    detail: str
    hint: str
    request_id: str
    errors: list[Json] = []


# The two that answer predictions build plain dictionaries: models would cost more than the prediction itself.


def prediction_answer(live: LiveModel, row: Row, prediction: Prediction, identifier: str) -> Json:
    answer: Json = {"prediction": prediction.value}
    interval = live.predictor.contract.interval
    if prediction.probabilities is not None:
        answer["probabilities"] = prediction.probabilities
    elif interval is not None and isinstance(prediction.value, float):
        low, high = bounds(prediction.value, interval.half_width)
        answer["interval"] = {"low": low, "high": high, "coverage": interval.coverage}
    if unknown := live.reader.unknown(row):
        answer["unknown"] = unknown
    return answer | {"id": identifier, "model": {"name": live.name, "version": live.version}}


def bounds(value: float, half_width: float) -> tuple[float, float]:
    """The interval's ends around a prediction."""
    return seven_digits(value - half_width), seven_digits(value + half_width)


def batch_answer(live: LiveModel, rows: Sequence[Row], predictions: Sequence[Prediction], identifier: str) -> Json:
    contract = live.predictor.contract
    answer: Json = {"predictions": [one.value for one in predictions]}
    if contract.task == "classification":
        answer["probabilities"] = [one.probabilities for one in predictions]
    elif contract.interval is not None:
        answer["interval"] = contract.interval
    if any(unknown := [live.reader.unknown(row) for row in rows]):
        answer["unknown"] = unknown
    return answer | {"id": identifier, "model": {"name": live.name, "version": live.version}}


def explanation_answer(live: LiveModel, explanation: Explanation) -> Json:
    return asdict(explanation) | {"model": {"name": live.name, "version": live.version}}


def model_answer(live: LiveModel) -> Json:
    contract = live.predictor.contract
    features = [
        feature.model_dump(exclude={"histogram"}, mode="json") | {"example": example_of(feature)}
        for feature in contract.features
    ]
    own: Json = {"name": live.name, "version": live.version, "alias": live.alias, "run_id": live.run_id}
    loaded: Json = {"loaded_at": live.loaded_at, "sha256": live.sha256, "features": features}
    trained: Json = {"trained_at": contract.trained_at, "code_version": contract.code_version}
    return own | contract.model_dump(include=_DESCRIBED, mode="json") | trained | loaded


def readiness_answer(catalog: Catalog, entry: Entry | None, name: str | None) -> Json:
    """Of one model, by `name`; `entry` is None where no such model is served."""
    live, model, state = entry and entry.live, entry and entry.model, catalog.state
    said = model.detail if model else catalog.missing(name)
    return {
        "ready": live is not None,
        "model": live and {"name": live.name, "version": live.version, "loaded_at": live.loaded_at},
        "registry": {
            "model": name,
            "alias": catalog.registry.alias,
            "reachable": state.reachable,
            "detail": said if state.reachable else state.detail,
            "checked_at": state.checked_at,
        },
        "refused": model and model.refusal,
    }


def models_answer(catalog: Catalog) -> Json:
    """Every registered model with the alias, and those whose names cannot be served."""
    default, alias = catalog.default, catalog.registry.alias
    found = [(name, entry.live, entry.model.refusal) for name, entry in catalog.entries.items()]
    found += [(name, None, refusal) for name, refusal in catalog.unsafe.items()]
    models = [
        {"name": name, "version": live and live.version, "alias": alias, "ready": bool(live), "refused": refusal}
        for name, live, refusal in found
    ]
    return {"default": default and default.model.name, "models": models}


def readiness_of_all(catalog: Catalog) -> dict[str, str]:
    """For each model `ready`, or why it is not."""
    reasons = {name: refusal.reason for name, refusal in catalog.unsafe.items()}
    for name, entry in catalog.entries.items():
        refusal = entry.model.refusal
        reasons[name] = "ready" if entry.live else refusal.reason if refusal else "loading"
    return reasons
