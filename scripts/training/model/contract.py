"""The contract that a model carries: what it takes, what it gives, and rows by which to check that it still does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from training.config import Config
from training.data.files import identifier
from training.data.table import Dataset
from training.evaluation import metrics
from training.evaluation.measurement import Measurement
from training.fit.calibration import Calibrator
from training.fit.profile import Categories, Numbers, Profile, counts
from training.model.onnx_export import LARGEST_DIFFERENCE
from training.model.onnx_runtime import run

VERSION = 1
GOLDEN_ROWS = 5


def features(config: Config, dataset: Dataset, profile: Profile) -> list[dict[str, Any]]:
    """Name, type, range or categories, and training histogram of every feature."""
    nullable = dataset.report["missing"]
    return [
        {
            "name": name,
            "input": identifier(name),
            "unit": config.data.units.get(name),
            "nullable": name in nullable,
            **(_number(column) if isinstance(column, Numbers) else _category(column)),
        }
        for name, column in profile.features.items()
    ]


def _number(column: Numbers) -> dict[str, Any]:
    return {
        "type": "number",
        "low": _short(column.low),
        "high": _short(column.high),
        "median": _short(column.median),
        "example": _short(column.median),
        "histogram": {
            "edges": [_short(edge) for edge in column.edges],
            "counts": column.counts,
            "missing": column.missing,
        },
    }


def _category(column: Categories) -> dict[str, Any]:
    return {
        "type": "category",
        "categories": list(column.counts),
        "example": max(column.counts, key=lambda name: column.counts[name]),
        "histogram": {"counts": list(column.counts.values()), "missing": column.missing},
    }


def _short(value: float) -> float:
    """A float32 value by its shortest decimal form: 0.27, not 0.27000001072883606."""
    return float(str(np.float32(value)))


def golden(content: bytes, test: pd.DataFrame, names: list[str], spread: float) -> dict[str, Any]:
    """A few rows with the predictions that the checked graph gives for them here, at training."""
    rows = test[names].iloc[np.linspace(0, len(test) - 1, GOLDEN_ROWS).astype(int)]
    values, probabilities = run(content, rows)
    return {
        "rows": [{identifier(str(name)): _cell(value) for name, value in row.items()} for _, row in rows.iterrows()],
        "predictions": values.tolist(),
        "probabilities": None if probabilities is None else probabilities.tolist(),
        "tolerance": LARGEST_DIFFERENCE * spread,
    }


def _cell(value: Any) -> float | str | None:
    if isinstance(value, str):
        return value or None
    return None if np.isnan(value) else _short(value)


def histogram(values: metrics.Array) -> dict[str, Any]:
    """Histogram of the predictions on rows that were not fitted."""
    edges = metrics.edges(values)
    return {"edges": edges.tolist(), "counts": counts(values, edges).tolist()}


def calibrated(measured: Measurement, calibrator: Calibrator | None, rows: int) -> dict[str, Any]:
    """How interval or probabilities were made, on how many rows, and how well they hold on the test rows."""
    if calibrator is None:
        return {"method": "split conformal", "rows": rows, "coverage_on_test": measured.metrics["interval_coverage"]}
    found = {"method": calibrator.method, "rows": rows, "error_on_test": measured.metrics["calibration_error"]}
    if calibrator.sharpness:
        found |= {"temperature": 1 / calibrator.sharpness, "floor": calibrator.floor}
    return found
