"""The Open Inference Protocol (V2) over HTTP: tensors to rows, predictions to tensors, and what the model looks like.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md, with Triton's extension
for binary tensors (protocol/extension_binary_data.md in triton-inference-server/server). The outputs have the names
that MLServer gives them for scikit-learn's models.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Literal, get_args

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import to_json

from prediction_api.errors import Complaint, UnknownModel
from prediction_api.http.bodies import header_of, read_body, read_json_body
from prediction_api.http.problems import json_response
from prediction_api.models.contract import (
    BooleanFeature,
    CategoryFeature,
    Contract,
    DateFeature,
    Feature,
    NumberFeature,
)
from prediction_api.models.predictor import Prediction, Row
from prediction_api.models.store import LiveModel
from prediction_api.predicting.cells import shown
from prediction_api.predicting.responses import Json
from prediction_api.predicting.rows import MOST_ROWS, RowReader, envelope_of, read_json, wrong_content
from prediction_api.protocols.routing import (
    PROBLEM_STATUSES,
    PlainRoute,
    catalog_of,
    inference_of,
    live_model_of,
    problems,
    settings_of,
    worked,
)

v2_router = APIRouter(route_class=PlainRoute)
_OF_MODEL = problems(404, 503)
_INFERS = {**problems(404), **PROBLEM_STATUSES}
MOST_TENSORS = 10_000  # a fault of each is noted before any is reported
_JSON_LENGTH = "Inference-Header-Content-Length"

Datatype = Literal["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32",
                   "FP64", "BYTES"]  # fmt: skip
_CODES = ("?", "<u1", "<u2", "<u4", "<u8", "<i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8")  # numpy's
_DTYPES = dict(zip(get_args(Datatype)[:-1], _CODES, strict=True))


def _whole(size: Any) -> Any:
    """In JSON 3.0 is an integer too."""
    return int(size) if isinstance(size, float) and size.is_integer() else size


Size = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MOST_ROWS)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class InputTensor(Part):
    """One feature for n rows, of shape [n] or [n, 1]; or all of them, of shape [n, features], where all are numbers.

    The values are in `data`, or behind the JSON, where the parameter `binary_data_size` says how many bytes they take.
    """

    name: str
    shape: list[Size] = Field(min_length=1, max_length=2)
    datatype: Datatype
    data: Annotated[list[Any], Field(min_length=1)] | None = None
    parameters: dict[str, Any] | None = None


class RequestedOutput(Part):
    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(Part):
    """`model_name` and `model_version` are sent by some clients; the path names the model."""

    id: str | None = Field(default=None, max_length=1_000)
    model_name: Any = None
    model_version: Any = None
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


def read_request(body: bytes, json_bytes: int | None) -> InferRequest:
    """The request in a body whose JSON takes `json_bytes`, with the binary values behind it put into its tensors.

    Raises NotJson or WrongContent.
    """
    end = len(body) if json_bytes is None else json_bytes
    if end > len(body):
        raise wrong_content([Complaint((), f"{_JSON_LENGTH} is {end}, and the body has {len(body)} bytes")])
    asked = envelope_of(InferRequest, read_json(body[:end]))
    for tensor in asked.inputs:
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None and tensor.data is None:
            raise _wrong(tensor.name, "expected values in `data`, or the parameter binary_data_size")
        if size is None:
            continue
        if tensor.data is not None or type(size) is not int or not 0 <= size <= len(body) - end:
            raise _wrong(tensor.name, "expected `data`, or binary_data_size and that many bytes behind the JSON")
        tensor.data = list(_unpacked(tensor, body[end : end + size]))
        end += size
    if end != len(body):
        raise wrong_content([Complaint(("inputs",), f"{len(body) - end} bytes behind the JSON belong to no tensor")])
    return asked


def _unpacked(tensor: InputTensor, content: bytes) -> Iterator[Any]:
    """The values of a tensor in the protocol's binary form: little-endian, a text behind its length in 4 bytes."""
    if tensor.datatype != "BYTES":
        dtype = np.dtype(_DTYPES[tensor.datatype])
        if len(content) != prod(tensor.shape) * dtype.itemsize:
            what = f"expected {prod(tensor.shape) * dtype.itemsize} bytes of {tensor.datatype}, found {len(content)}"
            raise _wrong(tensor.name, what)
        yield from np.frombuffer(content, dtype).tolist()
        return
    place = 0
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "little")
        text = content[place + 4 : place + 4 + size]
        place += 4 + size
        if place > len(content):
            raise _wrong(tensor.name, "a text is longer than the bytes of its tensor")
        try:
            yield text.decode()
        except UnicodeDecodeError:
            raise _wrong(tensor.name, "a text is not UTF-8") from None


