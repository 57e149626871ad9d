"""promote, rollback, verify, status: what happens to a version after it was trained."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import requests
from mlflow.entities.model_registry import ModelVersion

from training import scoring
from training.config import Config
from training.errors import ConfigError, GateRefused, NothingToPromote, NotServed
from training.gate import Evidence, Verdict, judge
from training.registry import BASELINE_TAG, TEST_ROWS_FILE, Decision, Registry
from training.source import find

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]

VERIFY_SECONDS = 60.0
API_URL = "http://127.0.0.1:8000"


def promote(config: Config, strict: bool = False) -> dict[str, Any]:
    """Judges the version that this data, configuration and code gave; moves the alias or refuses, and records it.

    Raises NothingToPromote; GateRefused under `strict`.
    """
    key = config.training_key(find(config.data).digest)
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        version = registry.version_with_key(key)
        if version is None:
            raise NothingToPromote(config.name, key)
        holder = registry.holder()
        if holder and holder.version == version.version:
            log.info("nothing to do: version %s is %s already", version.version, config.serving.alias)
            return {"action": "unchanged", "version": version.version, "reasons": []}
        decision = _decided_before(registry, config, version, holder) or _decide(registry, config, version, holder)
    for reason in decision.reasons:
        log.info("%s %s", "pass:" if reason["passed"] else "FAIL:", reason["text"])
    log.info("version %s: %s", decision.version, decision.action)
    if strict and decision.action == "refused":
        raise GateRefused([reason["text"] for reason in decision.reasons if not reason["passed"]])
    return {"action": decision.action, "version": decision.version, "reasons": decision.reasons}


def _decision_key(config: Config, version: ModelVersion, holder: ModelVersion | None) -> str:
    parts = [version.version, holder.version if holder else None, config.gate.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _decided_before(
    registry: Registry, config: Config, version: ModelVersion, holder: ModelVersion | None
) -> Decision | None:
    """The same question has one answer. A promotion cut short after its entry was written is brought to its end; one
    that was rolled back since is not taken again by the same evidence."""
    decision = registry.decision(_decision_key(config, version, holder))
    if decision is None or decision.action != "promoted":
        return decision
    if registry.decisions(1) == [decision]:
        registry.point_alias(version.version)
        return decision
    text = f"version {version.version} was promoted by this evidence before and moved away since (rollback.py --to)"
    reason = {"code": "rolled_back", "passed": False, "text": text}
    return replace(decision, action="refused", reasons=[*decision.reasons, reason])


def _decide(registry: Registry, config: Config, version: ModelVersion, holder: ModelVersion | None) -> Decision:
    verdict = _judge(registry, config, version, holder)
    taken = verdict.passed or config.gate.mode == "off"
    action = "promoted" if taken else "refused"
    if config.gate.mode == "dry_run":
        action = "would_promote" if taken else "would_refuse"
    reasons = [reason.as_json() for reason in verdict.reasons]
    if config.gate.mode == "off" and not verdict.passed:
        reasons.append({"code": "gate_off", "passed": True, "text": "gate.mode is off: promoted all the same"})
    previous = holder.version if holder else None
    evidence = {**verdict.figures, "run_id": version.run_id}
    key = _decision_key(config, version, holder)
    entry = registry.append(Decision(action, version.version, previous, reasons, evidence, key))
    text = "\n".join(f"- {'pass' if reason['passed'] else 'FAIL'}: {reason['text']}" for reason in reasons)
    registry.client.update_model_version(registry.name, version.version, f"**{action}**\n\n{text}")
    registry.client.set_model_version_tag(registry.name, version.version, "gate", action)
    if action == "promoted":
        registry.point_alias(version.version)
    return entry


def _judge(registry: Registry, config: Config, version: ModelVersion, holder: ModelVersion | None) -> Verdict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        test = pd.read_parquet(registry.run_file(str(version.run_id), TEST_ROWS_FILE, folder))
        challenger = registry.model_content(version, folder)
        champion = registry.model_content(holder, folder / "champion") if holder else None
        run = registry.client.get_run(str(version.run_id))
    target = config.data.target
    labels = scoring.read_contract(challenger)["labels"]
    features = test.drop(columns=target)
    classify = config.data.task == "classification"
    actual = test[target].map({label: i for i, label in enumerate(labels)}) if classify else test[target]
    other: Array | None
    if champion is None:
        constant = np.array(json.loads(run.data.tags[BASELINE_TAG]))
        other = np.tile(constant, (len(test), 1)) if classify else np.full(len(test), constant[0])
        named = "the majority or mean predictor"
    else:
        other, named = _scored_by(champion, features, config, labels), f"version {holder.version if holder else ''}"
    ours = _scored_by(challenger, features, config, labels)
    groups = test[config.data.segment].astype(str).to_numpy() if config.data.segment else None
    return judge(config, Evidence(actual.to_numpy(), ours, other, named, groups))


def _scored_by(content: bytes, features: pd.DataFrame, config: Config, labels: list[str]) -> Array | None:
    """Predictions of a model on these rows, probabilities in the order of `labels`; None where it cannot score them."""
    contract = scoring.read_contract(content)
    columns = {feature["name"]: feature["type"] for feature in contract["features"]}
    same_kind = contract["task"] == config.data.task and contract["target"] == config.data.target
    known = all(
        name in features and (features[name].dtype == object) == (kind == "category") for name, kind in columns.items()
    )
    if not (same_kind and known):
        return None
    values, probabilities = scoring.run(content, features[list(columns)])
    if probabilities is None:
        return values
    aligned = np.zeros((len(features), len(labels)))
    for index, label in enumerate(contract["labels"]):
        if label in labels:
            aligned[:, labels.index(label)] = probabilities[:, index]
    return aligned


def rollback(config: Config, to: str | None = None) -> dict[str, Any]:
    """Moves the alias to `to`, or to the version that served before, and records it. Raises ConfigError."""
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        holder = registry.holder()
        if holder is None:
            raise ConfigError(
                f"'{config.name}' has no production version", "Train and promote one first: `make train`."
            )
        known = {version.version for version in registry.client.search_model_versions(f"name = '{config.name}'")}
        if to is None:
            moves = [entry for entry in registry.decisions() if entry.action in ("promoted", "rolled_back")]
            to = next((entry.previous for entry in moves if entry.version == holder.version), None)
        if to is None or to not in known:
            raise ConfigError(
                f"no version to go back to from version {holder.version}" if to is None else f"no version {to}",
                f"Name one with --to: {', '.join(sorted(known, key=int))}.",
            )
        if to == holder.version:
            return {"action": "unchanged", "version": to}
        reason = {"code": "rollback", "passed": True, "text": f"moved back from version {holder.version} by hand"}
        entry = Decision("rolled_back", to, holder.version, [reason], {}, f"rollback-{time.time_ns()}")
        registry.append(entry)
        registry.point_alias(to)
    return {"action": "rolled_back", "version": to, "previous": holder.version}


def status(config: Config) -> dict[str, Any]:
    """What is in production, since when, and why."""
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        holder = registry.holder()
        entries = registry.decisions(20)
    current = holder.version if holder else None
    since = next((entry for entry in entries if entry.version == current and entry.action != "refused"), None)
    return {
        "model": config.name,
        "production": current,
        "since": since.at if since else None,
        "by": since.by if since else None,
        "decisions": [{"at": e.at, "action": e.action, "version": e.version, "from": e.previous} for e in entries],
    }


def verify(config: Config) -> dict[str, Any]:
    """Asks the prediction service until it serves the alias's version. Raises NotServed after VERIFY_SECONDS."""
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        holder = registry.holder()
    if holder is None:
        return {"status": "nothing in production"}
    url = os.environ.get("API_URL", API_URL)
    start = time.monotonic()
    while True:
        served = _served(url)
        if served.get("name") == config.name and str(served.get("version")) == holder.version:
            seconds = round(time.monotonic() - start, 1)
            log.info("%s serves version %s", url, holder.version)
            return {"status": "served", "version": holder.version, "waited_s": seconds}
        if time.monotonic() - start > VERIFY_SECONDS:
            raise NotServed(
                f"{url} does not serve version {holder.version} of {config.name} after {VERIFY_SECONDS:.0f} s; "
                f"it says: {served}",
                f"See {url}/readyz for the reason; the service goes on with the model that it had.",
            )
        time.sleep(0.5)


def _served(url: str) -> dict[str, Any]:
    try:
        told = dict(requests.get(f"{url}/readyz", timeout=2).json())  # /model may ask for a key
        return dict(told["model"]) if told.get("model") else told
    except (requests.RequestException, ValueError) as error:
        return {"error": type(error).__name__}
