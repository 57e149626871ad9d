"""promote and rollback: which version serves, decided by the gate or by a person, and written down."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from mlflow.entities.model_registry import ModelVersion

from training.config import Config
from training.data.files import find
from training.errors import ConfigError, GateRefused, NothingToPromote
from training.promotion import alias, evidence, history, version_page
from training.promotion.gate import Verdict, judge
from training.promotion.history import Course
from training.reason import Reason
from training.tracking.ledger import Entry, Ledger
from training.tracking.registry import Registry

log = logging.getLogger(__name__)


def promote(config: Config, strict: bool = False) -> dict[str, Any]:
    """Judges the version that this data, configuration and code gave; moves the alias or refuses, and records it.

    The same question has one answer: as long as the alias has not moved, a repetition gives the decision of before.
    Raises NothingToPromote, AliasMoved; GateRefused under `strict`.
    """
    key = config.training_key(find(config.data).digest)
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        version = registry.version_with_key(key)
        if version is None:
            raise NothingToPromote(config.name, key)
        ledger = Ledger(registry)
        alias.settle(registry, ledger)
        holder = registry.holder()
        entries = ledger.entries()
        course = history.course(entries)
        if holder and holder.version == version.version:
            if course.last and course.last.action == "promoted":  # its page is missing where a kill came before
                _write_page(registry, version, course.last)
            log.info("nothing to do: version %s is %s already", version.version, config.serving.alias)
            return {"action": "unchanged", "version": version.version, "reasons": []}
        question = _question(config, version, course)
        entry = next((one for one in entries if one.key == question), None)
        if entry is None:
            entry = _decide(registry, ledger, config, version, holder, course, question)
        _write_page(registry, version, entry)
    for reason in entry.reasons:
        log.info("%s %s", "pass:" if reason.passed else "FAIL:", reason.text)
    log.info("version %s: %s", entry.version, entry.action)
    if strict and entry.action == "refused":
        raise GateRefused([reason.text for reason in entry.reasons if not reason.passed])
    return {
        "action": entry.action,
        "version": entry.version,
        "reasons": [reason.as_json() for reason in entry.reasons],
    }


def _question(config: Config, version: ModelVersion, course: Course) -> str:
    """Names what is to be decided: this version, by these rules, since the alias last moved."""
    parts = [version.version, config.serving.alias, course.last and course.last.id, config.gate.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _decide(
    registry: Registry,
    ledger: Ledger,
    config: Config,
    version: ModelVersion,
    holder: ModelVersion | None,
    course: Course,
    question: str,
) -> Entry:
    mode, left = config.gate.mode, course.left.get(version.version)
    if left:
        verdict, taken = Verdict(False, (_left_before(version, left),)), False
    else:
        verdict = judge(config, evidence.gather(registry, config, version, holder))
        taken = verdict.passed or mode == "off"
    reasons = verdict.reasons
    if taken and not verdict.passed:
        reasons = (*reasons, Reason("gate_off", True, "gate.mode is off: promoted all the same"))
    actions = ("would_promote", "would_refuse") if mode == "dry_run" else ("promoted", "refused")
    run = registry.client.get_run(str(version.run_id))
    entry = Entry(
        action=actions[0] if taken else actions[1],
        version=version.version,
        previous=holder.version if holder else None,
        reasons=reasons,
        figures=verdict.figures,
        key=question,
        run_id=str(version.run_id),
        data_digest=run.data.tags.get("pipeline.data_digest", ""),
        code_version=run.data.tags.get("pipeline.code_version", ""),
    )
    return alias.move(registry, ledger, entry) if entry.moves else ledger.append(entry)


def _write_page(registry: Registry, version: ModelVersion, entry: Entry) -> None:
    registry.describe(version, version_page.with_verdict(version.description or "", entry), gate=entry.action)


def _left_before(version: ModelVersion, left: Entry) -> Reason:
    """The evidence for a version is what its own run left, so it stays the same however often it is judged."""
    done = {"reverted": "refused by the prediction service", "rolled_back": "rolled back by hand"}
    text = (
        f"version {version.version} was {done.get(left.action, 'taken out of production')} on {left.at:%Y-%m-%d %H:%M} "
        f"UTC: the same evidence does not promote it again; `pipeline.py rollback --to {version.version}` does"
    )
    return Reason(left.action, False, text)


def rollback(config: Config, to: str | None = None) -> dict[str, Any]:
    """Moves the alias to `to`, or to the version that served before, and records it. Raises ConfigError, AliasMoved."""
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        ledger = Ledger(registry)
        ended = alias.settle(registry, ledger)
        if to is None and ended and ended.action == "rolled_back":  # killed and repeated: one step, not two
            return {"action": "rolled_back", "version": ended.version, "previous": ended.previous}
        holder, known = registry.holder(), registry.versions()
        present = holder.version if holder else None
        if to is None and present is not None:
            to = history.course(ledger.entries()).before(known)
        if not known or to not in known:
            where = f"version {present}" if present else "nothing in production"
            others = ", ".join(version for version in known if version != present)
            raise ConfigError(
                f"'{config.name}': no version to go back to from {where}" if to is None else f"no version {to}",
                f"Name one (--to, make rollback VERSION=): {others}."
                if others
                else "Train another first: `make train`.",
            )
        if to == present:
            log.info("nothing to do: version %s is %s already", to, config.serving.alias)
            return {"action": "unchanged", "version": to}
        reason = Reason("rollback", True, f"moved from {f'version {present}' if present else 'nothing'} by hand")
        alias.move(registry, ledger, Entry("rolled_back", to, present, (reason,)))
        log.info("version %s is %s now; before it: %s", to, config.serving.alias, present or "none")
    return {"action": "rolled_back", "version": to, "previous": present}
