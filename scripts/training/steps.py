"""train, top to bottom like a recipe. `dataset.check` comes before it, `promotion` after."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from training import contract, dataset, evaluation, export, recording, search
from training.config import Config, code_version
from training.dataset import Dataset
from training.errors import DataError
from training.registry import Registry
from training.search import TrainingRows
from training.source import Source, find

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The three parts of a table, with the target as numbers (label indices for classification)."""

    train: TrainingRows
    calibration: tuple[pd.DataFrame, Array]
    test: tuple[pd.DataFrame, Array]
    test_rows: pd.DataFrame
    labels: list[str]


def train(config: Config) -> dict[str, Any]:
    """Trains and registers a version, unless one was already trained with this data, configuration and code."""
    source = find(config.data)
    key = config.training_key(source.digest)
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        known = registry.version_with_key(key)
        experiment = registry.experiment(config.name)
    if known:
        log.info("nothing to do: version %s has run key %s", known.version, key)
        return {"status": "unchanged", "version": known.version, "run_id": known.run_id, "run_key": key}
    spark = dataset.session(f"train {config.name}")
    table = dataset.load(spark, source, config)
    parts = _parts(config, table)
    rows = parts.train
    log.info("search: %d trials over %s", config.search.trials, ", ".join(config.search.candidates))
    with registry.speaking():
        run_id, best = search.run(
            spark, experiment, f"train-{key}", config, rows, spark.sparkContext.defaultParallelism
        )
    log.info("winner: %s", best)
    model = search.build(best, rows, config.split.seed, jobs=-1).fit(rows.features, rows.target)
    result = _evaluate(config, source, table, parts, model, run_id)
    log.info("test: %s", ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items()))
    with registry.speaking():
        version = recording.record(registry, config, source, table, parts.test_rows, result, best, key)
    log.info("registered version %s of %s", version, config.name)
    return {"status": "trained", "version": version, "run_id": run_id, "run_key": key, "metrics": result.metrics}


def _parts(config: Config, table: Dataset) -> Parts:
    names, target, classify = list(table.features), config.data.target, config.data.task == "classification"
    frames = {part: table.part(part) for part in dataset.PARTS}
    for part, frame in frames.items():
        if frame.empty:
            raise DataError(f"the {part} part is empty", "Give more rows, or a larger share in split.")
    labels = sorted(frames["train"][target].unique()) if classify else []
    if classify and len(labels) < 2:
        raise DataError(f"column '{target}': expected at least two labels, found {labels}", "Check data.target.")
    index = {label: position for position, label in enumerate(labels)}
    encoded: dict[str, tuple[pd.DataFrame, Array]] = {}
    for part, frame in frames.items():
        if classify and not (known := frame[target].isin(labels)).all():
            log.warning("%d rows of %s have a label that training never saw; set aside", (~known).sum(), part)
            frames[part] = frame[known].reset_index(drop=True)
        column = frames[part][target]
        values = column.map(index).to_numpy(np.int64) if classify else column.to_numpy(np.float64)
        encoded[part] = (frames[part][names], values)
    # Repeated measurements share a hash, so no fold is judged by a row that another fold was fitted on.
    fold = (frames["train"]["__hash"].to_numpy() * 1e9).astype(np.int64) % config.search.folds
    rows = TrainingRows(*encoded["train"], fold, table.numbers, table.categories, len(labels))
    return Parts(rows, encoded["calibration"], encoded["test"], frames["test"][[*names, target]], labels)


@dataclass(frozen=True)
class Result:
    """A fitted model, its checked graph with the contract, and what is known of it."""

    run_id: str
    content: bytes
    contract: dict[str, Any]
    metrics: dict[str, float]
    parity: float
    baseline: list[float]
    actual: Array
    predicted: Array
    importance: Array


def _evaluate(config: Config, source: Source, table: Dataset, parts: Parts, model: Pipeline, run_id: str) -> Result:
    """Exports the model, checks the graph against it on all test rows, and measures it through the graph."""
    rows, (test, actual) = parts.train, parts.test
    spread = 1.0 if parts.labels else float(rows.target.std()) or 1.0
    graph = export.graph(model, rows, parts.labels)
    bare = bytes(graph.SerializeToString())
    parity = export.check_parity(bare, model, test, rows, spread)
    predicted = search.predict(model, test, rows.classes)
    metrics = evaluation.summary(config.data.task, actual, predicted)
    task = config.data.task
    baseline = evaluation.baseline(task, rows.target, len(actual), rows.classes)
    metrics[f"baseline_{config.gate_metric}"] = evaluation.score(config.gate_metric, actual, baseline)
    held_features, held_actual = parts.calibration
    held = search.predict(model, held_features, rows.classes)
    interval = None
    if task == "regression":
        width = evaluation.half_width(held_actual, held, config.serving.coverage)
        interval = {"coverage": config.serving.coverage, "half_width": width}
        metrics["interval_coverage"] = float((np.abs(actual - predicted) <= width).mean())
    terms = {
        "version": contract.VERSION,
        "name": config.name,
        "task": task,
        "target": config.data.target,
        "labels": parts.labels,
        "features": contract.features(config, table, rows.features),
        "prediction_histogram": contract.histogram(held if task == "regression" else held.max(axis=1)),
        "interval": interval,
        "golden": contract.golden(bare, test, list(test.columns), spread),
        "metrics": metrics,
        "data": {
            "source": source.files[0].name,
            "digest": f"sha256:{source.digest}",
            "rows": table.report["rows_used"],
            "synthetic": source.synthetic,
        },
        "run_id": run_id,
        "trained_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "code_version": code_version(),
    }
    shown = baseline[:1] if task == "regression" else baseline[0]
    weights = evaluation.permutation_importance(
        config.gate_metric, actual, test, lambda frame: search.predict(model, frame, rows.classes), config.split.seed
    )
    content = export.attach(graph, terms)
    return Result(run_id, content, terms, metrics, parity, shown.tolist(), actual, predicted, weights)
