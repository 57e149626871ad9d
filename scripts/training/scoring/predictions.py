"""What the prediction service would answer for a frame of rows: the same rounding, interval and names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

from training.model import onnx_runtime

Array = np.ndarray[Any, Any]
Contract = dict[str, Any]

_kept: dict[str, onnxruntime.InferenceSession] = {}


@dataclass(frozen=True)
class Model:
    """A registered version: its verified file and the contract inside."""

    name: str
    version: str
    content: bytes
    contract: Contract

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def columns(contract: Contract) -> list[str]:
    """The names of the columns of an answer: prediction; and its interval, or a probability for each label."""
    if contract["labels"]:
        return ["prediction", *[f"probability_{label}" for label in contract["labels"]]]
    return ["prediction", *(["prediction_low", "prediction_high"] if contract.get("interval") else [])]


def kept_session(sha256: str, content: Callable[[], bytes]) -> onnxruntime.InferenceSession:
    """The session of a model, made once in a process. One thread: as many processes as cores predict already."""
    if sha256 not in _kept:
        _kept.clear()
        _kept[sha256] = onnx_runtime.open_session(content(), threads=1)
    return _kept[sha256]


def of(session: onnxruntime.InferenceSession, contract: Contract, features: pd.DataFrame) -> pd.DataFrame:
    """Answers, one row each, in the order of `columns`. `features` are named by `input`, NaN and "" where missing.

    Raises ValueError where the model gives a number that is not finite.
    """
    values, probabilities = onnx_runtime.predict(session, features)
    numbers = values if probabilities is None else probabilities
    if not np.isfinite(numbers).all():
        raise ValueError("the model's output is not a finite number")
    if probabilities is not None:
        shares = [seven_digits(column) for column in probabilities.T]
        return pd.DataFrame(dict(zip(columns(contract), [values.astype(str).astype(object), *shares], strict=True)))
    predicted = seven_digits(values)
    answers = {"prediction": predicted}
    if interval := contract.get("interval"):
        answers["prediction_low"] = seven_digits(predicted - interval["half_width"])
        answers["prediction_high"] = seven_digits(predicted + interval["half_width"])
    return pd.DataFrame(answers)


def seven_digits(values: Array) -> Array:
    """To seven significant digits: all that float32 holds, without the tail that float64 would show."""
    return np.array([float(f"{value:.7g}") for value in values.tolist()])
