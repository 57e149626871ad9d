"""The tensors of a request in the Open Inference Protocol (V2), in JSON or binary, and the rows in them.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md, with Triton's extension
for binary tensors (protocol/extension_binary_data.md in triton-inference-server/server).
"""

from collections.abc import Iterator
from math import prod
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from prediction_api.errors import WrongContent
from prediction_api.models.contract import BooleanFeature, CategoryFeature, DateFeature, Feature, NumberFeature
from prediction_api.models.predictor import Row
from prediction_api.predicting.cells import shown
from prediction_api.predicting.rows import MOST_ROWS, RowReader, read_envelope, read_json

MOST_TENSORS = 10_000  # a fault of each is noted before any is reported
JSON_LENGTH = "Inference-Header-Content-Length"

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


def read_request(body: bytes, json_bytes: int | None) -> InferRequest:
    """The request in a body whose JSON takes `json_bytes`, with the binary values behind it put into its tensors.

    Raises NotJson or WrongContent.
    """
    end = len(body) if json_bytes is None else json_bytes
    if end > len(body):
        raise WrongContent.at((), f"{JSON_LENGTH} is {end}, and the body has {len(body)} bytes")
    asked = read_envelope(InferRequest, read_json(body[:end]))
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
        raise WrongContent.at(("inputs",), f"{len(body) - end} bytes behind the JSON belong to no tensor")
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
        return reader.rows(zip(*[iter(values)] * len(names), strict=True), ("rows",), names)
    if complaints := reader.check_names([tensor.name for tensor in tensors], ("inputs",)):
        raise WrongContent(complaints)
    columns = {tensor.name: _column(tensor, reader.accepted[tensor.name]) for tensor in tensors}
    first, length = next((name, len(column)) for name, column in columns.items())
    for name, column in columns.items():
        if len(column) != length:
            raise _wrong(name, f"expected {length} rows as in {first!r}, found {len(column)}")
    return reader.rows(zip(*columns.values(), strict=True), ("rows",), list(columns))


def _column(tensor: InputTensor, feature: Feature) -> list[Any]:
    """The values of one feature."""
    if isinstance(feature, NumberFeature) and tensor.datatype == "BYTES":
        raise _wrong(tensor.name, "expected FP32 or another number, found BYTES")
    if isinstance(feature, CategoryFeature | DateFeature) and tensor.datatype in ("FP16", "FP32", "FP64"):
        raise _wrong(tensor.name, f"expected BYTES, found {tensor.datatype}")
    if len(tensor.shape) == 2 and tensor.shape[1] != 1:
        raise _wrong(tensor.name, f"expected the shape [n] or [n, 1], found {tensor.shape}")
    return _flat(tensor, of_numbers=isinstance(feature, NumberFeature))


def _matrix(tensor: InputTensor, width: int) -> list[Any]:
    """The values of every feature, row by row in the contract's order."""
    if tensor.datatype == "BYTES" or len(tensor.shape) != 2 or tensor.shape[1] != width:
        found = f"{tensor.datatype} of shape {tensor.shape}"
        raise _wrong(tensor.name, f"expected numbers of shape [n, {width}], or a tensor per feature, found {found}")
    return _flat(tensor, of_numbers=True)


def _flat(tensor: InputTensor, of_numbers: bool) -> list[Any]:
    """The tensor's values in row-major order, each of the tensor's datatype or None; nested lists are read too.

    With `of_numbers`, a boolean is 1 or 0.
    """
    values = tensor.data or []
    if any(isinstance(one, list) for one in values):
        width = prod(tensor.shape[1:])
        if not all(isinstance(one, list) and len(one) == width for one in values):
            raise _wrong(tensor.name, f"expected lists of {width} values for the shape {tensor.shape}")
        values = [value for one in values for value in one]
    if len(values) != prod(tensor.shape):
        expected = f"expected {prod(tensor.shape)} values for the shape {tensor.shape}"
        raise _wrong(tensor.name, f"{expected}, found {len(values)}")
    if tensor.datatype == "BOOL":
        booleans = [_boolean(tensor, one) for one in values]
        return [one if one is None else int(one) for one in booleans] if of_numbers else booleans
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


def _wrong(name: str, what: str) -> WrongContent:
    return WrongContent.at(("inputs", name[:100]), what)
