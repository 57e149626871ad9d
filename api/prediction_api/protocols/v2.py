"""The Open Inference Protocol (V2) over HTTP: its calls, predictions as tensors, and what the model looks like.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md, with Triton's extension
for binary tensors (protocol/extension_binary_data.md in triton-inference-server/server). The outputs have the names
that MLServer gives them for scikit-learn's models.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from prediction_api.errors import UnknownModel, WrongContent
from prediction_api.http.bodies import header_of, read_body, read_json_body
from prediction_api.http.problems import json_response
from prediction_api.models.contract import Contract
from prediction_api.models.predictor import Prediction, Row
from prediction_api.models.store import LiveModel
from prediction_api.predicting.responses import Json
from prediction_api.protocols.routing import (
    PROBLEM_STATUSES,
    PlainRoute,
    catalog_of,
    entry_of,
    live_model_of,
    problems,
    worked,
)
from prediction_api.protocols.tensors import JSON_LENGTH, Datatype, InferRequest, read_request, read_tensors

v2_router = APIRouter(prefix="/v2", route_class=PlainRoute, tags=["protocols"])
_OF_MODEL = problems(404, 503)
_INFERS = {**problems(404), **PROBLEM_STATUSES}


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
    datatype: Datatype
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


class IndexedModel(BaseModel):
    """A line of the repository's index."""

    name: str
    version: str
    state: str
    reason: str


def asked_outputs(contract: Contract, asked: InferRequest) -> list[Json]:
    """The outputs that the request wants, without values. Raises WrongContent for one that the model does not have."""
    outputs = _outputs(contract)
    known = [output["name"] for output in outputs]
    for number, one in enumerate(asked.outputs or []):
        if one.name not in known:
            what = f"expected one of {', '.join(known)}, found the text {one.name[:40]!r}"
            raise WrongContent.at(("outputs", number, "name"), what)
    wanted = [one.name for one in asked.outputs or []] or known
    return [output for output in outputs if output["name"] in wanted]


def infer_response(
    live: LiveModel,
    asked: InferRequest,
    outputs: list[Json],
    rows: Sequence[Row],
    predictions: Sequence[Prediction],
    identifier: str,
) -> Response:
    """The answer as JSON; the values of the outputs that were asked for in binary form are behind it.

    `id` is the client's own where it sent one, as the protocol wants it.
    """
    contract = live.predictor.contract
    parameters: Json = {"prediction_id": identifier}
    if contract.interval is not None:
        parameters["interval_half_width"] = contract.interval.half_width
        parameters["interval_coverage"] = contract.interval.coverage
    if any(unknown := [live.reader.unknown(row) for row in rows]):
        parameters["unknown"] = json.dumps(unknown, ensure_ascii=False)  # a parameter's value is never a list
    every = (asked.parameters or {}).get("binary_data_output") is True
    binary = {one.name: (one.parameters or {}).get("binary_data", every) is True for one in asked.outputs or []}
    packed = b""
    for output in outputs:
        output["shape"][0] = len(predictions)
        values: list[Any] = [one.value for one in predictions]
        if output["name"] == "predict_proba":
            values = [share for one in predictions for share in (one.probabilities or {}).values()]
            output["parameters"] = {"labels": json.dumps(contract.labels, ensure_ascii=False)}
        if binary.get(output["name"], every):
            packed += (block := _packed(output["datatype"], values))
            output["parameters"] = output.get("parameters", {}) | {"binary_data_size": len(block)}
        else:
            output["data"] = values
    content = {
        "model_name": live.name,
        "model_version": live.version,
        "id": asked.id if asked.id is not None else identifier,
        "parameters": parameters,
        "outputs": outputs,
    }
    if not packed:
        return json_response(content)
    head = to_json(content)
    return Response(head + packed, headers={JSON_LENGTH: str(len(head))}, media_type="application/octet-stream")


def _packed(datatype: str, values: list[Any]) -> bytes:
    if datatype == "FP32":
        return np.array(values, "<f4").tobytes()
    texts = [text.encode() for text in values]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def model_shape(live: LiveModel) -> Json:
    """The model's metadata: a tensor per feature, of any number of rows."""
    contract = live.predictor.contract
    kinds = {"number": "FP32", "boolean": "BOOL", "category": "BYTES", "date": "BYTES"}
    inputs = [{"name": one.name, "datatype": kinds[one.type], "shape": [-1]} for one in contract.features]
    named = {"name": live.name, "versions": [live.version], "platform": "onnx_onnxv1"}
    return {**named, "inputs": inputs, "outputs": _outputs(contract)}


