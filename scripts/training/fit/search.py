"""Candidates and trials: what may be tried, who proposes it, and what of it was best. An `engine` does the trying.

Trials see the training part only. They are child runs of the training run in MLflow, which is Optuna's storage, so a
search that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import optuna
import pandas as pd
from mlflow.optuna.storage import MlflowStorage
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

from training.config import LOWER_IS_BETTER
from training.evaluation.measurement import Trial

Parameters = dict[str, Any]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Columns:
    """What a model takes and gives: its number and category columns in order, and how many classes (0: regression).

    `encoded` are the texts of each category column that get an input of their own (all that occur, by default); the
    others are encoded alike, as unknown ones are.
    """

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    classes: int
    encoded: dict[str, list[str]] = field(default_factory=dict, kw_only=True)

    @property
    def names(self) -> tuple[str, ...]:
        return self.numbers + self.categories


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

    Trial i < len(candidates) is candidate i at its starting point (see `go_on`); the other start-up trials are random,
    seeded by their number. Where the first is the best, repeating the search gives the same model.
    """

    def __init__(self, candidates: Sequence[str], seed: int) -> None:
        super().__init__(seed=seed, constant_liar=True)
        self.candidates, self.seed = candidates, seed
        self.starts = dict(enumerate(candidates))  # by the trial's number
        self.points = {candidate: STARTING_POINTS[candidate] for candidate in candidates}  # also on other machines

    def go_on(self, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        """After an interruption: the candidates come first whose starting point none of these trials finished."""
        tried = {one.params["candidate"] for one in trials if _finished(one) and _at_start(one)}
        left = [candidate for candidate in self.candidates if candidate not in tried]
        self.starts = dict(enumerate(left, start=len(trials)))

    def sample_independent(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        if candidate := self.starts.get(trial.number):
            start = candidate if param_name == "candidate" else self.points[candidate].get(param_name)
            if start is not None and _allowed(param_distribution, start):
                return start
        if trial.number < self._n_startup_trials:
            random = optuna.samplers.RandomSampler(zlib.crc32(f"{self.seed} {trial.number} {param_name}".encode()))
            return random.sample_independent(study, trial, param_name, param_distribution)
        return super().sample_independent(study, trial, param_name, param_distribution)


def _allowed(distribution: Any, value: Any) -> bool:
    return bool(distribution._contains(distribution.to_internal_repr(value)))


def _finished(trial: optuna.trial.FrozenTrial) -> bool:
    return bool(trial.state == optuna.trial.TrialState.COMPLETE)


def _at_start(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a trial was of its candidate's starting point, as far as that was allowed."""
    start = STARTING_POINTS[trial.params["candidate"]].items()
    return all(trial.params[name] == value for name, value in start if _allowed(trial.distributions[name], value))


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


def build(parameters: Parameters, columns: Columns, seed: int, jobs: int = 1) -> Pipeline:
    """An unfitted pipeline. All that serving needs is in it, so that all of it is in the graph."""
    options = dict(parameters)
    kind = options.pop("candidate")
    classify = columns.classes > 0
    models: dict[str, tuple[type[BaseEstimator], type[BaseEstimator]]] = {
        "extra_trees": (ExtraTreesRegressor, ExtraTreesClassifier),
        "random_forest": (RandomForestRegressor, RandomForestClassifier),
        "xgboost": (XGBRegressor, XGBClassifier),
    }
    model = models[kind][classify](random_state=seed, n_jobs=jobs, **options)
    steps = []
    if columns.numbers:
        # Constant columns of nothing but gaps cannot occur: the checks refuse them.
        steps.append(("numbers", SimpleImputer(strategy="median"), list(columns.numbers)))
    if columns.categories:
        texts = [columns.encoded[name] for name in columns.categories] if columns.encoded else "auto"
        encoder = OneHotEncoder(categories=texts, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
        steps.append(("categories", encoder, list(columns.categories)))
    return Pipeline([("columns", ColumnTransformer(steps)), ("model", model)])


def predict(model: Any, features: pd.DataFrame | Array, classes: int, present: Array | None = None) -> Array:
    """(rows,) values for regression, (rows, classes) probabilities for classification.

    `present` are the label indices that the model was fitted on, all by default; the others get probability 0.
    """
    if not classes:
        return np.asarray(model.predict(features), dtype=np.float64)
    probabilities = np.zeros((len(features), classes))
    probabilities[:, np.arange(classes) if present is None else present] = model.predict_proba(features)
    return probabilities


def storage(experiment_id: str) -> MlflowStorage:
    """Optuna's storage: the study is a run of the experiment, each trial a child run."""
    return MlflowStorage(experiment_id=experiment_id, batch_flush_interval=0.2)


def direction(metric: str) -> Literal["minimize", "maximize"]:
    """Optuna's word for which way the metric improves."""
    return "minimize" if metric in LOWER_IS_BETTER else "maximize"


@dataclass(frozen=True)
class Found:
    """What a search gave: the MLflow run that its trials are children of, the best parameters, the finished trials."""

    run_id: str
    best: Parameters
    trials: tuple[Trial, ...]


def found(
    run_id: str, trials: Sequence[optuna.trial.FrozenTrial], metric: str, candidates: Sequence[str], columns: int
) -> Found:
    """What came of these trials, finished or not."""
    finished = [trial for trial in trials if _finished(trial)]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    winner = min(finished, key=lambda trial: sign * float(trial.value or 0.0))
    replayed: Any = optuna.trial.FixedTrial(winner.params)
    seen = tuple(Trial(one.number + 1, one.params["candidate"], float(one.value or 0.0)) for one in finished)
    return Found(run_id, suggest(replayed, candidates, columns), seen)
