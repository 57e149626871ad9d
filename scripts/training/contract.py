"""The contract that a model carries: what it takes, what it gives, and rows by which to check that it still does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from training import evaluation
from training.config import Config
from training.dataset import Dataset
from training.export import LARGEST_DIFFERENCE
from training.scoring import run
from training.source import identifier

VERSION = 1
GOLDEN_ROWS = 5


def features(config: Config, dataset: Dataset, train: pd.DataFrame) -> list[dict[str, Any]]:
    """Name, type, range or categories, and training histogram of every feature."""
    nullable = dataset.report["missing"]
    return [
        {
            "name": name,
            "input": identifier(name),
            "unit": config.data.units.get(name),
            "nullable": name in nullable,
            **(_number(train[name]) if name in dataset.numbers else _category(train[name])),
        }
        for name in dataset.features
    ]


def _number(column: pd.Series[Any]) -> dict[str, Any]:
    present = column.dropna().to_numpy(np.float64)
    edges = evaluation.edges(present)
    counts = np.histogram(present, edges)[0] if len(edges) > 1 else np.array([len(present)])
    median = float(np.median(present))
    return {
        "type": "number",
        "low": _short(present.min()),
        "high": _short(present.max()),
        "median": _short(median),
        "example": _short(median),
        "histogram": {
            "edges": [_short(edge) for edge in edges],
            "counts": counts.tolist(),
            "missing": int(column.isna().sum()),
        },
    }


def _category(column: pd.Series[Any]) -> dict[str, Any]:
    counts = column[column != ""].value_counts().sort_index()
    return {
        "type": "category",
        "categories": [str(name) for name in counts.index],
        "example": str(counts.idxmax()),
        "histogram": {"counts": counts.tolist(), "missing": int((column == "").sum())},
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


def histogram(values: evaluation.Array) -> dict[str, Any]:
    """Histogram of the predictions on rows that were not fitted."""
    edges = evaluation.edges(values)
    counts = np.histogram(values, edges)[0] if len(edges) > 1 else np.array([len(values)])
    return {"edges": edges.tolist(), "counts": counts.tolist()}
