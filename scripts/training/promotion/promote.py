"""Which version serves: `promote` by the gate, `rollback` by a person. Every move of the alias is in the ledger.

A move is an entry, then the alias, then the end of the entry's run. What a kill leaves of it is settled by the next
command: where the alias moved, the move counts; where it never did, the entry is abandoned and judged again.
"""

import hashlib
import json
import logging
from typing import Any

from mlflow.entities.model_registry import ModelVersion

from training.config import Config
from training.data.files import find
from training.errors import AliasMoved, ConfigError, GateRefused, NothingToPromote
from training.promotion import evidence
from training.promotion.gate import Verdict, judge
from training.reason import Reason
from training.report.card import DESCRIPTION_LIMIT, GATE_HEADING
from training.tracking.ledger import Course, Entry, Ledger, course
from training.tracking.registry import Registry

log = logging.getLogger(__name__)

MOST_LINES = 12  # of the verdict on a version's page


def promote(config: Config, strict: bool = False) -> dict[str, Any]:
    """Judges the version that this data, configuration and code gave; moves the alias or refuses, and records it.

    The same question has one answer: as long as the alias has not moved, a repetition gives the decision of before.
    Raises NothingToPromote, AliasMoved, WrongModel; GateRefused under `strict`.
    """
    key = config.training_key(find(config.data, renew=False).digest)
    with Registry(config.name, config.serving.alias).speaking() as registry:
        version = registry.version_with_key(key)
        if version is None:
            raise NothingToPromote(config.name, key)
        ledger = Ledger(registry)
        settle(ledger)
        holder, entries = registry.holder(), ledger.entries()
        moves = course(entries)
        if holder and holder.version == version.version:
            if moves.last and moves.last.action == "promoted":  # its page is missing where a kill came before
                _write_page(ledger, version, moves.last)
            log.info("nothing to do: version %s is %s already", version.version, config.serving.alias)
            return {"action": "unchanged", "version": version.version, "reasons": []}
        question = _question(config, version, moves)
        entry = next((one for one in entries if one.key == question), None)
        if entry is None:
            entry = _decide(ledger, config, version, holder, moves, question)
        _write_page(ledger, version, entry)
    for reason in entry.reasons:
        log.info("%s: %s", reason.mark, reason.text)
    log.info("version %s: %s", entry.version, entry.action)
    if strict and entry.action == "refused":
        raise GateRefused([reason.text for reason in entry.reasons if not reason.passed])
    reasons = [reason.as_json() for reason in entry.reasons]
    return {"action": entry.action, "version": entry.version, "reasons": reasons}


def rollback(config: Config, to: str | None = None) -> dict[str, Any]:
    """Moves the alias to `to`, or to the version that served before, and records it. Raises ConfigError, AliasMoved."""
    with Registry(config.name, config.serving.alias).speaking() as registry:
        ledger = Ledger(registry)
        ended = settle(ledger)
        if to is None and ended and ended.action == "rolled_back":  # killed and repeated: one step, not two
            return {"action": "rolled_back", "version": ended.version, "previous": ended.previous}
        holder, known = registry.holder(), registry.versions()
        present = holder.version if holder else None
        if to is None and present is not None:
            to = course(ledger.entries()).before(known)
        if to not in known:
            others = [version for version in known if version != present]
            none_before = (
                f"'{config.name}': {_named(present)} is in production, and no earlier one is left to go back to"
            )
            raise ConfigError(
                none_before if to is None else f"'{config.name}' has no version {to}",
                f"Name the version, to go forward again, too (of {', '.join(others)}): make rollback "
                f"VERSION={others[-1]}, or pipeline.py rollback --to {others[-1]}."
                if others
                else "There is no other version: train one with `make train`.",
            )
        if to == present:
            log.info("nothing to do: version %s is %s already", to, config.serving.alias)
            return {"action": "unchanged", "version": to}
        reason = Reason("rollback", True, f"moved from {_named(present)} by hand")
        move(ledger, Entry("rolled_back", to, present, (reason,)))
        log.info("version %s is %s now; before it: %s", to, config.serving.alias, present or "none")
    return {"action": "rolled_back", "version": to, "previous": present}


def move(ledger: Ledger, entry: Entry) -> Entry:
    """Appends the entry and moves the alias from `entry.previous` to `entry.version`.

    Raises AliasMoved, and changes nothing, when the alias names another version by now.
    """
    registry, holder = ledger.registry, ledger.registry.holder()
    present = holder.version if holder else None
    if present != entry.previous:
        raise AliasMoved(registry.alias, entry.previous, present)
    written = ledger.append(entry)
    registry.point_alias(entry.version)
    ledger.finish(written)
    return written


