"""The Open Inference Protocol (V2) over HTTP: rows from tensors, predictions as tensors, and its other calls.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md, with Triton's extension
for binary tensors (protocol/extension_binary_data.md in triton-inference-server/server). The outputs have the names
that MLServer gives them for scikit-learn's models. The answers are documented there.
"""

import json
from collections.abc import Iterator, Sequence
from math import prod
from typing import Annotated, Any, Literal, get_args

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from prediction_api.errors import UnknownModel, WrongContent, complaints_of
from prediction_api.http.bodies import header_of, read_body, read_json_body
from prediction_api.http.middleware import json_response
from prediction_api.models.contract import Contract, Feature
from prediction_api.models.predictor import Prediction, Row
from prediction_api.models.store import LiveModel
from prediction_api.predicting.rows import MOST_ROWS, MOST_UNKNOWN, RowReader, read_json, shown
from prediction_api.protocols import routing
from prediction_api.telemetry.prediction_log import new_id

MOST_TENSORS = 10_000  # a fault of each is noted before any is reported
JSON_LENGTH = "Inference-Header-Content-Length"
Json = dict[str, Any]

v2_router = APIRouter(prefix="/v2", route_class=routing.PlainRoute, tags=["protocols"])
_OF_MODEL = routing.problems(404, 503)
_INFERS = {**routing.problems(404), **routing.PROBLEM_STATUSES}

Datatype = Literal["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32",
                   "FP64", "BYTES"]  # fmt: skip
_DTYPES = {name: np.dtype(name.lower().replace("fp", "float")) for name in get_args(Datatype) if name != "BYTES"}
DATATYPES = {"number": "FP32", "boolean": "BOOL", "category": "BYTES", "date": "BYTES"}  # of each type of feature


def _whole(size: Any) -> Any:
    """In JSON 3.0 is an integer too."""
    return int(size) if isinstance(size, float) and size.is_integer() else size


Size = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MOST_ROWS)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


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


def read_request(body: bytes, end: int) -> InferRequest:
    """The request in a body whose JSON has this end, with the binary values behind it put into its tensors.

    Raises NotJson or WrongContent.
    """
    if end > len(body):
        raise WrongContent.at((), f"{JSON_LENGTH} is {end}, but the body has {len(body)} bytes")
    try:
        asked = InferRequest.model_validate(read_json(body[:end]))
    except ValidationError as error:
        if error.error_count() > MOST_UNKNOWN:
            what = f"{error.error_count()} names or values in this object are not as expected"
            raise WrongContent.at((), what) from None
        raise WrongContent(complaints_of(error)) from None
    for tensor in asked.inputs:
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None and tensor.data is None:
            raise _wrong(tensor, "expected values in `data`, or the parameter binary_data_size")
        if size is None:
            continue
        if tensor.data is not None or type(size) is not int or not 0 <= size <= len(body) - end:
            raise _wrong(tensor, "expected `data`, or binary_data_size and that many bytes after the JSON")
        tensor.data = list(_unpacked(tensor, body[end : end + size]))
        end += size
    if end != len(body):
        raise WrongContent.at(("inputs",), f"{len(body) - end} bytes after the JSON belong to no tensor")
    return asked


def _unpacked(tensor: InputTensor, content: bytes) -> Iterator[Any]:
    """The values of a tensor in the protocol's binary form: little-endian, a text behind its length in 4 bytes."""
    if tensor.datatype != "BYTES":
        dtype = _DTYPES[tensor.datatype].newbyteorder("<")
        if len(content) != (size := prod(tensor.shape) * dtype.itemsize):
            raise _wrong(tensor, f"expected {size} bytes of {tensor.datatype}, found {len(content)}")
        yield from np.frombuffer(content, dtype).tolist()
        return
    place = 0
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "little")
        text = content[place + 4 : place + 4 + size]
        place += 4 + size
        if place > len(content):
            raise _wrong(tensor, "a text is longer than the bytes of its tensor")
        try:
            yield text.decode()
        except UnicodeDecodeError:
            raise _wrong(tensor, "a text is not UTF-8") from None


