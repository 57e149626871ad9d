"""Metrics, comparisons and the interval: pure functions of arrays.

"Predicted" is (rows,) values for regression and (rows, classes) probabilities for classification; "actual" is (rows,)
values or label indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

Array = np.ndarray[Any, Any]

SMALLEST_GROUP = 30  # rows; the mean of fewer says too little to decide on
BINS = 10  # of every histogram: tenths of the rows

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
    """The usual figures of a task. Plain arithmetic, because a bootstrap asks for them a thousand times."""
    if task == "regression":
        unexplained = float(np.square(predicted - actual).mean())
        figures = {"mae": score("mae", actual, predicted), "rmse": float(np.sqrt(unexplained))}
        return figures | ({"r2": 1 - unexplained / spread} if (spread := float(actual.var())) else {})
    figures = {metric: score(metric, actual, predicted) for metric in ("accuracy", "log_loss")}
    figures["f1_macro"] = f1_macro(actual, predicted.argmax(axis=1), predicted.shape[1])
    if predicted.shape[1] == 2 and 0 < actual.sum() < len(actual):
        figures["roc_auc"] = roc_auc(actual, predicted[:, 1])
    return figures


def f1_macro(actual: Array, chosen: Array, classes: int) -> float:
    """Mean F1 of the labels that occur or were predicted (van Rijsbergen 1979, chapter 7)."""
    confusion = np.bincount(actual * classes + chosen, minlength=classes**2).reshape(classes, classes)
    occurs = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float((2 * np.diag(confusion)[occurs > 0] / occurs[occurs > 0]).mean())


def roc_auc(actual: Array, scores: Array) -> float:
    """Area under the ROC curve from the ranks (Hanley and McNeil 1982): P(a 1 scores higher than a 0)."""
    ones, ranks = int(actual.sum()), rankdata(scores)
    return float((ranks[actual == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(actual) - ones)))


def baseline(constant: Array, rows: int) -> Array:
    """What a model must beat to be one: always the training mean, (1,), or the training shares of the labels."""
    return np.full(rows, constant[0]) if len(constant) == 1 else np.tile(constant, (rows, 1))


def half_width(actual: Array, predicted: Array, coverage: float) -> float:
    """Half-width of the split conformal interval (Lei et al. 2018, algorithm 2): a quantile of |residual|.

    The rows must be ones that the model was not fitted on, `fewest_rows` at least.
    """
    residuals = np.sort(np.abs(actual - predicted))
    return float(residuals[_rank(len(residuals), coverage) - 1])


def fewest_rows(coverage: float) -> int:
    """Rows of which the largest residual is the half-width; of fewer no interval has this coverage. 9 for 0.9."""
    guess = int(coverage / (1 - coverage))
    return next(rows for rows in range(max(1, guess - 1), guess + 3) if _rank(rows, coverage) <= rows)


def _rank(rows: int, coverage: float) -> int:
    return int(np.ceil((rows + 1) * coverage))


def edges(values: Array, bins: int = BINS) -> Array:
    """Histogram edges near quantiles, so that every bin of the training data is filled about alike (as PSI wants).

    Inner edges lie half-way between neighbouring values: a value that differs by a rounding stays in its bin.
    """
    present = np.unique(values.astype(np.float64))
    chosen = np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, bins + 1), method="higher"))
    inner = chosen[1:] if len(chosen) <= bins else chosen[1:-1]  # few values: a bin for the highest one too
    halfway = (inner + present[np.searchsorted(present, inner) - 1]) / 2
    return np.unique(np.concatenate([present[:1], halfway, present[-1:]]))


def edges_at(quantiles: Array) -> Array:
    """Histogram edges from quantiles, lowest to highest, where the values between them are not known.

    Where some are the same, few values make up the column: the inner edges then lie half-way between the different
    ones. On the values themselves, the two highest would share a bin, and a column of 0 and 1 would have only one.
    """
    different = np.unique(quantiles)
    if len(different) in (1, len(quantiles)):
        return different
    return np.concatenate([different[:1], (different[:-1] + different[1:]) / 2, different[-1:]])


def stored(edges: Array) -> list[float]:
    """The different float32 values of `edges` in their shortest decimal form, as a contract keeps them."""
    return [float(str(edge)) for edge in np.unique(edges.astype(np.float32))]