def settle(ledger: Ledger) -> Entry | None:
    """Makes the ledger agree with the alias. Returns a move that was cut short after the alias had moved."""
    last, holder = course(ledger.entries()).last, ledger.registry.holder()
    present, recorded = holder.version if holder else "", last.version if last else ""
    if last and ledger.unfinished(last):
        if present == recorded:
            ledger.finish(last)
            return last
        log.warning("%s version %s was interrupted before the alias moved: abandoned", last.action, last.version)
        ledger.abandon(last)
        return settle(ledger)
    if present != recorded:
        text = f"{ledger.registry.alias} was found on {_named(present)}, moved from {_named(recorded)} by other means"
        ledger.finish(ledger.append(Entry("found", present, recorded or None, (Reason("found", True, text),))))
        log.warning("%s", text)
    return None


def _named(version: str | None) -> str:
    return f"version {version}" if version else "no version"


def _question(config: Config, version: ModelVersion, moves: Course) -> str:
    """Names what is to be decided: this version, by these rules, since the alias last moved.

    The number of a deleted version is given again, so the run belongs to the question.
    """
    rules = config.gate.model_dump(mode="json")
    parts = [version.version, version.run_id, config.serving.alias, moves.last and moves.last.id, rules]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _decide(
    ledger: Ledger,
    config: Config,
    version: ModelVersion,
    holder: ModelVersion | None,
    moves: Course,
    question: str,
) -> Entry:
    mode, tags = config.gate.mode, {}
    if left := _left_before(version, moves):
        verdict, taken = Verdict(False, (left,)), False
    else:
        verdict = judge(config, evidence.gather(ledger.registry, config, version, holder))
        taken, tags = verdict.passed or mode == "off", ledger.registry.run_of(version).data.tags
    reasons = verdict.reasons
    if taken and not verdict.passed:
        reasons = (*reasons, Reason("gate_off", True, "gate.mode is off: promoted anyway"))
    promoted, refused = ("would_promote", "would_refuse") if mode == "dry_run" else ("promoted", "refused")
    entry = Entry(
        action=promoted if taken else refused,
        version=version.version,
        previous=holder.version if holder else None,
        reasons=reasons,
        figures=verdict.figures,
        key=question,
        run_id=str(version.run_id),
        data_digest=tags.get("pipeline.data_digest", ""),
        code_version=tags.get("pipeline.code_version", ""),
    )
    return move(ledger, entry) if entry.moves else ledger.append(entry)


def _left_before(version: ModelVersion, moves: Course) -> Reason | None:
    """The evidence for a version is what its own run left, so it stays the same however often it is judged.

    A version that was registered after the alias had left its number is another one, of a deleted version's number.
    """
    left = moves.left.get(version.version)
    if left is None or version.creation_timestamp > moves.reached[version.version].timestamp() * 1000:
        return None
    done = {"reverted": "refused by the prediction service", "rolled_back": "rolled back by hand"}
    text = (
        f"version {version.version} was {done.get(left.action, 'taken out of production')} on {left.at:%Y-%m-%d %H:%M} "
        f"UTC: the same evidence does not promote it again; `pipeline.py rollback --to {version.version}` does"
    )
    return Reason(left.action, False, text)


def _write_page(ledger: Ledger, version: ModelVersion, entry: Entry) -> None:
    ledger.registry.describe(version, with_verdict(version.description or "", entry), gate=entry.action)


def with_verdict(description: str, entry: Entry) -> str:
    """A version's page with this verdict in its section, wherever that was, else at the end."""
    before, found, rest = description.partition(GATE_HEADING)
    _, next_heading, after = rest.partition("\n## ") if found else ("", "", "")
    before, after = before.strip(), (next_heading + after).strip()
    room = DESCRIPTION_LIMIT - len(f"{before}\n\n\n\n{after}")
    parts = [before, _section(entry, room), after]
    return "\n\n".join(part for part in parts if part)


def _section(entry: Entry, room: int) -> str:
    """At most `room` characters, with as many reasons as that holds."""
    over = f" over version {entry.previous}" if entry.previous else ""
    head = f"{GATE_HEADING}\n\n**{entry.action}**{over}, {entry.at:%Y-%m-%d %H:%M} UTC, by {entry.by}\n"
    failed_first = sorted(entry.reasons, key=lambda reason: reason.passed)
    lines = [f"- {reason.mark}: {reason.text[:300]}" for reason in failed_first]
    for shown in range(min(len(lines), MOST_LINES), -1, -1):
        left = len(lines) - shown
        text = "\n".join([head, *lines[:shown], *([f"- {left} more in the ledger"] if left else [])])
        if len(text) <= room:
            break
    return text
