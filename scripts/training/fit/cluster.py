"""The engine for data beyond one machine: xgboost.spark on all executors; of the rows only aggregates come back.

The columns are prepared by the very scikit-learn transformer that goes into the graph, so nothing has to be written
twice. Its medians and categories come from the profile, which Spark computes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import optuna
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from xgboost import XGBClassifier, XGBModel, XGBRegressor
from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor

from training.config import Config
from training.data.table import HASH, PART, Dataset
from training.evaluation.metrics import from_mean_loss, losses
from training.fit import executors, profile, search
from training.fit.profile import Numbers, Profile
from training.fit.search import Columns, Found, Parameters

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]

TARGET, FOLD = "target", "fold"


class SparkEngine:
    """One trial at a time, each on all executors. See `engine.Engine`."""

    def __init__(self, spark: SparkSession, config: Config, table: Dataset, labels: Sequence[str]) -> None:
        self.spark, self.config, self.labels = spark, config, list(labels)
        self.columns = Columns(table.numbers, table.categories, len(labels), encoded=table.encoded)
        self.train = table.table.where(F.col(PART) == "train")

    @cached_property
    def profile(self) -> Profile:
        columns, target = self.columns, self.config.data.target
        return profile.of_table(self.train, columns.numbers, columns.categories, target, columns.classes)

    def search(self, experiment_id: str, study_name: str) -> Found:
        metric, trials = self.config.search_metric, self.config.search.trials
        candidates = list(self.config.search.candidates)
        storage = search.storage(experiment_id)
        sampler = search.StartingSampler(candidates, self.config.split.seed)
        study = optuna.create_study(
            storage=storage,
            study_name=study_name,
            sampler=sampler,
            direction=search.direction(metric),
            load_if_exists=True,
        )

        sampler.go_on(study.trials)

        def objective(trial: optuna.Trial) -> float:
            value = self._cross_validate(search.suggest(trial, candidates, len(self.columns.names)))
            log.info("trial %d of %d: xgboost, %s %.4g", trial.number + 1, trials, metric, value)
            return value

        left = trials - sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials)
        if left > 0:
            study.optimize(objective, n_trials=left, timeout=self.config.search.timeout_s)
        run_id = str(storage.get_study_id_from_name(study_name))
        return search.found(run_id, study.trials, metric, candidates, len(self.columns.names))

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
        pipeline = search.build({"candidate": "xgboost"}, self.columns, self.config.split.seed)
        return pipeline.named_steps["columns"].fit(frame)

    @cached_property
    def _matrix(self) -> DataFrame:
        """The training part as the model takes it, cached: columns f0, f1, … float, `target` and `fold`.

        One partition for each slot, in the order of the rows' hashes, so that a repetition on as many executors sees
        the same rows in the same places.
        """
        transformer, names = self._transformer, list(self.columns.names)
        label = F.array_position(F.array(*map(F.lit, self.labels)), F.col(f"`{self.config.data.target}`")) - 1
        target = label if self.labels else F.col(f"`{self.config.data.target}`")
        fold = F.floor(F.col(HASH) * 1e9) % self.config.search.folds
        width = transformer.transform(_batch_of_missing(self.columns)).shape[1]

        def prepare(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            for batch in batches:
                values = transformer.transform(batch[names])
                frame = pd.DataFrame(np.asarray(values, dtype=np.float32), columns=[f"f{i}" for i in range(width)])
                yield frame.assign(target=batch[TARGET].to_numpy(), fold=batch[FOLD].to_numpy())

        numbers = [F.col(f"`{name}`").cast("float").alias(name) for name in self.columns.numbers]
        categories = [F.col(f"`{name}`") for name in self.columns.categories]
        ordered = self.train.repartition(executors.slots(self.spark), HASH).sortWithinPartitions(HASH)
        rows = ordered.select(*numbers, *categories, target.cast("double").alias(TARGET), fold.cast("int").alias(FOLD))
        schema = ", ".join([*[f"f{i} float" for i in range(width)], f"{TARGET} double", f"{FOLD} int"])
        return rows.mapInPandas(prepare, schema).cache()

    def _cross_validate(self, parameters: Parameters) -> float:
        """As in the local engine: each row is judged by a model that was fitted without its fold."""
        mean_losses = []
        for fold in range(self.config.search.folds):
            fit, held = self._matrix.where(F.col(FOLD) != fold), self._matrix.where(F.col(FOLD) == fold)
            present = list(range(self.columns.classes))
            if self.columns.classes:  # a rare label may be absent from a fold, and XGBoost wants labels without holes
                present = sorted(int(row[0]) for row in fit.select(TARGET).distinct().collect())
            model = self._fit(parameters, fit, present)
            mean_losses.append(self._mean_loss(model, held, present))
        return float(from_mean_loss(self.config.search_metric, float(np.mean(mean_losses))))

    def _fit(self, parameters: Parameters, rows: DataFrame, present: list[int]) -> XGBModel:
        """XGBoost on all executors, as scikit-learn knows it. `present` are the label indices that occur in `rows`."""
        options = {name: value for name, value in parameters.items() if name != "candidate"}
        options |= {
            "random_state": self.config.split.seed,
            "tree_method": "hist",  # the default; but only where it is named are the rows kept as bins alone
            "label_col": TARGET,
            "launch_tracker_on_driver": False,
            "verbose": False,
        }
        features = [name for name in rows.columns if name not in (TARGET, FOLD)]
        estimator, plain = (SparkXGBClassifier, XGBClassifier) if present else (SparkXGBRegressor, XGBRegressor)
        if present != list(range(len(present))):
            rows = rows.withColumn(
                TARGET, F.array_position(F.array(*map(F.lit, map(float, present))), F.col(TARGET)) - 1
            )

        def fit(slots: int) -> Any:
            return estimator(features_col=features, num_workers=slots, **options).fit(rows)

        booster = executors.surviving(self.spark, fit).get_booster()
        booster.feature_names = None
        model = plain(**{name: options[name] for name in options if name in plain().get_params()})
        model.load_model(booster.save_raw())
        return model

    def _mean_loss(self, model: XGBModel, rows: DataFrame, present: list[int]) -> float:
        metric, classes = self.config.search_metric, self.columns.classes

        def sums(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            for batch in batches:
                features = batch.drop(columns=[TARGET, FOLD]).to_numpy(np.float32)
                predicted = search.predict(model, features, classes, np.array(present, dtype=int))
                lost = losses(metric, batch[TARGET].to_numpy(), predicted)
                yield pd.DataFrame({"lost": [float(lost.sum())], "rows": [len(lost)]})

        found = rows.mapInPandas(sums, "lost double, rows bigint").agg(F.sum("lost"), F.sum("rows")).first()
        if found is None or not found[1]:
            raise AssertionError("every fold holds rows")
        return float(found[0] / found[1])


def _batch_of_missing(columns: Columns) -> pd.DataFrame:
    """One row of nothing, by which to see how many columns the transformer makes."""
    values: dict[str, Any] = {name: np.array([np.nan], dtype=np.float32) for name in columns.numbers}
    return pd.DataFrame(values | {name: np.array([""], dtype=object) for name in columns.categories})
