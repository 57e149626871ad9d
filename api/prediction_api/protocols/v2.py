"""The Open Inference Protocol (V2) over HTTP: tensors to rows, predictions to tensors, and what the model looks like.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md. The outputs have the
names that MLServer gives them for scikit-learn's models.
"""

import json
from collections.abc import Sequence
from math import prod
from typing import Any

from prediction_api.errors import Complaint
from prediction_api.models.contract import CategoryFeature, Contract
from prediction_api.models.predictor import Prediction, Row
from prediction_api.models.store import LiveModel
from prediction_api.predicting.answers import Json
from prediction_api.predicting.rows import RowReader, wrong_content
from prediction_api.protocols.v2_bodies import InferRequest, InputTensor


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