def read_tensors(reader: RowReader, asked: InferRequest) -> list[Row]:
    """The rows in the request's tensors. Raises WrongContent naming the tensor, or row and feature."""
    tensors = asked.inputs
    matrix = tensors[0] if len(tensors) == 1 and tensors[0].name not in reader.accepted else None
    if matrix and all(feature.type in ("number", "boolean") for feature in reader.features):
        width = len(reader.features)
        if matrix.datatype == "BYTES" or len(matrix.shape) != 2 or matrix.shape[1] != width:
            found = f"{matrix.datatype} of shape {matrix.shape}"
            raise _wrong(matrix, f"expected numbers of shape [n, {width}], or a tensor per feature, found {found}")
        layout = reader.layout(reader.names, ("inputs",))
        return reader.rows(zip(*[iter(_flat(matrix, of_numbers=True))] * width, strict=True), ("rows",), layout)
    layout = reader.layout([tensor.name for tensor in tensors], ("inputs",))
    columns = [_column(tensor, reader.accepted[tensor.name]) for tensor in tensors]
    for tensor, column in zip(tensors, columns, strict=True):
        if len(column) != len(columns[0]):
            what = f"expected {len(columns[0])} rows as in {tensors[0].name!r}, found {len(column)}"
            raise _wrong(tensor, what)
    return reader.rows(zip(*columns, strict=True), ("rows",), layout)


def _column(tensor: InputTensor, feature: Feature) -> list[Any]:
    """The values of one feature."""
    if feature.type == "number" and tensor.datatype == "BYTES":
        raise _wrong(tensor, "expected FP32 or another number, found BYTES")
    if feature.type in ("category", "date") and tensor.datatype.startswith("FP"):
        raise _wrong(tensor, f"expected BYTES, found {tensor.datatype}")
    if len(tensor.shape) == 2 and tensor.shape[1] != 1:
        raise _wrong(tensor, f"expected the shape [n] or [n, 1], found {tensor.shape}")
    return _flat(tensor, of_numbers=feature.type == "number")


def _flat(tensor: InputTensor, of_numbers: bool) -> list[Any]:
    """The tensor's values in row-major order, each of the tensor's datatype or None; nested lists are read too.

    With `of_numbers`, a boolean is 1 or 0.
    """
    values = tensor.data or []
    if any(isinstance(one, list) for one in values):
        width = prod(tensor.shape[1:])
        if not all(isinstance(one, list) and len(one) == width for one in values):
            raise _wrong(tensor, f"expected lists of {width} values for the shape {tensor.shape}")
        values = [value for one in values for value in one]
    if len(values) != prod(tensor.shape):
        what = f"expected {prod(tensor.shape)} values for the shape {tensor.shape}, found {len(values)}"
        raise _wrong(tensor, what)
    if tensor.datatype == "BYTES" or tensor.datatype.startswith("FP"):
        return values
    if tensor.datatype == "BOOL":
        what = "BOOL, true or false"
        wrong = [one for one in values if one not in (None, True, False)]  # 1 and 0 are equal to them
    else:
        limits = np.iinfo(_DTYPES[tensor.datatype])
        what = f"{tensor.datatype}, a whole number of {limits.min} to {limits.max}"
        numbers = (one for one in values if isinstance(one, int | float))  # anything else is no value of the feature
        wrong = [one for one in numbers if not (limits.min <= one <= limits.max and one == int(one))]
    if wrong:
        raise _wrong(tensor, f"expected {what}, found {shown(wrong[0])}")
    if tensor.datatype == "BOOL":
        kind = int if of_numbers else bool
        return [one if one is None else kind(one) for one in values]
    return values


def _wrong(tensor: InputTensor, what: str) -> WrongContent:
    return WrongContent.at(("inputs", tensor.name[:100]), what)


def _outputs(contract: Contract) -> list[Json]:
    """The names, datatypes and shapes of what the model returns."""
    if contract.task == "regression":
        return [{"name": "predict", "datatype": "FP32", "shape": [-1]}]
    return [
        {"name": "predict", "datatype": "BYTES", "shape": [-1]},
        {"name": "predict_proba", "datatype": "FP32", "shape": [-1, len(contract.labels)]},
    ]


