"""One recipe, two engines: how a model comes from the training part, in memory or on Spark's executors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pyspark.sql import SparkSession
from sklearn.pipeline import Pipeline

from training.config import Search
from training.data.spark import ship_code
from training.data.table import Dataset
from training.fit.cluster import SparkEngine
from training.fit.local import LocalEngine
from training.fit.profile import Profile
from training.fit.search import Columns, Parameters


class Engine(Protocol):
    """The training part, wherever its rows are."""

    @property
    def columns(self) -> Columns:
        """What the model takes and gives."""

    @property
    def profile(self) -> Profile:
        """What the training part looks like."""

    @property
    def side_by_side(self) -> int:
        """How many trials can run at a time."""

    def cross_validate(self, parameters: Parameters) -> float:
        """The metric over the folds: each row is judged by a model that was fitted without its fold."""

    def fit(self, parameters: Parameters) -> Pipeline:
        """The winner, fitted on the whole training part: a pipeline of scikit-learn's, whichever engine it was."""


def start(
    spark: SparkSession, settings: Search, metric: str, seed: int, table: Dataset, labels: Sequence[str]
) -> Engine:
    """The engine that the configuration names, with the training part of `table`."""
    ship_code(spark)
    engine = SparkEngine if settings.engine == "spark" else LocalEngine
    return engine(spark, settings, metric, seed, table, labels)