def read_tensors(reader: RowReader, asked: InferRequest) -> list[Row]:
    """The rows in the request's tensors. Raises WrongContent naming the tensor, or row and feature."""
    tensors = asked.inputs
    matrix = tensors[0] if len(tensors) == 1 and tensors[0].name not in reader.accepted else None
    if matrix and all(isinstance(feature, NumberFeature | BooleanFeature) for feature in reader.features):
        names = [feature.name for feature in reader.features]
        values = _matrix(matrix, len(names))
        return reader.table(names, zip(*[iter(values)] * len(names), strict=True), ("rows",))
    if complaints := reader.check_names([tensor.name for tensor in tensors], ("inputs",)):
        raise wrong_content(complaints)
    columns = {tensor.name: _column(tensor, reader.accepted[tensor.name]) for tensor in tensors}
    first, length = next((name, len(column)) for name, column in columns.items())
    for name, column in columns.items():
        if len(column) != length:
            raise _wrong(name, f"expected {length} rows as in {first!r}, found {len(column)}")
    return reader.table(list(columns), zip(*columns.values(), strict=True), ("rows",))


def _column(tensor: InputTensor, feature: Feature) -> list[Any]:
    """The values of one feature."""
    if isinstance(feature, NumberFeature) and tensor.datatype == "BYTES":
        raise _wrong(tensor.name, "expected FP32 or another number, found BYTES")
    if isinstance(feature, CategoryFeature | DateFeature) and tensor.datatype in ("FP16", "FP32", "FP64"):
        raise _wrong(tensor.name, f"expected BYTES, found {tensor.datatype}")
    if len(tensor.shape) == 2 and tensor.shape[1] != 1:
        raise _wrong(tensor.name, f"expected the shape [n] or [n, 1], found {tensor.shape}")
    values = _flat(tensor)
    if tensor.datatype == "BOOL" and isinstance(feature, NumberFeature):
        return [value if value is None else int(value) for value in values]
    return values


def _matrix(tensor: InputTensor, width: int) -> list[Any]:
    """The values of every feature, row by row in the contract's order."""
    if tensor.datatype == "BYTES" or len(tensor.shape) != 2 or tensor.shape[1] != width:
        found = f"{tensor.datatype} of shape {tensor.shape}"
        raise _wrong(tensor.name, f"expected numbers of shape [n, {width}], or a tensor per feature, found {found}")
    values = _flat(tensor)
    return [int(value) for value in values] if tensor.datatype == "BOOL" else values


def _flat(tensor: InputTensor) -> list[Any]:
    """The tensor's values in row-major order, each of the tensor's datatype or None; nested lists are read too."""
    values = tensor.data or []
    if any(isinstance(one, list) for one in values):
        width = prod(tensor.shape[1:])
        if not all(isinstance(one, list) and len(one) == width for one in values):
            raise _wrong(tensor.name, f"expected lists of {width} values for the shape {tensor.shape}")
        values = [value for one in values for value in one]
    if len(values) != prod(tensor.shape):
        what = f"expected {prod(tensor.shape)} values for the shape {tensor.shape}, found {len(values)}"
        raise _wrong(tensor.name, what)
    if tensor.datatype == "BOOL":
        return [_boolean(tensor, one) for one in values]
    if tensor.datatype not in ("FP16", "FP32", "FP64", "BYTES"):
        limits = np.iinfo(_DTYPES[tensor.datatype])
        for one in values:
            if isinstance(one, int | float) and not (limits.min <= one <= limits.max and one == int(one)):
                what = f"expected {tensor.datatype}, a whole number of {limits.min} to {limits.max}, found {shown(one)}"
                raise _wrong(tensor.name, what)
    return values


