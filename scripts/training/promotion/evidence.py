"""What the gate judges by: the challenger's test rows, scored by both models as they are registered."""

import json
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from training.config import Config
from training.errors import FileGone, WrongModel
from training.evaluation import metrics
from training.model import onnx_runtime
from training.model.onnx_runtime import model_columns
from training.promotion.gate import Array, Evidence
from training.reason import Reason
from training.tracking.registry import BASELINE_TAG, REPORT_FILE, TEST_ROWS_FILE, Registry

HASH = "__hash"  # of a stored row: equal rows have the same
SPLIT_SETTINGS = ("split_seed", "split_test")  # parameters of every training run


def gather(registry: Registry, config: Config, version: ModelVersion, holder: ModelVersion | None) -> Evidence:
    """Both models on the test rows of `version`'s run. The champion of a first version is the baseline predictor.

    Raises WrongModel where the challenger's file or rows are not those of its training.
    """
    run = registry.run_of(version)
    test = pd.read_parquet(BytesIO(registry.run_file(version, TEST_ROWS_FILE)))
    report = json.loads(registry.run_file(version, REPORT_FILE))
    hashes = test.pop(HASH).to_numpy() if HASH in test else None
    challenger = registry.verified_content(version)
    contract = onnx_runtime.read_contract(challenger)
    labels, target, segment = contract["labels"], config.data.target, config.data.segment
    features = test.drop(columns=target)
    actual = test[target].map({label: index for index, label in enumerate(labels)}) if labels else test[target]
    findings = [Reason("leak", True, text) for text in report.get("leaks", ())]
    champion: Array | None = None
    champion_served = None
    if holder is None:
        name = "the majority or mean predictor"
        champion = metrics.baseline(np.array(json.loads(run.data.tags[BASELINE_TAG])), len(test))
        champion_served = champion.argmax(axis=1) if labels else None
    else:
        name = f"version {holder.version}"
        try:
            content = registry.verified_content(holder)
        except WrongModel as error:  # a champion whose file is not the one that was signed can be replaced
            name = f"the champion ({error.message})"
        else:
            before = onnx_runtime.read_contract(content)
            champion, champion_served = _scored(content, before, features, config, labels)
            others = _columns(before) ^ _columns(contract)
            if seen := _rows_seen(name, _settings(registry, holder), run.data.params, others):
                findings.append(Reason("champion_saw_rows", False, seen))
            # The synthetic sample stands in for a lost file: it says nothing of the champion.
            if contract["data"]["synthetic"] and not before["data"]["synthetic"]:
                text = f"the test rows are the synthetic sample, and {name} was trained on real data"
                findings.append(Reason("synthetic_data", False, f"{text}: restore data.source"))
    scored, served = _scored(challenger, contract, features, config, labels)
    truth, groups = actual.to_numpy(np.float64), metrics.group_names(test[segment]) if segment in test else None
    return Evidence(truth, scored, champion, name, groups, hashes, (champion_served, served), tuple(findings))


def _scored(
    content: bytes, contract: dict[str, Any], features: pd.DataFrame, config: Config, labels: list[str]
) -> tuple[Array | None, Array | None]:
    """Predictions of a model on these rows, None where it cannot score them, and the labels that it serves.

    Probabilities (rows, labels) are in the order of `labels`. The likeliest of a model's other labels comes last, if it
    has any: choosing that one is never right.
    """
    columns = model_columns(contract)
    same_kind = contract["task"] == config.data.task and contract["target"] == config.data.target
    known = all(name in features and (features[name].dtype == object) == text for name, text in columns.items())
    if not (same_kind and known):
        return None, None
    values, probabilities = onnx_runtime.run(content, features[list(columns)])
    if probabilities is None:
        return values, None
    aligned = np.zeros((len(features), len(labels) + 1))
    for label, column in zip(contract["labels"], probabilities.T, strict=True):
        place = labels.index(label) if label in labels else -1
        aligned[:, place] = np.maximum(aligned[:, place], column)
    index = {label: place for place, label in enumerate(labels)}
    served = np.array([index.get(value, len(labels)) for value in values])
    return aligned if set(contract["labels"]) - set(labels) else aligned[:, :-1], served


def _settings(registry: Registry, version: ModelVersion) -> dict[str, str]:
    """The parameters of the version's run; none where that was deleted."""
    try:
        return dict(registry.run_of(version).data.params)
    except FileGone:
        return {}


def _rows_seen(champion: str, before: dict[str, str], now: dict[str, str], others: set[tuple[str, str]]) -> str:
    """How the champion may have been trained on some of the test rows, from each run's parameters and the features that
    only one of both contracts has.

    A row's side follows from a hash of the seed and of every feature, or of its group, or from its time. The same way,
    seed and features with no larger test part give only rows that the champion was not trained on; nothing else does.
    """
    if missing := [name for name in SPLIT_SETTINGS if name not in before or name not in now]:
        names = ", ".join(missing)
        return f"how {champion} was split is not known ({names}): it may have been trained on the test rows"
    changes = []
    ways = [(one.get("split_by", "hash"), one.get("split_column", "None")) for one in (before, now)]
    if ways[0] != ways[1]:
        by_before, by_now = (by if column == "None" else f"{by} {column}" for by, column in ways)
        changes.append(f"by {by_before} -> by {by_now}")
    if before["split_seed"] != now["split_seed"]:
        changes.append(f"seed {before['split_seed']} -> {now['split_seed']}")
    if float(before["split_test"]) < float(now["split_test"]):
        changes.append(f"test share {before['split_test']} -> {now['split_test']}")
    if others:
        changes.append(f"other features ({', '.join(sorted({name for name, _ in others}))})")
    if not changes:
        return ""
    return f"{champion} was split differently ({'; '.join(changes)}): it may have been trained on some of the test rows"


def _columns(contract: dict[str, Any]) -> set[tuple[str, str]]:
    return {(feature["name"], feature["type"]) for feature in contract["features"]}
