"""A table read by the contract inside model.onnx, cell by cell as the prediction service reads JSON.

`score` reads its rows by `reader`; `mlflow.pyfunc` loads `FrameModel`, because MLflow's own wrapper of ONNX takes
float32 only and cannot return labels beside probabilities. This file is stored with each model and runs without the
rest of this package, so it imports nothing of it.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

SPACE = " \t\r\n\u00a0"
LARGEST = 3.4028234663852886e38  # float32
NOTHING = {"category": "", "date": None}  # of the other types: NaN
NO_VALUE = (ValueError, TypeError, OverflowError)  # what a reader raises for a value that does not fit
PLAIN: dict[str, Any] = {"missing": [], "decimal": ".", "thousands": ""}  # numbers as JSON has them
EPOCH = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
PARTS: dict[str, Callable[[datetime], float]] = {
    "days": lambda at: at.toordinal() - EPOCH,
    "seconds": lambda at: at.hour * 3600 + at.minute * 60 + at.second,
    "month": lambda at: at.month,
    "weekday": lambda at: at.weekday(),
}
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?( ?(Z|[+-]\d\d(:?\d\d)?))?)?", re.ASCII)

Reader = Callable[[Any], Any]
Feature = dict[str, Any]


class FrameModel:
    """`predict` takes columns by their names in the table or by the graph's inputs, of any of pandas' types."""

    def __init__(self, path: str) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.contract = json.loads(self.session.get_modelmeta().custom_metadata_map["contract"])

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Regression: `variable`. Classification: `label`, and `probability_LABEL` of each. Raises ValueError."""
        features = self.contract["features"]
        names = [feature["name"] for feature in features]
        frame = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
        if list(frame.columns) == list(range(len(names))):
            frame = frame.set_axis(names, axis=1)
        given: dict[str, Any] = {}
        for feature in features:
            column = next((name for name in (feature["name"], feature["input"]) if name in frame), None)
            if column is None:
                raise ValueError(f"column '{feature['name']}' is missing; expected {', '.join(map(repr, names))}")
            given |= inputs(feature, self._cells(feature, frame[column].tolist()))
        wanted = {put.name for put in self.session.get_inputs()}
        found = self.session.run(None, {name: values for name, values in given.items() if name in wanted})
        if not self.contract["labels"]:
            return pd.DataFrame({"variable": found[0].reshape(-1).astype(float)}, index=frame.index)
        labels = [f"probability_{label}" for label in self.contract["labels"]]
        answer = pd.DataFrame(found[1].astype(float), columns=labels, index=frame.index)
        answer.insert(0, "label", found[0])
        return answer

    def _cells(self, feature: Feature, values: list[Any]) -> list[Any]:
        read, cells = reader(feature, self.contract["reading"]), []
        for row, value in enumerate(values, 1):
            try:
                cells.append(read(value.item() if isinstance(value, np.generic) else value))
            except NO_VALUE as error:
                found = "nothing" if str(error) == "missing" else repr(str(value)[:100])
                expected = f"row {row}, column '{feature['name']}': expected a {feature['type']}"
                raise ValueError(f"{expected}, found {found}") from None
        return cells


def inputs(feature: Feature, cells: Sequence[Any]) -> dict[str, Any]:
    """The arrays for the graph's inputs of a feature, from what its reader returned."""
    if feature["type"] == "category":
        return {feature["input"]: np.array(cells, dtype=object)}
    if feature["type"] != "date":
        return {feature["input"]: np.array(cells, dtype=np.float32)}
    return {
        one["input"]: np.array([math.nan if at is None else PARTS[one["part"]](at) for at in cells], dtype=np.float32)
        for one in feature["parts"]
    }


def reader(feature: Feature, reading: dict[str, Any]) -> Reader:
    """A function from a text or any other value to the feature's: a number, a text or a moment, or what stands for
    nothing. It raises one of NO_VALUE where the value does not fit, ValueError("missing") where there must be one."""
    kinds = {"number": _number, "category": _category, "boolean": _boolean, "date": _date}
    from_text, from_value = kinds[feature["type"]](feature, reading)
    nothing, nullable = NOTHING.get(feature["type"], math.nan), feature["nullable"]
    missing = {"", *(word.lower() for word in reading["missing"])}
    missing_numbers = set(_by_number(missing, reading))

    def read(value: Any) -> Any:
        if isinstance(value, str):
            value = value.strip(SPACE)
            if value.lower() not in missing:
                return from_text(value)
        elif not _is_nothing(value) and (isinstance(value, bool) or value not in missing_numbers):
            return from_value(value)
        if not nullable:
            raise ValueError("missing")
        return nothing

    return read


