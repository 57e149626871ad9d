"""Candidates and trials: what may be tried, what Optuna proposes, and which was the best. An engine does the trying:
`local` in memory, or `cluster` on Spark's executors.

Trials see the training part only. They are child runs of the training run in MLflow, from which a search that was
interrupted goes on where it stopped.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import optuna
import pandas as pd
from mlflow.entities import Param
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.class_weight import compute_sample_weight
from xgboost import XGBClassifier, XGBRegressor

from mlflow import MlflowClient
from training.config import LOWER_IS_BETTER, Search
from training.evaluation.diagnostics import Trial
from training.evaluation.metrics import OF_CHOICE, Array
from training.fit.calibration import unbalanced

log = logging.getLogger(__name__)
PARAMETERS_TAG = "search.parameters"  # of a trial's run
Parameters = dict[str, Any]


MODELS: dict[str, tuple[type[BaseEstimator], type[BaseEstimator]]] = {  # of regression, of classification
    "extra_trees": (ExtraTreesRegressor, ExtraTreesClassifier),
    "random_forest": (RandomForestRegressor, RandomForestClassifier),
    "xgboost": (XGBRegressor, XGBClassifier),
}


@dataclass(frozen=True)
class Columns:
    """What a model takes and gives: its number and category columns in order, and how many classes (0: regression).

    `encoded` are the texts of each category column that get an input of their own (all that occur, by default); the
    others are encoded alike, as unknown ones are.
    """

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    classes: int
    encoded: dict[str, list[str]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return self.numbers + self.categories


class Engine(Protocol):
    """The training part, wherever its rows are: the metric over its folds, for as many trials at a time."""

    @property
    def columns(self) -> Columns: ...

    @property
    def side_by_side(self) -> int: ...

    def cross_validate(self, parameters: Parameters) -> float: ...


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

# A forest's leaves, of which one that holds single rows has as many as trees times rows: about 100 MB of nodes.
MOST_LEAVES = 3_000_000


def starting_point(candidate: str, columns: int) -> Parameters:
    """The parameters of a candidate's first trial, by Optuna's names, as far as so many columns allow."""
    point = {"candidate": candidate, **STARTING_POINTS[candidate]}
    if "max_features" in point:
        point["max_features"] = max(point["max_features"], _least_share(columns))
    return point


def _least_share(columns: int) -> float:
    """Of the columns that a tree's split may choose from: two of them."""
    return min(1.0, 2 / columns)


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
        "max_features": trial.suggest_float("max_features", _least_share(columns), 1.0),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 4),
    }


