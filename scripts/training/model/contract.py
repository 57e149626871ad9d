"""The contract that a model carries: how its input is read, what it returns, and rows to check that it still does."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from training.config import Data, code_version
from training.data.cells import FALSE, TRUE, Reading
from training.data.columns import Column
from training.data.files import Source, identifier
from training.data.table import Dataset
from training.evaluation import metrics
from training.evaluation.diagnostics import Measurement
from training.evaluation.metrics import Array
from training.fit.calibration import Calibrator
from training.fit.profile import Numbers, Profile, counts
from training.model.onnx_export import LARGEST_DIFFERENCE
from training.model.onnx_runtime import CONTRACT_VERSION, read_contract, run, seven_digits

GOLDEN_ROWS = 5


@dataclass(frozen=True)
class Counts:
    """Rows of the training part by category (0 where one occurs in the held-back parts only), or false and true."""

    counts: list[int]
    missing: int = 0


@dataclass(frozen=True)
class Histogram:
    """Rows between neighbouring `edges`, compared as float32; the last bin holds its upper edge."""

    edges: list[float]
    counts: list[int]
    missing: int = 0


@dataclass(frozen=True)
class Feature:
    """What all types of feature have: the column's name, the graph's input, whether the table has gaps in it."""

    name: str
    input: str
    unit: str | None
    nullable: bool


@dataclass(frozen=True)
class NumberFeature(Feature):
    low: float
    high: float
    median: float
    example: float
    histogram: Histogram
    type: Literal["number"] = "number"


@dataclass(frozen=True)
class CategoryFeature(Feature):
    """`categories` are the texts of the whole table, in order; `unknown` others are accepted or refused."""

    categories: list[str]
    example: str
    histogram: Counts
    unknown: Literal["accept", "refuse"] = "accept"
    type: Literal["category"] = "category"


@dataclass(frozen=True)
class BooleanFeature(Feature):
    """One of the words (in lower case); the graph takes 0 and 1."""

    true: list[str]
    false: list[str]
    example: bool
    histogram: Counts
    type: Literal["boolean"] = "boolean"


@dataclass(frozen=True)
class DatePart:
    """A float32 input of the graph: whole days since 1970-01-01 (UTC), seconds of the day, month (1 to 12), weekday
    (0 is Monday)."""

    input: str
    part: str


@dataclass(frozen=True)
class DateFeature(Feature):
    """A date; `format` is "iso" or a pattern of strptime. The histogram is of the days; the graph has an input for
    each part, and none for the feature itself."""

    format: str
    parts: list[DatePart]
    low: str
    high: str
    median: str
    example: str
    histogram: Histogram
    type: Literal["date"] = "date"


TypedFeature = NumberFeature | CategoryFeature | BooleanFeature | DateFeature


@dataclass(frozen=True)
class Golden:
    """A few rows, by the graph's inputs, with the predictions of the checked graph; `tolerance` is absolute."""

    rows: list[dict[str, float | str | None]]
    predictions: list[Any]
    probabilities: list[list[float]] | None
    tolerance: float


@dataclass(frozen=True)
class Origin:
    source: str
    digest: str
    rows: int
    synthetic: bool


@dataclass(frozen=True)
class Interval:
    coverage: float
    half_width: float