def _is_nothing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _number(_: Feature, reading: dict[str, Any]) -> tuple[Callable[[str], float], Reader]:
    decimal, thousands = re.escape(reading["decimal"]), re.escape(reading["thousands"])
    whole = rf"\d{{1,3}}(?:{thousands}\d{{3}})+|\d+" if thousands else r"\d+"
    pattern = re.compile(rf"[+-]?(?:(?:{whole})(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?", re.ASCII)

    def from_text(text: str) -> float:
        text = text.replace("\u2212", "-")
        if not pattern.fullmatch(text):
            raise ValueError("not a number")
        text = text.replace(reading["thousands"], "") if thousands else text
        return _finite(float(text.replace(reading["decimal"], ".")))

    return from_text, _json_number


def _json_number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("not a number")
    return _finite(float(value))


def _finite(number: float) -> float:
    if not -LARGEST <= number <= LARGEST:  # of NaN too
        raise ValueError("not finite in float32")
    return number


def _by_number(texts: Any, reading: dict[str, Any]) -> dict[float, str]:
    """Those texts that are numbers; of several spellings of one number the first."""
    found, (from_text, _) = {}, _number({}, reading)
    for text in sorted(texts, reverse=True):
        try:
            found[from_text(text)] = text
        except ValueError:
            continue
    return found


def _category(feature: Feature, _: dict[str, Any]) -> tuple[Reader, Reader]:
    """A number or a boolean fits the category that it is another spelling of."""
    known, refuses = set(feature["categories"]), feature["unknown"] == "refuse"
    by_number = _by_number(known, PLAIN)
    by_boolean = {text.casefold(): text for text in sorted(known, reverse=True)}

    def from_text(text: str) -> str:
        if refuses and text not in known:
            raise ValueError("unknown")
        return text

    def from_value(value: Any) -> Any:
        if isinstance(value, bool):
            found = by_boolean.get(str(value).casefold())
        else:
            number = _json_number(value)
            found = str(value) if str(value) in known else by_number.get(number)
        if found is None:
            raise ValueError("no category of this spelling")
        return found

    return from_text, from_value


def _boolean(feature: Feature, _: dict[str, Any]) -> tuple[Reader, Reader]:
    words = {word.casefold(): 0.0 for word in feature["false"]} | {word.casefold(): 1.0 for word in feature["true"]}

    def from_text(text: str) -> float:
        if text.casefold() not in words:
            raise ValueError("neither true nor false")
        return words[text.casefold()]

    def from_value(value: Any) -> float:
        if isinstance(value, bool):
            return float(value)
        number = _json_number(value)
        return number if number in (0, 1) and f"{number:g}" not in words else from_text(f"{number:g}")

    return from_text, from_value


def _date(feature: Feature, _: dict[str, Any]) -> tuple[Reader, Reader]:
    form = feature["format"]
    few = r"\d{1,2}" if re.search("%.[^%]", form) else r"\d\d"  # two where nothing parts the numbers
    digits = {"Y": r"\d{4}", "m": few, "d": few, "H": few, "M": r"\d\d", "S": r"\d\d"}
    shape = re.compile(re.sub("%(.)", lambda found: digits[found[1]], re.escape(form)), re.ASCII)

    def iso(text: str) -> datetime:
        if not ISO.fullmatch(text):
            raise ValueError("not a date of ISO 8601")
        return _in_utc(datetime.fromisoformat(text.replace(" ", "T", 1).replace(" ", "").replace(",", ".")))

    def from_text(text: str) -> datetime:
        if form == "iso":
            return iso(text)
        if not shape.fullmatch(text):
            raise ValueError(f"not of the form {form}")
        return _in_utc(datetime.strptime(text, form))

    def from_value(value: Any) -> datetime:
        return iso(value.isoformat()) if hasattr(value, "isoformat") else from_text(f"{_json_number(value):.0f}")

    return from_text, from_value


def _in_utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _load_pyfunc(path: str) -> FrameModel:
    """By this MLflow loads the model."""
    return FrameModel(path)
