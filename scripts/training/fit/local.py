"""The engine for data of one machine: the training part is collected once, and each trial is a task on an executor."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import optuna
import pandas as pd
from mlflow.pyspark.optuna.study import MlflowSparkStudy
from pyspark.sql import SparkSession
from sklearn.pipeline import Pipeline

from training.config import Config
from training.data.table import Dataset
from training.evaluation.metrics import from_mean_loss, losses
from training.fit import profile, search
from training.fit.profile import Profile
from training.fit.search import Columns, Found, Parameters

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TrainingRows(Columns):
    """What the trials fit on: features as the graph will take them, the target, and a fold number per row.

    `target` is float64 for regression and the label's index (int64) for classification.
    """

    features: pd.DataFrame
    target: Array
    fold: Array


class LocalEngine:
    """Trials side by side, each in one process. See `engine.Engine`."""

    def __init__(self, spark: SparkSession, config: Config, table: Dataset, labels: Sequence[str]) -> None:
        self.spark, self.config = spark, config
        train = table.rows("train", labels)
        # Repeated measurements share a hash, so no fold is judged by a row that another fold was fitted on.
        fold = (train.hash * 1e9).astype(np.int64) % config.search.folds
        self.columns = Columns(table.numbers, table.categories, len(labels), encoded=table.encoded)
        self.rows = TrainingRows(
            table.numbers,
            table.categories,
            len(labels),
            train.features,
            train.target,
            fold,
            encoded=table.encoded,
        )

    @cached_property
    def profile(self) -> Profile:
        return profile.of_frame(self.rows.features, self.rows.target, self.columns.classes)

    def search(self, experiment_id: str, study_name: str) -> Found:
        metric, seed, trials = self.config.search_metric, self.config.split.seed, self.config.search.trials
        candidates = list(self.config.search.candidates)
        storage = search.storage(experiment_id)
        sampler = search.StartingSampler(candidates, seed)
        study = MlflowSparkStudy(study_name, storage, sampler=sampler, direction=search.direction(metric))
        sampler.go_on(study.trials)
        left = trials - study.completed_trials_count
        if left > 0:
            jobs = min(self.spark.sparkContext.defaultParallelism, left)
            objective = _objective(candidates, self.rows, metric, seed, trials)
            study.optimize(objective, n_trials=left, n_jobs=jobs, timeout=self.config.search.timeout_s)
        run_id = str(storage.get_study_id_from_name(study_name))
        return search.found(run_id, study.trials, metric, candidates, len(self.columns.names))

    def fit(self, parameters: Parameters) -> Pipeline:
        model = search.build(parameters, self.columns, self.config.split.seed, jobs=-1)
        return model.fit(self.rows.features, self.rows.target)


def cross_validate(parameters: Parameters, rows: TrainingRows, metric: str, seed: int) -> float:
    """`metric` over the folds: each row is judged by a model that was fitted without its fold."""
    mean_losses = []
    for fold in np.unique(rows.fold):
        fit, held = rows.fold != fold, rows.fold == fold
        target, present = rows.target[fit], np.arange(rows.classes)
        if rows.classes:  # a rare label may be absent from a fold, and XGBoost wants labels without holes
            present, target = np.unique(target, return_inverse=True)
        model = search.build(parameters, rows, seed).fit(rows.features[fit], target)
        predicted = search.predict(model, rows.features[held], rows.classes, present)
        mean_losses.append(float(losses(metric, rows.target[held], predicted).mean()))
    return float(from_mean_loss(metric, float(np.mean(mean_losses))))


def _objective(
    candidates: Sequence[str], rows: TrainingRows, metric: str, seed: int, trials: int
) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        parameters = search.suggest(trial, candidates, len(rows.names))
        value = cross_validate(parameters, rows, metric, seed)
        # MLflow's links for every trial would bury the progress, which goes to the executor's own stderr.
        print(f"trial {trial.number + 1} of {trials}: {parameters['candidate']}, {metric} {value:.4g}", file=sys.stderr)
        return value

    return objective
