"""The pictures that a person looks at before trusting a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

Array = np.ndarray[Any, Any]


def residuals(actual: Array, predicted: Array, target: str) -> Figure:
    """Residual against prediction, and how residuals are spread."""
    figure, (left, right) = _figure(2)
    left.scatter(predicted, actual - predicted, s=8, alpha=0.3)
    left.axhline(0, color="black", linewidth=0.8)
    left.set(xlabel=f"predicted {target}", ylabel="actual - predicted", title="Residuals on the test rows")
    right.hist(actual - predicted, bins=40)
    right.set(xlabel="actual - predicted", ylabel="rows", title="Spread")
    return figure


def confusion(actual: Array, probabilities: Array, labels: list[str]) -> Figure:
    """Confusion matrix on the test rows."""
    figure, (axes,) = _figure(1)
    counts = confusion_matrix(actual, probabilities.argmax(axis=1), labels=range(len(labels)))
    image = axes.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        axes.text(
            column, row, str(count), ha="center", va="center", color="white" if count > counts.max() / 2 else "black"
        )
    axes.set(
        xlabel="predicted", ylabel="actual", title="Test rows", xticks=range(len(labels)), yticks=range(len(labels))
    )
    axes.set_xticklabels(labels)
    axes.set_yticklabels(labels)
    figure.colorbar(image)
    return figure


def importance(names: list[str], values: Array) -> Figure:
    """By how much the error grows when a feature's values are shuffled over the test rows."""
    figure, (axes,) = _figure(1)
    order = np.argsort(values)
    axes.barh([names[index] for index in order], values[order])
    axes.set(xlabel="growth of the error when shuffled", title="Permutation importance")
    return figure


def _figure(columns: int) -> tuple[Figure, Array]:
    figure = Figure(figsize=(5 * columns, 4), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display and without pyplot's global state
    return figure, figure.subplots(1, columns, squeeze=False)[0]
