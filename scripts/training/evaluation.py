"""Metrics, comparisons and the interval: pure functions of arrays.

"Predicted" is (rows,) values for regression and (rows, classes) probabilities for classification; "actual" is (rows,)
values or label indices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics as sk

Array = np.ndarray[Any, Any]

SMALLEST_PROBABILITY = 1e-7  # float32 probabilities of 0 would make the log loss infinite


def losses(metric: str, actual: Array, predicted: Array) -> Array:
    """(rows,) loss of each row, whose mean is the metric up to `from_mean_loss`. Always: lower is better."""
    if metric == "mae":
        return np.asarray(np.abs(predicted - actual))
    if metric == "rmse":
        return np.asarray(np.square(predicted - actual))
    if metric == "accuracy":
        return np.asarray(predicted.argmax(axis=1) != actual, dtype=np.float64)
    if metric == "log_loss":
        chosen = predicted[np.arange(len(actual)), actual.astype(np.int64)]
        return np.asarray(-np.log(np.clip(chosen, SMALLEST_PROBABILITY, 1.0)))
    raise ValueError(f"unknown metric {metric}")


def from_mean_loss(metric: str, mean: Any) -> Any:
    """The metric from the mean of `losses`."""
    if metric == "rmse":
        return np.sqrt(mean)
    return 1.0 - mean if metric == "accuracy" else mean


def score(metric: str, actual: Array, predicted: Array) -> float:
    """The metric on these rows."""
    return float(from_mean_loss(metric, losses(metric, actual, predicted).mean()))


def summary(task: str, actual: Array, predicted: Array) -> dict[str, float]:
    """The usual figures of a task."""
    if task == "regression":
        return {
            "mae": score("mae", actual, predicted),
            "rmse": score("rmse", actual, predicted),
            "r2": float(sk.r2_score(actual, predicted)),
        }
    chosen = predicted.argmax(axis=1)
    figures = {
        "accuracy": score("accuracy", actual, predicted),
        "log_loss": score("log_loss", actual, predicted),
        "f1_macro": float(sk.f1_score(actual, chosen, average="macro", zero_division=0.0)),
    }
    if predicted.shape[1] == 2 and len(np.unique(actual)) == 2:
        figures["roc_auc"] = float(sk.roc_auc_score(actual, predicted[:, 1]))
    return figures


def baseline(constant: Array, rows: int) -> Array:
    """What a model must beat to be one: always the training mean, (1,), or the training shares of the labels."""
    return np.full(rows, constant[0]) if len(constant) == 1 else np.tile(constant, (rows, 1))


def half_width(actual: Array, predicted: Array, coverage: float) -> float:
    """Half-width of the split conformal interval (Lei et al. 2018, algorithm 2): a quantile of |residual|.

    The rows must be ones that the model was not fitted on.
    """
    residuals = np.sort(np.abs(actual - predicted))
    rank = int(np.ceil((len(residuals) + 1) * coverage))
    return float(residuals[min(rank, len(residuals)) - 1])


def edges(values: Array, bins: int = 10) -> Array:
    """Histogram edges at quantiles, so that every bin of the training data is filled about alike (as PSI wants)."""
    return np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, bins + 1)))


def permutation_importance(
    metric: str, actual: Array, features: pd.DataFrame, predict: Callable[[pd.DataFrame], Array], seed: int
) -> Array:
    """(features,) growth of the mean loss when one feature's values are shuffled (Breiman 2001, section 10)."""
    generator = np.random.default_rng(seed)
    base = losses(metric, actual, predict(features)).mean()
    growth = []
    for name in features.columns:
        shuffled = features.assign(**{name: generator.permutation(features[name].to_numpy())})
        growth.append(float(losses(metric, actual, predict(shuffled)).mean() - base))
    return np.array(growth)
