"""The Open Inference Protocol (V2) over HTTP: tensors to rows, predictions to tensors, and what the model looks like.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md. The outputs have the
names that MLServer gives them for scikit-learn's models.
"""

import json
from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from prediction_api.errors import Complaint, UnknownModel
from prediction_api.http.middleware import json_response, read_json_body
from prediction_api.models.contract import CategoryFeature, Contract
from prediction_api.models.predictor import Prediction, Row
from prediction_api.models.store import LiveModel
from prediction_api.predicting.responses import Json
from prediction_api.predicting.rows import MOST_ROWS, RowReader, read_envelope, wrong_content
from prediction_api.protocols.routing import (
    PROBLEM_STATUSES,
    PlainRoute,
    inference_of,
    live_model_of,
    problems,
    settings_of,
    worked,
)

v2_router = APIRouter(route_class=PlainRoute)
_OF_MODEL = problems(404, 503)
_INFERS = {**problems(404), **PROBLEM_STATUSES}
MOST_TENSORS = 10_000  # a fault of each is noted before any is told


def _whole(given: Any) -> Any:
    """In JSON 3.0 is an integer too."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


Size = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MOST_ROWS)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class InputTensor(Part):
    """One feature for n rows, of shape [n] or [n, 1]; or all of them, of shape [n, features], where all are numbers."""

    name: str
    shape: list[Size] = Field(min_length=1, max_length=2)
    datatype: Literal["FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
                      "BYTES"]  # fmt: skip
    data: list[Any] = Field(min_length=1)
    parameters: dict[str, Any] | None = None


class RequestedOutput(Part):
    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(Part):
    id: str | None = Field(default=None, max_length=1_000)
    parameters: dict[str, Any] | None = None
    inputs: list[InputTensor] = Field(min_length=1, max_length=MOST_TENSORS)
    outputs: Annotated[list[RequestedOutput], Field(max_length=MOST_TENSORS)] | None = None


class OutputTensor(BaseModel):
    name: str
    shape: list[int]
    datatype: Literal["FP32", "BYTES"]
    data: list[float | str]
    parameters: dict[str, str] | None = None


class InferAnswer(BaseModel):
    """`parameters` holds `prediction_id`, and for regression `interval_half_width` and `interval_coverage`."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, str | float]
    outputs: list[OutputTensor]


class TensorShape(BaseModel):
    name: str
    datatype: Literal["FP32", "BYTES"]
    shape: list[int]


class ModelShape(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorShape]
    outputs: list[TensorShape]


class ServerAnswer(BaseModel):
    name: str
    version: str
    extensions: list[str]


class ServerLiveAnswer(BaseModel):
    live: bool


class ServerReadyAnswer(BaseModel):
    ready: bool


class ModelReadyAnswer(BaseModel):
    name: str
    ready: bool


def read_tensors(reader: RowReader, asked: InferRequest) -> list[Row]:
    """The rows in the request's tensors. Raises WrongContent naming the tensor, or row and feature."""
    tensors = asked.inputs
    matrix = tensors[0] if len(tensors) == 1 and tensors[0].name not in reader.accepted else None
    if matrix and all(feature.type == "number" for feature in reader.features):
        columns = _columns_of(matrix, reader)
    else:
        if complaints := reader.check_names([tensor.name for tensor in tensors], ("inputs",)):
            raise wrong_content(complaints)
        columns = {tensor.name: _column(tensor, reader) for tensor in tensors}
    first, length = next((name, len(column)) for name, column in columns.items())
    for name, column in columns.items():
        if len(column) != length:
            raise _wrong(name, f"expected {length} rows as in {first!r}, found {len(column)}")
    rows = (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))
    return reader.rows(rows, ("rows",))


def check_outputs(contract: Contract, asked: InferRequest) -> None:
    """Raises WrongContent for an output that the model does not have."""
    known = [output["name"] for output in _outputs(contract)]
    for number, one in enumerate(asked.outputs or []):
        if one.name not in known:
            what = f"expected one of {', '.join(known)}, found the text {one.name[:40]!r}"
            raise wrong_content([Complaint(("outputs", number, "name"), what)])


def infer_answer(live: LiveModel, predictions: Sequence[Prediction], identifier: str, asked: InferRequest) -> Json:
    """The response object; `id` is the client's own where it gave one, as the protocol wants it."""
    contract, count = live.predictor.contract, len(predictions)
    parameters: Json = {"prediction_id": identifier}
    if contract.interval is not None:
        parameters["interval_half_width"] = contract.interval.half_width
        parameters["interval_coverage"] = contract.interval.coverage
    wanted = {one.name for one in asked.outputs or []}
    outputs = [output for output in _outputs(contract) if not wanted or output["name"] in wanted]
    for output in outputs:
        output["shape"][0] = count
        if output["name"] == "predict":
            output["data"] = [one.value for one in predictions]
        else:
            output["data"] = [share for one in predictions for share in (one.probabilities or {}).values()]
            output["parameters"] = {"labels": json.dumps(contract.labels, ensure_ascii=False)}  # values are never lists
    return {
        "model_name": live.name,
        "model_version": live.version,
        "id": asked.id if asked.id is not None else identifier,
        "parameters": parameters,
        "outputs": outputs,
    }


def model_shape(live: LiveModel) -> Json:
    """The model's metadata: a tensor per feature, of any number of rows."""
    contract = live.predictor.contract
    inputs = [
        {"name": one.name, "datatype": "BYTES" if isinstance(one, CategoryFeature) else "FP32", "shape": [-1]}
        for one in contract.features
    ]
    named = {"name": live.name, "versions": [live.version], "platform": "onnx_onnxv1"}
    return {**named, "inputs": inputs, "outputs": _outputs(contract)}


