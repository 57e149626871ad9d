"""A serialized model at work: what it predicts, and the contract that it carries. ONNX Runtime and nothing heavier."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at ONNX Runtime's import; it would call its maker

import numpy as np
import onnx
import onnxruntime
import pandas as pd

from training.data.files import identifier
from training.errors import NewerFormat
from training.evaluation.metrics import Array

CONTRACT_KEY = "contract"
CONTRACT_VERSION = 2


def open_session(content: bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """A model ready to predict with this number of threads (0: ONNX Runtime's own choice)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def predict(session: onnxruntime.InferenceSession, features: pd.DataFrame) -> tuple[Array, Array | None]:
    """(rows,) values and None, or (rows,) labels and (rows, labels) probabilities.

    Missing numbers are NaN, missing categories "".
    """
    columns = {identifier(str(name)): column for name, column in features.items()}
    wanted = {put.name for put in session.get_inputs()} & columns.keys()
    taken = {name: columns[name].to_numpy(object if columns[name].dtype == object else np.float32) for name in wanted}
    outputs = session.run(None, taken)
    if len(outputs) == 1:
        return outputs[0].reshape(-1).astype(np.float64), None
    return outputs[0], outputs[1].astype(np.float64)


def served(session: onnxruntime.InferenceSession, features: pd.DataFrame) -> tuple[Array, Array | None]:
    """As `predict`, with the numbers that the prediction service returns. Raises ValueError where one is not finite."""
    values, probabilities = predict(session, features)
    numbers = values if probabilities is None else probabilities
    if not np.isfinite(numbers).all():
        raise ValueError("the model's output is not a finite number")
    return (seven_digits(values), None) if probabilities is None else (values, seven_digits(probabilities))


def seven_digits(values: Array) -> Array:
    """To seven significant digits: all that float32 holds, without the tail that float64 would show."""
    return np.array([float(f"{value:.7g}") for value in values.ravel().tolist()]).reshape(values.shape)


def run(content: bytes, features: pd.DataFrame) -> tuple[Array, Array | None]:
    """As `predict`, of a serialized model."""
    return predict(open_session(content), features)


def predictor(content: bytes) -> Callable[[pd.DataFrame], Array]:
    """A serialized model, opened once: rows to (rows,) values or (rows, labels) probabilities."""
    session = open_session(content)

    def predictions(features: pd.DataFrame) -> Array:
        values, probabilities = predict(session, features)
        return values if probabilities is None else probabilities

    return predictions


def read_contract(content: bytes) -> dict[str, Any]:
    """The contract inside a serialized model. Raises NewerFormat."""
    properties = onnx.load_from_string(content).metadata_props
    contract = dict(json.loads(next(entry.value for entry in properties if entry.key == CONTRACT_KEY)))
    if contract.get("version", 1) > CONTRACT_VERSION:
        raise NewerFormat(f"the contract of a model of '{contract.get('name')}'", contract["version"], CONTRACT_VERSION)
    return contract


def model_columns(contract: Mapping[str, Any]) -> dict[str, bool]:
    """The columns of the frames that the model takes, and whether each is text: a date is there by its parts."""
    found: dict[str, bool] = {}
    for feature in contract["features"]:
        names = [f"{feature['name']} {part['part']}" for part in feature.get("parts", [])] or [feature["name"]]
        found |= dict.fromkeys(names, feature["type"] == "category")
    return found