def _outputs(contract: Contract) -> list[Json]:
    if contract.task == "regression":
        return [{"name": "predict", "datatype": "FP32", "shape": [-1]}]
    return [
        {"name": "predict", "datatype": "BYTES", "shape": [-1]},
        {"name": "predict_proba", "datatype": "FP32", "shape": [-1, len(contract.labels)]},
    ]


@v2_router.get("", response_model=ServerAnswer)
async def v2(_: Request) -> Response:
    """Open Inference Protocol: what this server is."""
    return json_response({"name": "prediction_api", "version": "1", "extensions": ["binary_tensor_data"]})


@v2_router.post("/repository/index", response_model=list[IndexedModel])
async def v2_index(request: Request) -> Response:
    """Triton's model repository extension: the models that are served. The body is optional and not used."""
    content = []
    for name, entry in catalog_of(request).entries.items():
        state, version = ("READY", entry.live.version) if entry.live else ("UNAVAILABLE", "")
        content.append({"name": name, "version": version, "state": state, "reason": ""})
    return json_response(content)


@v2_router.get("/health/live", response_model=ServerLiveAnswer)
async def v2_live(_: Request) -> Response:
    """Open Inference Protocol: the process answers."""
    return json_response({"live": True})


@v2_router.get("/health/ready", response_model=ServerReadyAnswer, responses=problems(503))
async def v2_ready(request: Request) -> Response:
    """Open Inference Protocol: a model is loaded."""
    live_model_of(request)
    return json_response({"ready": True})


@v2_router.get("/models/{name}", response_model=ModelShape, responses=_OF_MODEL)
@v2_router.get("/models/{name}/versions/{version}", response_model=ModelShape, responses=_OF_MODEL)
async def v2_model(request: Request) -> Response:
    """Open Inference Protocol: the model's inputs and outputs."""
    return json_response(model_shape(_named_model(request)))


@v2_router.get("/models/{name}/ready", response_model=ModelReadyAnswer, responses=_OF_MODEL)
@v2_router.get("/models/{name}/versions/{version}/ready", response_model=ModelReadyAnswer, responses=_OF_MODEL)
async def v2_model_ready(request: Request) -> Response:
    """Open Inference Protocol: this model can predict."""
    return json_response({"name": _named_model(request).name, "ready": True})


@v2_router.post("/models/{name}/infer", response_model=InferAnswer, responses=_INFERS)
@v2_router.post("/models/{name}/versions/{version}/infer", response_model=InferAnswer, responses=_INFERS)
async def v2_infer(request: Request) -> Response:
    """Open Inference Protocol: a tensor per feature of shape [n] or [n, 1], or one of shape [n, features].

    With `Inference-Header-Content-Length`, the body is that much JSON and then the tensors' binary values.
    """
    live = _named_model(request)
    body, json_bytes = await _read_infer_body(request)
    inference = entry_of(request).inference

    def answer() -> Response:
        asked = read_request(body, json_bytes)
        outputs = asked_outputs(live.predictor.contract, asked)
        rows, identifier = read_tensors(live.reader, asked), inference.new_id()
        predictions = inference.many(live, rows, identifier)
        return infer_response(live, asked, outputs, rows, predictions, identifier)

    return await worked(request, len(body), answer)


async def _read_infer_body(request: Request) -> tuple[bytes, int | None]:
    """The body and the length of its JSON, if the request says so. Clients of this protocol need not name its type."""
    most = catalog_of(request).settings.api_max_body_bytes
    length = header_of(request.scope, JSON_LENGTH.lower().encode())
    if length and (not length.isdigit() or len(length) > 12):
        raise WrongContent.at((), f"{JSON_LENGTH}: expected a number of bytes")
    read = read_json_body if header_of(request.scope, b"content-type") and not length else read_body
    return await read(request, most), int(length) if length else None


def _named_model(request: Request) -> LiveModel:
    """The live model of the name and version in the path. Raises UnknownModel, or NoModel where none is live yet."""
    live, version = live_model_of(request), request.path_params.get("version")
    if version not in (None, live.version):
        raise UnknownModel(f"version {live.version} of {live.name!r} is live, not {version[:100]!r}")
    return live
