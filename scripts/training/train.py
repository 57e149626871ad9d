"""train, top to bottom like a recipe. `dataset.check` comes before it, `promotion` after."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.sql import SparkSession
from sklearn.pipeline import Pipeline

from training.config import Config
from training.data import prediction_log
from training.data import table as dataset
from training.data.files import Source, find
from training.data.spark import session
from training.data.table import Dataset, Rows
from training.errors import DataError
from training.evaluation import diagnostics
from training.evaluation import metrics as evaluation
from training.evaluation.diagnostics import Held
from training.fit import calibration, decision, search
from training.fit.cluster import SparkEngine
from training.fit.local import LocalEngine
from training.fit.search import Found
from training.model import contract, onnx_export, onnx_runtime
from training.tracking import recording
from training.tracking.recording import Result
from training.tracking.registry import FEEDBACK_TAG, Registry

log = logging.getLogger(__name__)

LARGE_MODEL = 100_000_000  # bytes of the file
MEMORY_PER_BYTE = 7  # in the service; measured: 220 MB of trees with 26 labels took 1.47 GB


@dataclass(frozen=True)
class Parts:
    """A checked table on its way: the training part with its engine, the held-back parts in memory."""

    table: Dataset
    labels: list[str]
    training: LocalEngine | SparkEngine
    calibration: Rows
    test: Rows


def train(config: Config) -> dict[str, Any]:
    """Trains and registers a version, unless one was already trained with this data, configuration and code.

    The data are the file, and under data.feedback the labelled predictions: new ones are new data for the same run key.
    """
    source = find(config.data)
    key = config.training_key(source.digest)
    with Registry(config.name, config.serving.alias).speaking() as registry:
        known, experiment = registry.version_with_key(key), registry.experiment(config.name)
        labelled = None
        if config.data.feedback:
            labelled = prediction_log.labelled_rows(session(f"train {config.name}"), config.name)
        told = labelled.digest if labelled else ""
        if known and known.tags.get(FEEDBACK_TAG, "") == told:
            log.info("nothing to do: version %s has run key %s", known.version, key)
            return {"status": "unchanged", "version": known.version, "run_id": known.run_id, "run_key": key}
        spark = session(f"train {config.name}")
        parts = _parts(config, spark, source, dataset.load(spark, source, config, labelled))
        log.info("search: %d trials over %s", config.search.trials, ", ".join(config.search.candidates))
        metric, name = config.search_metric, f"train-{key}{told[:8]}"
        found = search.run(parts.training, config.search, metric, config.split.seed, experiment, name)
        log.info("winner: %s", found.best)
        result = _evaluate(config, source, parts, parts.training.fit(found.best), found)
        metrics, report = result.measured.metrics, parts.table.report
        log.info("test: %s", ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
        version = recording.record(registry, config, source, report, parts.test, result, key)
    log.info("registered version %s of %s", version, config.name)
    said = {"status": "trained", "version": version, "run_id": found.run_id, "run_key": key}
    return said | {"metrics": metrics, "warnings": report["warnings"]}


def _parts(config: Config, spark: SparkSession, source: Source, table: Dataset) -> Parts:
    """The table's parts, which are enough for what is asked of them. Raises DataError."""
    labels = table.labels() if config.data.task == "classification" else []
    decision.asked_label(config.serving.threshold, labels)
    calibration_rows, test = (table.rows(part, labels, config.split.most_rows) for part in ("calibration", "test"))
    fewest, found = evaluation.fewest_rows(config.serving.coverage), len(np.unique(calibration_rows.hash))
    if not labels and found < fewest:
        raise DataError(
            f"{source.name}: an interval that holds {config.serving.coverage:.1%} of the values needs {fewest} "
            f"different rows of calibration, found {found}",
            "Give more rows, raise split.calibration, or lower serving.coverage.",
        )
    engine = SparkEngine if config.search.engine == "spark" else LocalEngine
    training = engine(spark, config.search, config.search_metric, config.split.seed, table, labels)
    return Parts(table, labels, training, calibration_rows, test)


def _evaluate(config: Config, source: Source, parts: Parts, model: Pipeline, found: Found) -> Result:
    """Calibrates on the calibration part, exports, checks the graph against the model on all test rows, measures."""
    columns, profile, seed, labels = parts.training.columns, parts.training.profile, config.split.seed, parts.labels
    test, held_rows, calibrator, width, chosen, served = parts.test, parts.calibration, None, None, None, None
    held, raw = (search.predict(model, rows.features, columns.classes) for rows in (held_rows, test))
    baseline = profile.baseline
    if labels:
        counts = profile.baseline * parts.table.report["parts"]["train"]
        shares = profile.baseline if config.search.weights == "balanced" else None
        calibrator = calibration.fit(held, held_rows.target, seed, held_rows.hash, shares)
        held, predicted = calibrator(held), calibrator(raw)
        chosen = decision.choose(config.serving.threshold, labels, held, held_rows.target, shares)
        served, baseline = chosen(predicted), evaluation.baseline_shares(counts)
    else:
        width = evaluation.half_width(held_rows.target, held, config.serving.coverage, held_rows.hash)
        predicted = raw
    graph = onnx_export.graph(model, columns, labels, calibrator, chosen)
    bare = bytes(graph.SerializeToString())
    if len(bare) > LARGE_MODEL:
        log.warning(
            "the model takes %.0f MB, and about %.1f GB in the service: for a smaller one leave the forests out of "
            "search.candidates, or give fewer labels",
            len(bare) / 1e6,
            len(bare) * MEMORY_PER_BYTE / 1e9,
        )
    parity = onnx_export.check_parity(bare, test.features, predicted, profile.spread)
    groups = evaluation.group_names(test.frame[config.data.segment]) if config.data.segment else None
    rows = Held(test.features, test.target, groups, test.hash)
    score = onnx_runtime.predictor(bare)
    measured = diagnostics.measure(config.gate_metric, rows, (raw, predicted), width, baseline, score, seed, served)
    interval = None if width is None else contract.Interval(config.serving.coverage, width)
    threshold = chosen.threshold if chosen else None
    outcome = contract.Outcome(
        labels, profile, bare, score(held_rows.features), test.features, measured, calibrator, interval, threshold
    )
    terms = contract.build(config.name, found.run_id, source, parts.table, config.data, outcome).as_json()
    return Result(found, onnx_export.attach(graph, terms), terms, parity, baseline.tolist(), measured)