FIRST_READING = Reading(("?", "n/a", "na", "nan", "none", "null"))


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Fields with a default are missing from some contracts of version 1."""

    version: int
    name: str
    task: str
    target: str
    target_unit: str | None = None
    labels: list[str]
    reading: Reading = FIRST_READING
    features: list[TypedFeature]
    interval: Interval | None = None
    calibration: dict[str, Any] = field(default_factory=dict)
    threshold: dict[str, Any] | None = None
    prediction_histogram: Histogram
    design_effect: float = 1.0
    golden: Golden
    metrics: dict[str, float]
    data: Origin
    run_id: str
    trained_at: str
    code_version: str

    def as_json(self) -> dict[str, Any]:
        return dict(json.loads(json.dumps(asdict(self))))


def read(content: bytes) -> Contract:
    """The contract inside a serialized model, of this version or an earlier one. Keys that are not known are left out.
    Raises NewerFormat."""
    contract: Contract = TypeAdapter(Contract).validate_python(read_contract(content))
    return contract


@dataclass(frozen=True)
class Outcome:
    """A fitted model as it was measured.

    `labels` are empty for regression, `profile` describes the training part, `held` is the graph's own output for the
    calibration part, (rows,) or (rows, labels), and `test` holds the features of the test rows.
    """

    labels: list[str]
    profile: Profile
    graph: bytes
    held: Array
    test: pd.DataFrame
    measured: Measurement
    calibrator: Calibrator | None
    interval: Interval | None
    threshold: dict[str, Any] | None


def build(name: str, run_id: str, source: Source, table: Dataset, data: Data, outcome: Outcome) -> Contract:
    """The contract of a model of `table`; `data` names units and says what to do with unknown categories."""
    profile, held = outcome.profile, outcome.held
    # The graph's own output on rows that were not fitted, as it is logged; for labels the surest probability.
    predictions = seven_digits(held.max(axis=1) if held.ndim == 2 else held).astype(np.float32)
    edges = metrics.stored(metrics.edges(predictions))
    return Contract(
        version=CONTRACT_VERSION,
        name=name,
        task="classification" if outcome.labels else "regression",
        target=table.target,
        target_unit=data.units.get(table.target),
        labels=outcome.labels,
        reading=table.reading,
        features=[_feature(column, table, data, profile) for column in table.columns],
        interval=outcome.interval,
        calibration=_calibration(outcome),
        threshold=outcome.threshold,
        prediction_histogram=Histogram(edges, counts(predictions, edges)),
        design_effect=table.design_effect(),
        golden=golden(outcome.graph, outcome.test, profile.spread),
        metrics=outcome.measured.metrics,
        data=Origin(source.files[0].name, f"sha256:{source.digest}", table.report["rows_used"], source.synthetic),
        run_id=run_id,
        trained_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        code_version=code_version(),
    )


def _feature(column: Column, table: Dataset, data: Data, profile: Profile) -> TypedFeature:
    name = column.name
    shared = (name, identifier(name), data.units.get(name), name in table.report["missing"])
    found = profile.features[column.columns[0]]
    if not isinstance(found, Numbers):
        texts = table.texts[name]
        rows = [found.counts.get(text, 0) for text in texts]
        example = texts[int(np.argmax(rows))]
        return CategoryFeature(*shared, list(texts), example, Counts(rows, found.missing), data.unknown)
    if column.kind == "boolean":
        ones = found.counts[-1] if found.high else 0
        seen = Counts([sum(found.counts) - ones, ones], found.missing)
        return BooleanFeature(*shared, list(TRUE), list(FALSE), ones > seen.counts[0], seen)
    histogram = Histogram(found.edges, found.counts, found.missing)
    if column.kind == "date":
        parts = [DatePart(identifier(one), part) for one, part in zip(column.columns, column.parts, strict=True)]
        days = (found.low, found.high, found.median)
        low, high, middle = ((date(1970, 1, 1) + timedelta(days=int(day))).isoformat() for day in days)
        return DateFeature(*shared, column.format, parts, low, high, middle, middle, histogram)
    median = _short(found.median)
    return NumberFeature(*shared, _short(found.low), _short(found.high), median, median, histogram)


def _short(value: float) -> float:
    """A float32 value by its shortest decimal form: 0.27, not 0.27000001072883606."""
    return float(str(np.float32(value)))


def golden(content: bytes, test: pd.DataFrame, spread: float) -> Golden:
    rows = test.iloc[np.linspace(0, len(test) - 1, GOLDEN_ROWS).astype(int)]
    values, found = run(content, rows)
    cells = [{identifier(str(name)): _cell(value) for name, value in row.items()} for _, row in rows.iterrows()]
    probabilities = None if found is None else found.tolist()
    return Golden(cells, values.tolist(), probabilities, LARGEST_DIFFERENCE * spread)


def _cell(value: Any) -> float | str | None:
    if isinstance(value, str):
        return value or None
    return None if np.isnan(value) else _short(value)


def _calibration(outcome: Outcome) -> dict[str, Any]:
    """How interval or probabilities were made, on how many rows, and how well they hold on the test rows."""
    rows, found, calibrator = len(outcome.held), outcome.measured.metrics, outcome.calibrator
    if calibrator is None:
        return {"method": "split conformal", "rows": rows, "coverage_on_test": found["interval_coverage"]}
    terms = {"rows": rows, "error_on_test": found["calibration_error"]}
    if not calibrator.sharpness:
        return terms | {"method": "none"}
    return terms | {"method": "temperature", "temperature": 1 / calibrator.sharpness, "floor": calibrator.floor}
