"""The shapes of the Open Inference Protocol's requests and answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from prediction_api.predicting.rows import MOST_ROWS

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
