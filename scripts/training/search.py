"""Candidates and trials: Optuna proposes, Spark's executors cross-validate, the winner is refitted.

Trials see the training part only. They are child runs of the training run in MLflow, which is Optuna's storage, so a
search that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import logging
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pandas as pd
from mlflow.optuna.storage import MlflowStorage
from mlflow.pyspark.optuna.study import MlflowSparkStudy
from pyspark.sql import SparkSession
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBClassifier, XGBRegressor

from training import dataset
from training.config import LOWER_IS_BETTER, Config
from training.evaluation import from_mean_loss, losses

Parameters = dict[str, Any]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TrainingRows:
    """What the trials fit on: features as the graph will take them, the target, and a fold number per row.

    `target` is float64 for regression and the label's index (int64) for classification.
    """

    features: pd.DataFrame
    target: Array
    fold: Array
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    classes: int


# The first trial of each candidate: values that do well on most small tables (Probst et al. 2019 for the forests).
STARTING_POINTS: dict[str, Parameters] = {
    "extra_trees": {"n_estimators": 200, "max_features": 0.5, "min_samples_leaf": 1},
    "random_forest": {"n_estimators": 200, "max_features": 0.33, "min_samples_leaf": 1},
    "xgboost": {
        "n_estimators_xgboost": 400,
        "learning_rate": 0.05,
        "max_depth": 7,
        "subsample": 0.8,
        "colsample_bytree": 0.8,
        "min_child_weight": 2.0,
    },
}


class StartingSampler(optuna.samplers.TPESampler):
    """TPE whose first trials do not depend on which executor is faster.

    Trial i < len(candidates) is candidate i at its starting point; the other start-up trials are random, seeded by
    their number. Where the first is the best, repeating the search gives the same model.
    """

    def __init__(self, candidates: Sequence[str], seed: int) -> None:
        super().__init__(seed=seed, constant_liar=True)
        self.candidates, self.seed = candidates, seed

    def sample_independent(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        if trial.number < len(self.candidates):
            candidate = self.candidates[trial.number]
            start = candidate if param_name == "candidate" else STARTING_POINTS[candidate].get(param_name)
            if start is not None and param_distribution._contains(param_distribution.to_internal_repr(start)):
                return start
        if trial.number < self._n_startup_trials:
            random = optuna.samplers.RandomSampler(zlib.crc32(f"{self.seed} {trial.number} {param_name}".encode()))
            return random.sample_independent(study, trial, param_name, param_distribution)
        return super().sample_independent(study, trial, param_name, param_distribution)


def suggest(trial: optuna.Trial, candidates: Sequence[str], columns: int) -> Parameters:
    """Parameters of one trial. Ranges around each library's defaults; trees enough for a stable mean."""
    kind = trial.suggest_categorical("candidate", candidates)
    if kind == "xgboost":
        return {
            "candidate": kind,
            "n_estimators": trial.suggest_int("n_estimators_xgboost", 100, 600, step=50),
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            "max_depth": trial.suggest_int("max_depth", 3, 10),
            "subsample": trial.suggest_float("subsample", 0.6, 1.0),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.6, 1.0),
            "min_child_weight": trial.suggest_float("min_child_weight", 1.0, 10.0),
        }
    return {
        "candidate": kind,
        "n_estimators": trial.suggest_int("n_estimators", 100, 300, step=50),
        "max_features": trial.suggest_float("max_features", min(1.0, 2 / columns), 1.0),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 4),
    }


def build(parameters: Parameters, rows: TrainingRows, seed: int, jobs: int = 1) -> Pipeline:
    """An unfitted pipeline. All that serving needs is in it, so that all of it is in the graph."""
    options = dict(parameters)
    kind = options.pop("candidate")
    classify = rows.classes > 0
    models: dict[str, tuple[type[BaseEstimator], type[BaseEstimator]]] = {
        "extra_trees": (ExtraTreesRegressor, ExtraTreesClassifier),
        "random_forest": (RandomForestRegressor, RandomForestClassifier),
        "xgboost": (XGBRegressor, XGBClassifier),
    }
    model = models[kind][classify](random_state=seed, n_jobs=jobs, **options)
    steps = []
    if rows.numbers:
        # Constant columns of nothing but gaps cannot occur: the checks refuse them.
        steps.append(("numbers", SimpleImputer(strategy="median"), list(rows.numbers)))
    if rows.categories:
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)
        steps.append(("categories", encoder, list(rows.categories)))
    return Pipeline([("columns", ColumnTransformer(steps)), ("model", model)])


def cross_validate(parameters: Parameters, rows: TrainingRows, metric: str, seed: int) -> float:
    """`metric` over the folds: each row is judged by a model that was fitted without its fold."""
    mean_losses = []
    for fold in np.unique(rows.fold):
        fit, held = rows.fold != fold, rows.fold == fold
        target, present = rows.target[fit], np.arange(rows.classes)
        if rows.classes:  # a rare label may be absent from a fold, and XGBoost wants labels without holes
            present, target = np.unique(target, return_inverse=True)
        model = build(parameters, rows, seed).fit(rows.features[fit], target)
        predicted = predict(model, rows.features[held], rows.classes, present)
        mean_losses.append(float(losses(metric, rows.target[held], predicted).mean()))
    return float(from_mean_loss(metric, float(np.mean(mean_losses))))


def predict(model: Pipeline, features: pd.DataFrame, classes: int, present: Array | None = None) -> Array:
    """(rows,) values for regression, (rows, classes) probabilities for classification.

    `present` are the label indices that the model was fitted on, all by default; the others get probability 0.
    """
    if not classes:
        return np.asarray(model.predict(features), dtype=np.float64)
    probabilities = np.zeros((len(features), classes))
    probabilities[:, np.arange(classes) if present is None else present] = model.predict_proba(features)
    return probabilities


def run(
    spark: SparkSession, experiment_id: str, study_name: str, config: Config, rows: TrainingRows, jobs: int = 2
) -> tuple[str, Parameters]:
    """Runs what is left of the configured trials on Spark's executors.

    Gives the id of the MLflow run that the trials are children of, and the best trial's parameters.
    """
    dataset.ship_code(spark)
    metric, seed = config.search_metric, config.split.seed
    candidates: list[str] = list(config.search.candidates)
    columns = rows.features.shape[1]
    objective = _objective(candidates, columns, rows, metric, seed, config.search.trials)
    storage = MlflowStorage(experiment_id=experiment_id, batch_flush_interval=0.2)
    study = MlflowSparkStudy(
        study_name,
        storage,
        sampler=StartingSampler(candidates, seed),
        direction="minimize" if metric in LOWER_IS_BETTER else "maximize",
    )
    left = config.search.trials - study.completed_trials_count
    if left > 0:
        study.optimize(objective, n_trials=left, n_jobs=min(jobs, left), timeout=config.search.timeout_s)
    finished = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    best = min(finished, key=lambda trial: sign * float(trial.value or 0.0))
    replayed: Any = optuna.trial.FixedTrial(best.params)
    return str(storage.get_study_id_from_name(study_name)), suggest(replayed, candidates, columns)


def _objective(
    candidates: Sequence[str], columns: int, rows: TrainingRows, metric: str, seed: int, trials: int
) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        parameters = suggest(trial, candidates, columns)
        value = cross_validate(parameters, rows, metric, seed)
        # MLflow's links for every trial would bury the progress, which goes to the executor's own stderr.
        print(f"trial {trial.number + 1} of {trials}: {parameters['candidate']}, {metric} {value:.4g}", file=sys.stderr)
        return value

    return objective
