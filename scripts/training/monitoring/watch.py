"""monitor, top to bottom like a recipe: measure the traffic since the last window, decide, write it down."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from training.config import Config, Data
from training.data import prediction_log
from training.data.files import Source, alone, find
from training.data.spark import session
from training.errors import DataError, SourceAway
from training.model import contract as contracts
from training.model.contract import Contract
from training.monitoring import policy, window
from training.monitoring.journal import Journal, Request
from training.monitoring.policy import Decision, Window
from training.monitoring.report import Report
from training.monitoring.window import Span, Statistics
from training.reason import Reason
from training.tracking.ledger import Ledger, author, course
from training.tracking.registry import FEEDBACK_TAG, SOURCE_TAG, Registry

log = logging.getLogger(__name__)

QUIET_SECONDS = 30.0  # a data file that was written to a moment ago may be half copied
RUN_VARIABLE = "AIRFLOW_CTX_DAG_RUN_ID"
TRAINING_HOURS = 2.0  # as long as a training may take: until then, what asked for it does not ask again


@dataclass(frozen=True)
class Production:
    """The version that serves, since when, its contract, and the table that it was trained on, as configured then."""

    version: str
    since: datetime | None
    contract: Contract
    source: str


def watch(config: Config, dry_run: bool = False, now: datetime | None = None) -> dict[str, Any]:
    """Measures the traffic since the last window, records it, and asks for training where the policy says so.

    `dry_run` measures and decides, and writes nothing. Raises TrackingError, and WrongModel where the file of the
    version in production is not the one that was registered.
    """
    now, rules = now or datetime.now(UTC), config.monitor
    with Registry(config.name, config.serving.alias).speaking() as registry:
        production = _production(registry, config.data.place)
        if production is None:
            return _result("wait", f"'{config.name}' has no version in production yet, so there is nothing to watch")
        journal, version = Journal(registry), production.version
        wait = timedelta(hours=max(rules.cooldown_hours, TRAINING_HOURS))
        last = _unless_lost(registry, journal.request(), now - wait)
        past = journal.windows(version, production.since, rules.of)
        changed = _data_changed(config, registry, journal, production, now - wait)
        found = _measured(config, production, past, now)
        windows = past if isinstance(found, str) else [*past, found.window]
        decision = changed or policy.decide(rules, windows, now, last.at if last else None, production.since)
        # Asked now only: it may take a look at all feedback.
        if decision.action == "retrain" and not changed and not _learnable(config, registry, production):
            decision = policy.nothing_new(decision)
        source = "" if changed or production.source == config.data.place else production.source
        if isinstance(found, str):
            text = decision.text if decision.action == "retrain" else f"{found}; {decision.text}"
            result = _result(decision.action, text, decision.reasons) | {"window": None}
        else:
            report = Report(config.name, found, past, decision)
            result = _result(decision.action, report.headline, decision.reasons)
            result |= {"window": found.window.id, "rows": found.window.rows, "drifted": found.window.drifted}
            result |= {"error_worse": found.window.error_worse, "since": found.window.start.isoformat()}
            if not dry_run:
                if journal.windows(version, production.since, rules.of) != past:
                    text = "another monitor measured the same traffic at the same time; the next window begins after it"
                    return _result("wait", text) | {"window": None}
                journal.record_window(found.window, report.metrics(), report.files(), report.headline)
        if not dry_run:
            journal.record_check(result["text"])
            if decision.action == "retrain":
                journal.record_request(decision, author(), source)
    return result | {"version": version, "dry_run": dry_run, "source": source}


def _measured(config: Config, production: Production, past: list[Window], now: datetime) -> Statistics | str:
    """What the traffic since the last window shows, or what is waited for."""
    version, start = production.version, past[-1].end if past else production.since
    if not prediction_log.files(config.name, "predictions", start):
        return f"no predictions of version {version} were logged yet"
    span, spark = Span(version, start, now - prediction_log.SETTLING), session(f"monitor {config.name}")
    found = window.measure(spark, config, production.contract, span, production.since)
    if isinstance(found, Statistics):
        return found
    since = f" since {start:%d %B %H:%M} UTC" if start else ""
    return f"waiting for rows: {found} of {config.monitor.min_rows} predictions of version {version}{since}"


def asked(config: Config) -> dict[str, Any]:
    """Whether this DAG run asked for training; by hand, whether this person did, and no version came of it yet.

    `source` is the table to train on, empty for the configured one.
    """
    with Registry(config.name, config.serving.alias).speaking() as registry:
        request = Journal(registry).request(asked_by=author())
        if request and RUN_VARIABLE not in os.environ and registry.versions(request.at):
            request = None
    if request is None:
        return {"asked": False, "text": "training was not requested", "source": ""}
    return {"asked": True, "text": request.text, "source": request.source}


def _production(registry: Registry, configured: str) -> Production | None:
    holder = registry.holder()
    if holder is None:
        return None
    contract = contracts.read(registry.verified_content(holder))
    since = course(Ledger(registry).entries()).reached.get(holder.version)
    tags = registry.client.get_run(holder.run_id).data.tags if holder.run_id else {}
    source = tags.get(SOURCE_TAG) or configured
    return Production(str(holder.version), since, contract, configured if _same(source, configured) else source)


def _same(source: str, other: str) -> bool:
    return Path(source).resolve() == Path(other).resolve()


def _usable(data: Data, production: Production) -> Source | None:
    """The data file, or None where it cannot be used: training would say so, and watching goes on. The synthetic sample
    in its place is no reason to replace what was trained on real rows."""
    try:
        found = find(data, quiet=True)
    except (DataError, SourceAway) as error:
        log.warning("%s (%s)", error.message, error.hint)
        return None
    if found.synthetic and not production.contract.data.synthetic:
        log.warning("%s does not exist, and the synthetic sample in its place requests no training", data.place)
        return None
    return found


def _learnable(config: Config, registry: Registry, production: Production) -> bool:
    """Whether training would see anything that the newest version by the same file, configuration and code did not.

    A model that was trained on another table than the configured one is trained again on its own table.
    """
    own = production.source != config.data.place
    data = config.data.model_copy(update={"source": production.source}) if own else config.data
    source = _usable(data, production)
    if source is None:
        return False
    if own:
        config = config.model_copy(update={"data": alone(data)})
    known = registry.version_with_key(config.training_key(source.digest))
    if known is None or not config.data.feedback:
        return known is None
    labelled = prediction_log.labelled_rows(session(f"monitor {config.name}"), config.name)
    return bool(known.tags.get(FEEDBACK_TAG, "") != labelled.digest)


def _data_changed(
    config: Config, registry: Registry, journal: Journal, production: Production, lost_before: datetime
) -> Decision | None:
    """The decision that a changed data file calls for: once for each content, and again after a while where no version
    came of it, as when the training failed.

    Compared with the newest version, if that was trained on what the configuration names and not on a table of its own.
    """
    source = _usable(config.data, production)
    if source is None or (not source.origin and _written(source) > time.time() - QUIET_SECONDS):
        return None
    newest = registry.numbered(registry.versions()[-1])
    if newest is None or not newest.run_id:
        return None
    tags = registry.client.get_run(newest.run_id).data.tags
    if not _same(tags.get(SOURCE_TAG, ""), config.data.place) or tags["pipeline.data_digest"] == source.digest:
        return None
    decision = policy.data_changed(source.name, source.digest, str(newest.version))
    before = journal.request(key=decision.key)
    known = registry.version_with_key(config.training_key(source.digest))  # the file of an earlier version, put back
    if before and (known or _unless_lost(registry, before, lost_before)):
        return None
    return decision


def _written(source: Source) -> float:
    return max(file.stat().st_mtime for file in source.files)


def _unless_lost(registry: Registry, request: Request | None, lost_before: datetime) -> Request | None:
    """The request, unless it is older than `lost_before` and no version came of it: its training failed, or never
    began."""
    if request is None or request.at > lost_before or registry.versions(request.at):
        return request
    return None


def _result(action: str, text: str, reasons: Sequence[Reason] = ()) -> dict[str, Any]:
    log.info("%s: %s", action, text)
    return {"action": action, "text": text, "reasons": [reason.as_json() for reason in reasons]}
