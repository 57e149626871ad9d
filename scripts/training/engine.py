"""One recipe, two engines: how a model comes from the training part, in memory or on Spark's executors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pyspark.sql import SparkSession
from sklearn.pipeline import Pipeline

from training import dataset
from training.config import Config
from training.dataset import Dataset
from training.local_engine import LocalEngine
from training.profile import Profile
from training.search import Columns, Found, Parameters
from training.spark_engine import SparkEngine


class Engine(Protocol):
    """The training part, wherever its rows are."""

    @property
    def columns(self) -> Columns:
        """What the model takes and gives."""
        ...

    @property
    def profile(self) -> Profile:
        """What the training part looks like."""
        ...

    def search(self, experiment_id: str, study_name: str) -> Found:
        """Runs what is left of the configured trials."""
        ...

    def fit(self, parameters: Parameters) -> Pipeline:
        """The winner, fitted on the whole training part: a pipeline of scikit-learn's, whichever engine it was."""
        ...


def start(spark: SparkSession, config: Config, table: Dataset, labels: Sequence[str]) -> Engine:
    """The engine that the configuration names, with the training part of `table`."""
    dataset.ship_code(spark)
    engine = SparkEngine if config.search.engine == "spark" else LocalEngine
    return engine(spark, config, table, labels)
