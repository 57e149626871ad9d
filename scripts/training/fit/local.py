"""The engine for data of one machine: the training part is collected once, and each trial is a task on an executor."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from sklearn.pipeline import Pipeline

from training.config import Search
from training.data.table import Dataset
from training.errors import DataError, TrialFailed
from training.evaluation import metrics
from training.evaluation.metrics import Array
from training.fit import profile, search
from training.fit.profile import Profile
from training.fit.search import Columns, Parameters


@dataclass(frozen=True)
class TrainingRows:
    """What the trials fit on: features as the graph will take them, the target, and a fold number per row.

    `target` is float64 for regression and the label's index (int64) for classification.
    """

    columns: Columns
    features: pd.DataFrame
    target: Array
    fold: Array
    weights: str = "none"


class LocalEngine:
    """Trials side by side, each in one process."""

    def __init__(
        self, spark: SparkSession, settings: Search, metric: str, seed: int, table: Dataset, labels: Sequence[str]
    ) -> None:
        self.spark, self.metric, self.seed = spark, metric, seed
        train = table.rows("train", labels)
        # Repeated measurements share a hash, so no fold is judged by a row that another fold was fitted on.
        fold = (train.hash * 1e9).astype(np.int64) % settings.folds
        if len(np.unique(fold)) < 2:
            raise DataError(
                f"the {len(fold)} training rows are {len(np.unique(train.hash))} different ones, too few for "
                f"{settings.folds} folds",
                "Give rows with more different features.",
            )
        self.columns = Columns(table.numbers, table.categories, len(labels), table.encoded)
        self.rows = TrainingRows(self.columns, train.features, train.target, fold, settings.weights)
        self.shared = spark.sparkContext.broadcast(self.rows)

    @cached_property
    def profile(self) -> Profile:
        return profile.of_frame(self.rows.features, self.rows.target, self.columns.classes)

    @property
    def side_by_side(self) -> int:
        return int(self.spark.sparkContext.defaultParallelism)

    def cross_validate(self, parameters: Parameters) -> float:
        rows, metric, seed = self.shared, self.metric, self.seed
        parameters = search.bounded(parameters, len(self.rows.target))

        def attempt(_: int) -> float | str:
            try:
                return cross_validate(parameters, rows.value, metric, seed)
            except Exception as error:  # noqa: BLE001  Spark would wrap it in its own, and try it again
                return f"{type(error).__name__}: {error}"

        (value,) = self.spark.sparkContext.parallelize([0], 1).map(attempt).collect()
        if isinstance(value, str):
            raise TrialFailed(parameters["candidate"], value)
        return value

    def fit(self, parameters: Parameters) -> Pipeline:
        model = search.build(search.bounded(parameters, len(self.rows.target)), self.columns, self.seed, jobs=-1)
        return search.fit(model, self.rows.features, self.rows.target, self.rows.weights)


def cross_validate(parameters: Parameters, rows: TrainingRows, metric: str, seed: int) -> float:
    """`metric` over the folds: each row is judged by a model that was fitted without its fold.

    A rare label may be absent from a fold: XGBoost wants labels without holes, and one label needs no model.
    """
    found, classes = [], rows.columns.classes
    for fold in np.unique(rows.fold):
        fit, held = rows.fold != fold, rows.fold == fold
        target, model = rows.target[fit], None
        counts: Array = np.zeros(0)
        if classes:
            counts = np.bincount(target, minlength=classes)
            target = np.searchsorted(np.flatnonzero(counts), target)
        if np.count_nonzero(counts) != 1:
            model = search.fit(search.build(parameters, rows.columns, seed), rows.features[fit], target, rows.weights)
        predicted = search.predict_fold(model, rows.features[held], counts, rows.weights, metric)
        found.append(metrics.loss(metric, rows.target[held], predicted))
    if np.isnan(found).all():
        raise ValueError(f"{metric} is not defined: in each fold all rows have one label")
    return float(metrics.from_mean_loss(metric, float(np.nanmean(found))))
