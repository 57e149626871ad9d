"""What `mlflow.pyfunc` runs: a frame, read by the contract inside model.onnx, to a frame of predictions.

MLflow's own wrapper of ONNX takes float32 only and cannot return labels beside probabilities. This file is stored with
each model and runs without the rest of this package, so it imports nothing of it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

SPACE = " \t\r\n\u00a0"
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
READING = {"missing": ["na", "n/a", "nan", "null", "none", "?"], "decimal": ".", "thousands": ""}  # of version 1
PARTS = {
    "days": lambda moment: (moment.normalize() - pd.Timestamp(0, tz="UTC")).days,
    "seconds": lambda moment: (moment - moment.normalize()).total_seconds(),
    "month": lambda moment: moment.month,
    "weekday": lambda moment: moment.weekday(),
}


class FrameModel:
    """`predict` takes columns by their names in the table or by the graph's inputs, of any of pandas' types."""

    def __init__(self, path: str) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.contract = json.loads(self.session.get_modelmeta().custom_metadata_map["contract"])
        self.reading = self.contract.get("reading", READING)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Regression: `variable`. Classification: `label`, and `probability_LABEL` of each. Raises ValueError."""
        features = self.contract["features"]
        names = [feature["name"] for feature in features]
        frame = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
        if list(frame.columns) == list(range(len(names))):
            frame = frame.set_axis(names, axis=1)
        inputs: dict[str, Any] = {}
        for feature in features:
            column = next((name for name in (feature["name"], feature["input"]) if name in frame), None)
            if column is None:
                raise ValueError(f"column '{feature['name']}' is missing; expected {', '.join(map(repr, names))}")
            cells = [self._cell(feature, row, value) for row, value in enumerate(frame[column].tolist(), 1)]
            if feature["type"] == "category":
                inputs[feature["input"]] = np.array(cells, dtype=object)
            elif feature["type"] == "date":
                for part in feature["parts"]:
                    found = [math.nan if cell is None else PARTS[part["part"]](cell) for cell in cells]
                    inputs[part["input"]] = np.array(found, dtype=np.float32)
            else:
                inputs[feature["input"]] = np.array(cells, dtype=np.float32)
        wanted = {put.name for put in self.session.get_inputs()}
        found = self.session.run(None, {name: value for name, value in inputs.items() if name in wanted})
        if not self.contract["labels"]:
            return pd.DataFrame({"variable": found[0].reshape(-1).astype(float)}, index=frame.index)
        labels = [f"probability_{label}" for label in self.contract["labels"]]
        answer = pd.DataFrame(found[1].astype(float), columns=labels, index=frame.index)
        answer.insert(0, "label", found[0])
        return answer

    def _cell(self, feature: dict[str, Any], row: int, value: Any) -> Any:
        kind = feature["type"]
        if isinstance(value, str):
            value = value.strip(SPACE)
        if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
            value = ""
        if isinstance(value, str) and (value == "" or value.casefold() in self.reading["missing"]):
            if not feature["nullable"]:
                raise ValueError(f"row {row}, column '{feature['name']}': expected a {kind}, found nothing")
            return {"category": "", "date": None}.get(kind, math.nan)
        try:
            return getattr(self, f"_{kind}")(feature, value)
        except (ValueError, TypeError, OverflowError):
            found = f"row {row}, column '{feature['name']}': expected a {kind}, found {str(value)[:100]!r}"
            raise ValueError(found) from None

    def _number(self, _: dict[str, Any], value: Any) -> float:
        if isinstance(value, str):
            if self.reading["thousands"]:
                value = value.replace(self.reading["thousands"], "")
            value = value.replace(self.reading["decimal"], ".").replace("\u2212", "-")
            if not NUMBER.fullmatch(value):
                raise ValueError
        number = float(value)
        if not math.isfinite(np.float32(number)):
            raise ValueError
        return number

    def _boolean(self, feature: dict[str, Any], value: Any) -> float:
        text = str(int(value) if isinstance(value, float) and value in (0, 1) else value).casefold()
        if text in (*feature["true"], "true", "1"):
            return 1.0
        if text in (*feature["false"], "false", "0"):
            return 0.0
        raise ValueError

    def _category(self, feature: dict[str, Any], value: Any) -> str:
        """A number or a boolean fits the category that it is another spelling of."""
        known = feature["categories"]
        texts = [str(value)]
        if isinstance(value, bool | np.bool_):
            texts += [text for text in known if text.casefold() == str(value).casefold()]
        elif isinstance(value, float) and value.is_integer():
            texts = [*texts, str(int(value))]
        found = next((text for text in texts if text in known), None)
        if found is None and feature.get("unknown", "refuse") == "refuse":
            raise ValueError
        return found if found is not None else texts[-1]

    def _date(self, feature: dict[str, Any], value: Any) -> pd.Timestamp:
        if isinstance(value, int | float):  # digits alone, 20240131; pandas would take nanoseconds since 1970
            value = f"{value:.0f}"
        if isinstance(value, str) and feature["format"] != "iso":
            return pd.to_datetime(value, format=feature["format"], utc=True)
        return pd.to_datetime(value, utc=True)


def _load_pyfunc(path: str) -> FrameModel:
    """By this MLflow loads the model."""
    return FrameModel(path)