def _outputs(contract: Contract) -> list[Json]:
    if contract.task == "regression":
        return [{"name": "predict", "datatype": "FP32", "shape": [-1]}]
    return [
        {"name": "predict", "datatype": "BYTES", "shape": [-1]},
        {"name": "predict_proba", "datatype": "FP32", "shape": [-1, len(contract.labels)]},
    ]


def _column(tensor: InputTensor, reader: RowReader) -> list[Any]:
    """The values of one feature."""
    name, text = tensor.name, isinstance(reader.accepted[tensor.name], CategoryFeature)
    if text != (tensor.datatype == "BYTES"):
        raise _wrong(name, f"expected {'BYTES' if text else 'FP32 or another number'}, found {tensor.datatype}")
    if len(tensor.shape) == 2 and tensor.shape[1] != 1:
        raise _wrong(name, f"expected the shape [n] or [n, 1], found {tensor.shape}")
    return _flat(tensor)


def _columns_of(tensor: InputTensor, reader: RowReader) -> dict[str, list[Any]]:
    """The values of every feature, from a matrix with the features in the contract's order."""
    names = [feature.name for feature in reader.features]
    if tensor.datatype == "BYTES" or len(tensor.shape) != 2 or tensor.shape[1] != len(names):
        found = f"{tensor.datatype} of shape {tensor.shape}"
        raise _wrong(
            tensor.name, f"expected numbers of shape [n, {len(names)}], or a tensor per feature, found {found}"
        )
    values = _flat(tensor)
    return {name: values[place :: len(names)] for place, name in enumerate(names)}


def _flat(tensor: InputTensor) -> list[Any]:
    """The tensor's values in row-major order; nested lists are taken too."""
    values = tensor.data
    if any(isinstance(one, list) for one in values):
        width = prod(tensor.shape[1:])
        if not all(isinstance(one, list) and len(one) == width for one in values):
            raise _wrong(tensor.name, f"expected lists of {width} values for the shape {tensor.shape}")
        values = [value for one in values for value in one]
    if len(values) != prod(tensor.shape):
        raise _wrong(
            tensor.name, f"expected {prod(tensor.shape)} values for the shape {tensor.shape}, found {len(values)}"
        )
    return values


def _wrong(name: str, what: str) -> Exception:
    return wrong_content([Complaint(("inputs", name[:100]), what)])


@v2_router.get("/v2", response_model=ServerAnswer, tags=["protocols"])
async def v2(_: Request) -> Response:
    """Open Inference Protocol: what this server is."""
    return json_response({"name": "prediction_api", "version": "1", "extensions": []})


@v2_router.get("/v2/health/live", response_model=ServerLiveAnswer, tags=["protocols"])
async def v2_live(_: Request) -> Response:
    """Open Inference Protocol: the process answers."""
    return json_response({"live": True})


@v2_router.get("/v2/health/ready", response_model=ServerReadyAnswer, responses=problems(503), tags=["protocols"])
async def v2_ready(request: Request) -> Response:
    """Open Inference Protocol: a model is loaded."""
    live_model_of(request)
    return json_response({"ready": True})


@v2_router.get("/v2/models/{name}", response_model=ModelShape, responses=_OF_MODEL, tags=["protocols"])
@v2_router.get(
    "/v2/models/{name}/versions/{version}", response_model=ModelShape, responses=_OF_MODEL, tags=["protocols"]
)
async def v2_model(request: Request) -> Response:
    """Open Inference Protocol: the model's inputs and outputs."""
    return json_response(model_shape(_named_model(request)))


@v2_router.get("/v2/models/{name}/ready", response_model=ModelReadyAnswer, responses=_OF_MODEL, tags=["protocols"])
@v2_router.get(
    "/v2/models/{name}/versions/{version}/ready",
    response_model=ModelReadyAnswer,
    responses=_OF_MODEL,
    tags=["protocols"],
)
async def v2_model_ready(request: Request) -> Response:
    """Open Inference Protocol: this model can predict."""
    return json_response({"name": _named_model(request).name, "ready": True})


@v2_router.post("/v2/models/{name}/infer", response_model=InferAnswer, responses=_INFERS, tags=["protocols"])
@v2_router.post(
    "/v2/models/{name}/versions/{version}/infer", response_model=InferAnswer, responses=_INFERS, tags=["protocols"]
)
async def v2_infer(request: Request) -> Response:
    """Open Inference Protocol: a tensor per feature of shape [n] or [n, 1], or one of shape [n, features]."""
    live = _named_model(request)
    body = await read_json_body(request, settings_of(request).api_max_body_bytes)
    inference = inference_of(request)

    def answer() -> Response:
        asked = read_envelope(InferRequest, body)
        check_outputs(live.predictor.contract, asked)
        identifier = inference.new_id()
        predictions = inference.many(live, read_tensors(live.reader, asked), identifier)
        return json_response(infer_answer(live, predictions, identifier, asked))

    return await worked(request, len(body), answer)


def _named_model(request: Request) -> LiveModel:
    """The live model of the name and version in the path. Raises UnknownModel, or NoModel where none is live yet."""
    live, version = live_model_of(request), request.path_params.get("version")
    if version not in (None, live.version):
        raise UnknownModel(f"version {live.version} of {live.name!r} is live, not {version[:100]!r}")
    return live