def _boolean(tensor: InputTensor, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if value not in (0, 1):
        raise _wrong(tensor.name, f"expected BOOL, true or false, found {shown(value)}")
    return bool(value)


def check_outputs(contract: Contract, asked: InferRequest) -> None:
    """Raises WrongContent for an output that the model does not have."""
    known = [output["name"] for output in _outputs(contract)]
    for number, one in enumerate(asked.outputs or []):
        if one.name not in known:
            what = f"expected one of {', '.join(known)}, found the text {one.name[:40]!r}"
            raise wrong_content([Complaint(("outputs", number, "name"), what)])


@dataclass(frozen=True)
class Answered:
    """What was asked of a model, and its predictions."""

    live: LiveModel
    asked: InferRequest
    rows: Sequence[Row]
    predictions: Sequence[Prediction]
    identifier: str


def infer_answer(answered: Answered) -> Json:
    """The response object; `id` is the client's own where it sent one, as the protocol wants it."""
    live, asked, predictions = answered.live, answered.asked, answered.predictions
    contract = live.predictor.contract
    parameters: Json = {"prediction_id": answered.identifier}
    if contract.interval is not None:
        parameters["interval_half_width"] = contract.interval.half_width
        parameters["interval_coverage"] = contract.interval.coverage
    if any(unknown := [live.reader.unknown(row) for row in answered.rows]):
        parameters["unknown"] = json.dumps(unknown, ensure_ascii=False)  # a parameter's value is never a list
    wanted = {one.name for one in asked.outputs or []}
    outputs = [output for output in _outputs(contract) if not wanted or output["name"] in wanted]
    for output in outputs:
        output["shape"][0] = len(predictions)
        if output["name"] == "predict":
            output["data"] = [one.value for one in predictions]
        else:
            output["data"] = [share for one in predictions for share in (one.probabilities or {}).values()]
            output["parameters"] = {"labels": json.dumps(contract.labels, ensure_ascii=False)}
    return {
        "model_name": live.name,
        "model_version": live.version,
        "id": asked.id if asked.id is not None else answered.identifier,
        "parameters": parameters,
        "outputs": outputs,
    }


def infer_response(answered: Answered) -> Response:
    """The answer as JSON; the values of the outputs that were asked for in binary form are behind it."""
    asked, content = answered.asked, infer_answer(answered)
    every = (asked.parameters or {}).get("binary_data_output") is True
    chosen = {one.name: (one.parameters or {}).get("binary_data", every) is True for one in asked.outputs or []}
    packed = []
    for output in content["outputs"]:
        if chosen.get(output["name"], every):
            packed.append(_packed(output))
            output["parameters"] = output.get("parameters", {}) | {"binary_data_size": len(packed[-1])}
    if not packed:
        return json_response(content)
    head = to_json(content)
    headers = {_JSON_LENGTH: str(len(head))}
    return Response(head + b"".join(packed), headers=headers, media_type="application/octet-stream")


def _packed(output: Json) -> bytes:
    """The output's values in binary form; they leave the output."""
    values = output.pop("data")
    if output["datatype"] == "FP32":
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


def _wrong(name: str, what: str) -> Exception:
    return wrong_content([Complaint(("inputs", name[:100]), what)])


@v2_router.get("/v2", response_model=ServerAnswer, tags=["protocols"])
async def v2(_: Request) -> Response:
    """Open Inference Protocol: what this server is."""
    return json_response({"name": "prediction_api", "version": "1", "extensions": ["binary_tensor_data"]})


@v2_router.post("/v2/repository/index", response_model=list[IndexedModel], tags=["protocols"])
async def v2_index(request: Request) -> Response:
    """Triton's model repository extension: the models that are served. The body is optional and not used."""
    models = [(name, entry.live) for name, entry in catalog_of(request).entries.items()]
    content = [
        {
            "name": name,
            "version": live.version if live else "",
            "state": "READY" if live else "UNAVAILABLE",
            "reason": "",
        }
        for name, live in models
    ]
    return json_response(content)


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
    """Open Inference Protocol: a tensor per feature of shape [n] or [n, 1], or one of shape [n, features].

    With `Inference-Header-Content-Length`, the body is that much JSON and then the tensors' binary values.
    """
    live = _named_model(request)
    body, json_bytes = await _read_infer_body(request)
    inference = inference_of(request)

    def answer() -> Response:
        asked = read_request(body, json_bytes)
        check_outputs(live.predictor.contract, asked)
        rows, identifier = read_tensors(live.reader, asked), inference.new_id()
        predictions = inference.many(live, rows, identifier)
        return infer_response(Answered(live, asked, rows, predictions, identifier))

    return await worked(request, len(body), answer)


async def _read_infer_body(request: Request) -> tuple[bytes, int | None]:
    """The body and the length of its JSON, if the request says so. Clients of this protocol need not name its type."""
    most, length = settings_of(request).api_max_body_bytes, header_of(request.scope, _JSON_LENGTH.lower().encode())
    if length:
        if not length.isdigit() or len(length) > 12:
            raise wrong_content([Complaint((), f"{_JSON_LENGTH}: expected a number of bytes")])
        return await read_body(request, most), int(length)
    if header_of(request.scope, b"content-type"):
        return await read_json_body(request, most), None
    return await read_body(request, most), None


def _named_model(request: Request) -> LiveModel:
    """The live model of the name and version in the path. Raises UnknownModel, or NoModel where none is live yet."""
    live, version = live_model_of(request), request.path_params.get("version")
    if version not in (None, live.version):
        raise UnknownModel(f"version {live.version} of {live.name!r} is live, not {version[:100]!r}")
    return live