def bounded(parameters: Parameters, rows: int) -> Parameters:
    """The parameters, with leaves so large that a forest on so many rows has at most about MOST_LEAVES."""
    if parameters["candidate"] == "xgboost":
        return parameters
    fewest = -(-parameters["n_estimators"] * rows // MOST_LEAVES)
    return parameters | {"min_samples_leaf": max(parameters["min_samples_leaf"], fewest)}


def build(parameters: Parameters, columns: Columns, seed: int, jobs: int = 1) -> Pipeline:
    """An unfitted pipeline. All that serving needs is in it, so that all of it is in the graph."""
    options = {name: value for name, value in parameters.items() if name != "candidate"}
    model = MODELS[parameters["candidate"]][columns.classes > 0](random_state=seed, n_jobs=jobs, **options)
    steps = []
    if columns.numbers:
        # Constant columns of nothing but gaps cannot occur: the checks refuse them.
        steps.append(("numbers", SimpleImputer(strategy="median"), list(columns.numbers)))
    if columns.categories:
        texts = [columns.encoded[name] for name in columns.categories] if columns.encoded else "auto"
        encoder = OneHotEncoder(categories=texts, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
        steps.append(("categories", encoder, list(columns.categories)))
    return Pipeline([("columns", ColumnTransformer(steps)), ("model", model)])


def fit(pipeline: Pipeline, features: pd.DataFrame, target: Array, weights: str) -> Pipeline:
    """Fits the pipeline; with `weights` balanced, each label's rows weigh the same in all (King and Zeng 2001)."""
    if weights == "none":
        return pipeline.fit(features, target)
    return pipeline.fit(features, target, model__sample_weight=compute_sample_weight("balanced", target))


def predict(model: Any, features: pd.DataFrame | Array, classes: int) -> Array:
    """(rows,) values for regression, (rows, classes) probabilities for classification."""
    return np.asarray(model.predict_proba(features) if classes else model.predict(features), dtype=np.float64)


def predict_fold(model: Any, features: pd.DataFrame | Array, counts: Array, weights: str, metric: str) -> Array:
    """As `predict`, by a model fitted on the other folds, as `metric` judges it where it was fitted with `weights`.

    `counts` (classes,) are the rows of each label there, (0,) for regression. Labels without rows get probability 0;
    where all rows have one label, there is no model.
    """
    if not len(counts):
        return predict(model, features, 0)
    probabilities = np.zeros((len(features), len(counts)))
    probabilities[:, counts > 0] = 1.0 if model is None else model.predict_proba(features)
    return unbalanced(probabilities, counts) if weights == "balanced" and metric not in OF_CHOICE else probabilities


@dataclass(frozen=True)
class Found:
    """What a search gave: the MLflow run that its trials are children of, the best parameters, the finished trials."""

    run_id: str
    best: Parameters
    trials: tuple[Trial, ...]


def run(engine: Engine, settings: Search, metric: str, seed: int, experiment_id: str, name: str) -> Found:
    """Runs what is left of the configured trials, `engine.side_by_side` at a time.

    First comes each candidate at its starting point, then what TPE proposes. A trial is proposed when the oldest one at
    work is finished, whichever is quicker, so that as many executors give the same search again.
    """
    client, columns = MlflowClient(), len(engine.columns.names)
    known = client.search_runs([experiment_id], f"tags.`mlflow.runName` = '{name}'", max_results=1)
    run_id = str((known[0] if known else client.create_run(experiment_id, run_name=name)).info.run_id)
    before = _trials_of(experiment_id, run_id, metric)
    sampler = optuna.samplers.TPESampler(seed=seed + len(before), constant_liar=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # each trial is logged here, by its number in the search
    study = optuna.create_study(sampler=sampler, direction="minimize" if metric in LOWER_IS_BETTER else "maximize")
    finished: list[Trial] = []
    for params, value in before:
        if value is None:  # an accident cut it off
            study.enqueue_trial(params)
            continue
        replayed: Any = optuna.trial.FixedTrial(params)
        suggest(replayed, settings.candidates, columns)
        study.add_trial(optuna.trial.create_trial(params=params, distributions=replayed.distributions, value=value))
        finished.append(Trial(len(finished) + 1, params["candidate"], value))
    for candidate in settings.candidates[len(before) :]:
        study.enqueue_trial(starting_point(candidate, columns))
    last_start = time.monotonic() + settings.timeout_s
    at_work: deque[tuple[optuna.Trial, str, Future[float]]] = deque()
    with ThreadPoolExecutor(engine.side_by_side) as pool:
        while True:
            left = settings.trials - len(finished)
            while len(at_work) < min(engine.side_by_side, left) and time.monotonic() < last_start:
                proposed = study.ask()
                parameters = suggest(proposed, settings.candidates, columns)
                child = _begin(experiment_id, run_id, proposed.params)
                at_work.append((proposed, child, pool.submit(engine.cross_validate, parameters)))
            if not at_work:
                break
            proposed, child, future = at_work.popleft()
            value = future.result()
            study.tell(proposed, value)
            client.log_metric(child, metric, value)
            client.set_terminated(child)
            number, kind = len(finished) + 1, proposed.params["candidate"]
            finished.append(Trial(number, kind, value))
            log.info("trial %d of %d: %s, %s %.4g", number, settings.trials, kind, metric, value)
    best: Any = optuna.trial.FixedTrial(study.best_params)
    return Found(run_id, suggest(best, settings.candidates, columns), tuple(finished))


def _trials_of(experiment_id: str, run_id: str, metric: str) -> list[tuple[Parameters, float | None]]:
    """The trials of an earlier attempt, the oldest first: parameters by Optuna's names, and the metric. Those that an
    accident cut off are ended, and have None."""
    client, found = MlflowClient(), []
    query = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}' and attributes.status != 'FAILED'"
    for run in client.search_runs([experiment_id], query, order_by=["attributes.start_time ASC"], max_results=10_000):
        value = run.data.metrics.get(metric) if run.info.status == "FINISHED" else None
        if value is None:
            client.set_terminated(run.info.run_id, "FAILED")
        found.append((json.loads(run.data.tags[PARAMETERS_TAG]), value))
    return found


def _begin(experiment_id: str, run_id: str, parameters: Parameters) -> str:
    tags = {MLFLOW_PARENT_RUN_ID: run_id, PARAMETERS_TAG: json.dumps(parameters)}
    client = MlflowClient()
    child = str(client.create_run(experiment_id, tags=tags, run_name=parameters["candidate"]).info.run_id)
    client.log_batch(child, params=[Param(name, str(value)) for name, value in parameters.items()])
    return child
