"""train, top to bottom like a recipe. `dataset.check` comes before it, `promotion` after."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from training.config import Config
from training.data import feedback
from training.data import table as dataset
from training.data.files import Source, find
from training.data.spark import session
from training.data.table import Dataset, Rows
from training.errors import DataError
from training.evaluation import measurement
from training.evaluation import metrics as evaluation
from training.evaluation.measurement import Held
from training.fit import calibration, engine, search
from training.fit.engine import Engine
from training.fit.search import Found
from training.model import contract, onnx_export, onnx_runtime
from training.tracking import recording
from training.tracking.recording import Result
from training.tracking.registry import FEEDBACK_TAG, Registry

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
    """Trains and registers a version, unless one was already trained with this data, configuration and code.

    The data are the file, and under data.feedback the labelled predictions: new ones are new data for the same run key.
    """
    source = find(config.data)
    key = config.training_key(source.digest)
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        known = registry.version_with_key(key)
        experiment = registry.experiment(config.name)
    labelled = feedback.read(session(f"train {config.name}"), config) if config.data.feedback else None
    told = labelled.digest if labelled else ""
    if known and known.tags.get(FEEDBACK_TAG, "") == told:
        log.info("nothing to do: version %s has run key %s", known.version, key)
        return {"status": "unchanged", "version": known.version, "run_id": known.run_id, "run_key": key}
    spark = session(f"train {config.name}")
    table = dataset.load(spark, source, config, labelled)
    labels = table.labels() if config.data.task == "classification" else []
    held = {part: table.rows(part, labels, config.split.most_rows) for part in ("calibration", "test")}
    fewest = evaluation.fewest_rows(config.serving.coverage)
    if not labels and len(held["calibration"].target) < fewest:
        raise DataError(
            f"{source.name}: an interval that holds {config.serving.coverage:.1%} of the values needs {fewest} rows of "
            f"calibration, found {len(held['calibration'].target)}",
            "Give more rows, raise split.calibration, or lower serving.coverage.",
        )
    parts = Parts(table, labels, engine.start(spark, config, table, labels), **held)
    log.info("search: %d trials over %s", config.search.trials, ", ".join(config.search.candidates))
    with registry.speaking():
        found = parts.training.search(experiment, f"train-{key}{told[:8]}")
    log.info("winner: %s", found.best)
    model = parts.training.fit(found.best)
    result = _evaluate(config, source, parts, model, found)
    metrics = result.measured.metrics
    log.info("test: %s", ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    with registry.speaking():
        version = recording.record(registry, config, source, table, parts.test.frame, result, key)
    log.info("registered version %s of %s", version, config.name)
    return {
        "status": "trained",
        "version": version,
        "run_id": found.run_id,
        "run_key": key,
        "metrics": metrics,
        "warnings": table.report["warnings"],
    }


def _evaluate(config: Config, source: Source, parts: Parts, model: Pipeline, found: Found) -> Result:
    """Calibrates on the calibration part, exports, checks the graph against the model on all test rows, measures."""
    columns, profile, seed, labels = parts.training.columns, parts.training.profile, config.split.seed, parts.labels
    test, frame, calibrator, width = parts.test.features, parts.test.frame, None, None
    held, raw = (search.predict(model, rows.features, columns.classes) for rows in (parts.calibration, parts.test))
    if labels:
        calibrator = calibration.fit(held, parts.calibration.target, seed)
        held, predicted = calibrator(held), calibrator(raw)
    else:
        width, predicted = evaluation.half_width(parts.calibration.target, held, config.serving.coverage), raw
    graph = onnx_export.graph(model, columns, labels, calibrator)
    bare = bytes(graph.SerializeToString())
    parity = onnx_export.check_parity(bare, test, predicted, profile.spread)
    groups = frame[config.data.segment].astype(str).to_numpy() if config.data.segment else None
    rows = Held(test, parts.test.target, groups)
    score = onnx_runtime.predictor(bare)
    measured = measurement.measure(config.gate_metric, rows, (raw, predicted), width, profile.baseline, score, seed)
    interval = None if width is None else contract.Interval(config.serving.coverage, width)
    outcome = contract.Outcome(
        labels, profile, bare, score(parts.calibration.features), test, measured, calibrator, interval
    )
    terms = contract.build(config.name, found.run_id, source, parts.table, config.data, outcome).as_json()
    return Result(found, onnx_export.attach(graph, terms), terms, parity, profile.baseline.tolist(), measured)
