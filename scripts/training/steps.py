"""train, top to bottom like a recipe. `dataset.check` comes before it, `promotion` after."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from training import contract, dataset, engine, evaluation, export, recording, search
from training.config import Config, code_version
from training.dataset import Dataset, Rows
from training.engine import Engine
from training.registry import Registry
from training.source import Source, find

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Parts:
    """A checked table on its way: the training part with its engine, the held-back parts in memory."""

    table: Dataset
    labels: list[str]
    training: Engine
    calibration: Rows
    test: Rows


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
    labels = table.labels() if config.data.task == "classification" else []
    held = {part: table.rows(part, labels, config.split.most_rows) for part in ("calibration", "test")}
    parts = Parts(table, labels, engine.start(spark, config, table, labels), **held)
    log.info("search: %d trials over %s", config.search.trials, ", ".join(config.search.candidates))
    with registry.speaking():
        run_id, best = parts.training.search(experiment, f"train-{key}")
    log.info("winner: %s", best)
    model = parts.training.fit(best)
    result = _evaluate(config, source, parts, model, run_id)
    log.info("test: %s", ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items()))
    with registry.speaking():
        version = recording.record(registry, config, source, table, parts.test.frame, result, best, key)
    log.info("registered version %s of %s", version, config.name)
    return {"status": "trained", "version": version, "run_id": run_id, "run_key": key, "metrics": result.metrics}


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


def _evaluate(config: Config, source: Source, parts: Parts, model: Pipeline, run_id: str) -> Result:
    """Exports the model, checks the graph against it on all test rows, and measures it through the graph."""
    columns, profile = parts.training.columns, parts.training.profile
    test, actual, spread = parts.test.features, parts.test.target, profile.spread
    graph = export.graph(model, columns, parts.labels)
    bare = bytes(graph.SerializeToString())
    parity = export.check_parity(bare, model, test, columns, spread)
    predicted = search.predict(model, test, columns.classes)
    metrics = evaluation.summary(config.data.task, actual, predicted)
    task = config.data.task
    baseline = evaluation.baseline(profile.baseline, len(actual))
    metrics[f"baseline_{config.gate_metric}"] = evaluation.score(config.gate_metric, actual, baseline)
    held = search.predict(model, parts.calibration.features, columns.classes)
    interval = None
    if task == "regression":
        width = evaluation.half_width(parts.calibration.target, held, config.serving.coverage)
        interval = {"coverage": config.serving.coverage, "half_width": width}
        metrics["interval_coverage"] = float((np.abs(actual - predicted) <= width).mean())
    terms = {
        "version": contract.VERSION,
        "name": config.name,
        "task": task,
        "target": config.data.target,
        "labels": parts.labels,
        "features": contract.features(config, parts.table, profile),
        "prediction_histogram": contract.histogram(held if task == "regression" else held.max(axis=1)),
        "interval": interval,
        "golden": contract.golden(bare, test, list(test.columns), spread),
        "metrics": metrics,
        "data": {
            "source": source.files[0].name,
            "digest": f"sha256:{source.digest}",
            "rows": parts.table.report["rows_used"],
            "synthetic": source.synthetic,
        },
        "run_id": run_id,
        "trained_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "code_version": code_version(),
    }
    weights = evaluation.permutation_importance(
        config.gate_metric, actual, test, lambda frame: search.predict(model, frame, columns.classes), config.split.seed
    )
    content = export.attach(graph, terms)
    return Result(run_id, content, terms, metrics, parity, profile.baseline.tolist(), actual, predicted, weights)
