"""The engine for data beyond one machine: xgboost.spark on all executors; of the rows only aggregates come back.

The columns are prepared by the very scikit-learn transformer that goes into the graph, so nothing has to be written
twice. Its medians and categories come from the profile, which Spark computes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from xgboost import XGBClassifier, XGBModel, XGBRegressor
from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor

from training.config import Search
from training.data.table import HASH, PART, Dataset
from training.errors import ClusterError
from training.evaluation.metrics import Array, from_mean_loss, losses
from training.fit import profile, search
from training.fit.profile import Numbers, Profile
from training.fit.search import Columns, Parameters

TARGET, FOLD, WEIGHT = "target", "fold", "weight"
WAIT_SECONDS = 120.0  # for the first executor of a cluster that has none
GRACE_SECONDS = 20.0  # within which a restarted worker is back
# How Spark says that a barrier stage lost one of its tasks, or found too few slots to begin. It repeats no such stage.
LOST = ("ExecutorLostFailure", "Python worker exited unexpectedly", "requires more slots")


class SparkEngine:
    """One trial at a time, each on all executors."""

    side_by_side = 1

    def __init__(
        self, spark: SparkSession, settings: Search, metric: str, seed: int, table: Dataset, labels: Sequence[str]
    ) -> None:
        self.spark, self.settings, self.metric, self.seed = spark, settings, metric, seed
        self.labels, self.target = list(labels), table.target
        self.columns = Columns(table.numbers, table.categories, len(labels), table.encoded)
        self.train = table.table.where(F.col(PART) == "train")

    @cached_property
    def profile(self) -> Profile:
        columns = self.columns
        return profile.of_table(self.train, columns.numbers, columns.categories, self.target, columns.classes)

    def fit(self, parameters: Parameters) -> Pipeline:
        model = self._fit(parameters, self._matrix, list(range(self.columns.classes)))
        return Pipeline([("columns", self._transformer), ("model", model)])

    @cached_property
    def _transformer(self) -> ColumnTransformer:
        """The pipeline's first step, fitted on a small frame that has the profile's medians and categories."""
        features = self.profile.features
        values = {
            name: [column.median] if isinstance(column, Numbers) else [*column.counts, *[""][: column.missing]]
            for name, column in features.items()
        }
        rows = max(len(column) for column in values.values())
        frame = pd.DataFrame({name: np.resize(np.array(column), rows) for name, column in values.items()})
        frame = frame.astype({name: "float32" if name in self.columns.numbers else object for name in frame})
        pipeline = search.build({"candidate": "xgboost"}, self.columns, self.seed)
        return pipeline.named_steps["columns"].fit(frame)

    @cached_property
    def _matrix(self) -> DataFrame:
        """The training part as the model takes it, cached: columns f0, f1, … float, `target` and `fold`.

        One partition for each slot, in the order of the rows' hashes, so that a repetition on as many executors sees
        the same rows in the same places.
        """
        transformer, names = self._transformer, list(self.columns.names)
        label = F.array_position(F.array(*map(F.lit, self.labels)), F.col(f"`{self.target}`")) - 1
        target = label if self.labels else F.col(f"`{self.target}`")
        fold = F.floor(F.col(HASH) * 1e9) % self.settings.folds
        width = len(transformer.get_feature_names_out())

        def prepare(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            for batch in batches:
                values = transformer.transform(batch.drop(columns=[TARGET, FOLD]).set_axis(names, axis=1))
                frame = pd.DataFrame(np.asarray(values, dtype=np.float32), columns=[f"f{i}" for i in range(width)])
                yield frame.assign(target=batch[TARGET].to_numpy(), fold=batch[FOLD].to_numpy())

        cells = [F.col(f"`{name}`").cast("float") for name in self.columns.numbers]
        cells += [F.col(f"`{name}`") for name in self.columns.categories]
        placed = [cell.alias(f"c{i}") for i, cell in enumerate(cells)]  # see `cells.survey`
        ordered = self.train.repartition(slots(self.spark), HASH).sortWithinPartitions(HASH)
        rows = ordered.select(*placed, target.cast("double").alias(TARGET), fold.cast("int").alias(FOLD))
        schema = ", ".join([*[f"f{i} float" for i in range(width)], f"{TARGET} double", f"{FOLD} int"])
        return rows.mapInPandas(prepare, schema).cache()

    def cross_validate(self, parameters: Parameters) -> float:
        """As in the local engine, the folds without any of the rare labels included."""
        mean_losses = []
        for fold in range(self.settings.folds):
            fit, held = self._matrix.where(F.col(FOLD) != fold), self._matrix.where(F.col(FOLD) == fold)
            counts = np.zeros(self.columns.classes)
            if self.columns.classes:
                for label, rows in fit.groupBy(TARGET).count().collect():
                    counts[int(label)] = rows
            present = np.flatnonzero(counts).tolist()
            model = None if len(present) == 1 else self._fit(parameters, fit, present)
            mean_losses.append(self._mean_loss(model, held, counts))
        return float(from_mean_loss(self.metric, float(np.nanmean(mean_losses))))

    def _fit(self, parameters: Parameters, rows: DataFrame, present: list[int]) -> XGBModel:
        """XGBoost on all executors, as scikit-learn knows it. `present` are the label indices that occur in `rows`."""
        options = {name: value for name, value in parameters.items() if name != "candidate"}
        # "hist" is the default; but only where it is named are the rows kept as bins alone.
        options |= {"random_state": self.seed, "tree_method": "hist", "label_col": TARGET}
        options |= {"launch_tracker_on_driver": False, "verbose": False}
        features = [name for name in rows.columns if name not in (TARGET, FOLD)]
        estimator, plain = (SparkXGBClassifier, XGBClassifier) if present else (SparkXGBRegressor, XGBRegressor)
        if self.settings.weights == "balanced":
            options["weight_col"] = WEIGHT
            shares = rows.groupBy(TARGET).agg((F.lit(rows.count() / len(present)) / F.count("*")).alias(WEIGHT))
            rows = rows.join(F.broadcast(shares), TARGET)
        if present != list(range(len(present))):
            rows = rows.withColumn(
                TARGET, F.array_position(F.array(*map(F.lit, map(float, present))), F.col(TARGET)) - 1
            )

        def fit(slots: int) -> Any:
            return estimator(features_col=features, num_workers=slots, **options).fit(rows)

        booster = _on_all_slots(self.spark, fit).get_booster()
        booster.feature_names = None
        model = plain(**{name: options[name] for name in options if name in plain().get_params()})
        model.load_model(booster.save_raw())
        return model

    def _mean_loss(self, model: XGBModel | None, rows: DataFrame, counts: Array) -> float:
        """The mean loss on `rows`, predicted as `search.predict_fold` does. NaN of no rows."""
        metric, weights = self.metric, self.settings.weights

        def sums(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            for batch in batches:
                features = batch.drop(columns=[TARGET, FOLD]).to_numpy(np.float32)
                predicted = search.predict_fold(model, features, counts, weights, metric)
                lost = losses(metric, batch[TARGET].to_numpy(), predicted)
                yield pd.DataFrame({"lost": [float(lost.sum())], "rows": [len(lost)]})

        found = rows.mapInPandas(sums, "lost double, rows bigint").agg(F.sum("lost"), F.sum("rows")).first()
        return float(found[0] / found[1]) if found and found[1] else np.nan


def slots(spark: SparkSession) -> int:
    """How many tasks can run side by side now. Raises ClusterError when there are none for long."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := _slots(spark)):
        if time.monotonic() > deadline:
            raise ClusterError(str(spark.sparkContext.master))
        time.sleep(0.2)
    return found


def _slots(spark: SparkSession) -> int:
    context: Any = spark.sparkContext._jsc.sc()
    return int(context.maxNumConcurrentTasks(context.resourceProfileManager().defaultResourceProfile()))


def _on_all_slots(spark: SparkSession, job: Callable[[int], Any]) -> Any:
    """What `job(slots)` returns, a barrier stage on all slots. Raises ClusterError when an executor is lost: repeating
    the training goes on with the search where it stopped.

    A barrier stage whose tasks have not begun would wait for a lost executor for ever, so the slots are watched.
    """
    wanted, short_since = slots(spark), None
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(job, wanted)
        while not wait_for([future], timeout=0.5).done:
            short_since = None if _slots(spark) >= wanted else short_since or time.monotonic()
            if short_since and time.monotonic() - short_since > GRACE_SECONDS:
                spark.sparkContext.cancelAllJobs()
                raise ClusterError(str(spark.sparkContext.master))
        try:
            return future.result()
        except Exception as error:  # Spark, its gateway and XGBoost each have a type of their own for a lost executor
            if any(sign in str(error) for sign in LOST):
                raise ClusterError(str(spark.sparkContext.master)) from error
            raise