def asked_outputs(contract: Contract, asked: InferRequest) -> list[Json]:
    """The outputs that the request wants, without values. Raises WrongContent for one that the model does not have."""
    outputs = {output["name"]: output for output in _outputs(contract)}
    for number, one in enumerate(asked.outputs or []):
        if one.name not in outputs:
            what = f"expected one of {', '.join(outputs)}, found the text {one.name[:40]!r}"
            raise WrongContent.at(("outputs", number, "name"), what)
    wanted = {one.name for one in asked.outputs or []} or outputs.keys()
    return [output for name, output in outputs.items() if name in wanted]


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
    answer: Json = {"model_name": live.name, "model_version": live.version}
    answer |= {"id": identifier if asked.id is None else asked.id, "parameters": parameters, "outputs": outputs}
    if not packed:
        return json_response(answer)
    head = to_json(answer)
    return Response(head + packed, headers={JSON_LENGTH: str(len(head))}, media_type="application/octet-stream")


def _packed(datatype: str, values: list[Any]) -> bytes:
    if datatype == "FP32":
        return np.array(values, "<f4").tobytes()
    texts = [text.encode() for text in values]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


@v2_router.get("")
async def v2(_: Request) -> Response:
    """Open Inference Protocol: what this server is."""
    return json_response({"name": "prediction_api", "version": "1", "extensions": ["binary_tensor_data"]})


@v2_router.post("/repository/index")
async def v2_index(request: Request) -> Response:
    """Triton's model repository extension: the models that are served. The body is optional and not used."""
    content = []
    for name, model in routing.catalog_of(request).models.items():
        state, version = ("READY", model.live.version) if model.live else ("UNAVAILABLE", "")
        content.append({"name": name, "version": version, "state": state, "reason": ""})
    return json_response(content)


@v2_router.get("/health/live")
async def v2_live(_: Request) -> Response:
    """Open Inference Protocol: the process answers."""
    return json_response({"live": True})


@v2_router.get("/health/ready", responses=routing.problems(503))
async def v2_ready(request: Request) -> Response:
    """Open Inference Protocol: a model is loaded."""
    routing.live_model_of(request)
    return json_response({"ready": True})


@v2_router.get("/models/{name}", responses=_OF_MODEL)
@v2_router.get("/models/{name}/versions/{version}", responses=_OF_MODEL)
async def v2_model(request: Request) -> Response:
    """Open Inference Protocol: the model's inputs, a tensor per feature, of any number of rows; and its outputs."""
    live = _named_model(request)
    contract = live.predictor.contract
    inputs = [{"name": one.name, "datatype": DATATYPES[one.type], "shape": [-1]} for one in contract.features]
    named = {"name": live.name, "versions": [live.version], "platform": "onnx_onnxv1"}
    return json_response({**named, "inputs": inputs, "outputs": _outputs(contract)})


@v2_router.get("/models/{name}/ready", responses=_OF_MODEL)
@v2_router.get("/models/{name}/versions/{version}/ready", responses=_OF_MODEL)
async def v2_model_ready(request: Request) -> Response:
    """Open Inference Protocol: this model can predict."""
    return json_response({"name": _named_model(request).name, "ready": True})


@v2_router.post("/models/{name}/infer", responses=_INFERS)
@v2_router.post("/models/{name}/versions/{version}/infer", responses=_INFERS)
async def v2_infer(request: Request) -> Response:
    """Open Inference Protocol: a tensor per feature of shape [n] or [n, 1], or one of shape [n, features].

    With `Inference-Header-Content-Length`, the body is that much JSON and then the tensors' binary values.
    """
    live = _named_model(request)
    most = routing.catalog_of(request).settings.api_max_body_bytes
    length = header_of(request.scope, JSON_LENGTH.lower().encode())
    if length and (not length.isdigit() or len(length) > 12):
        raise WrongContent.at((), f"{JSON_LENGTH}: expected a number of bytes")
    # clients of this protocol need not name the type of a body
    read = read_json_body if header_of(request.scope, b"content-type") and not length else read_body
    body = await read(request, most)

    def answer() -> Response:
        asked = read_request(body, int(length) if length else len(body))
        outputs = asked_outputs(live.predictor.contract, asked)
        rows, identifier = read_tensors(live.reader, asked), new_id()
        predictions = live.predict_batch(rows, identifier)
        return infer_response(live, asked, outputs, rows, predictions, identifier)

    return await routing.worked(request, len(body), answer)


def _named_model(request: Request) -> LiveModel:
    """The live model of the name and version in the path. Raises UnknownModel, or NoModel where none is live yet."""
    live, version = routing.live_model_of(request), request.path_params.get("version")
    if version not in (None, live.version):
        raise UnknownModel(f"version {live.version} of {live.name!r} is live, not {version[:100]!r}")
    return live
