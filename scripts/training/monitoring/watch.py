"""monitor, top to bottom like a recipe: look at the traffic since the last window, judge it, decide, write it down."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from training.config import Config
from training.data import feedback, prediction_log
from training.data.files import Source, find
from training.data.spark import session
from training.errors import DataError
from training.model import onnx_runtime
from training.monitoring import chart, drift, policy, report
from training.monitoring import window as measures
from training.monitoring.findings import Findings, Measured, place
from training.monitoring.journal import Journal, Request
from training.monitoring.policy import Decision, Situation, Window
from training.monitoring.window import Span
from training.tracking.ledger import Ledger, user
from training.tracking.registry import FEEDBACK_TAG, SOURCE_TAG, Registry

log = logging.getLogger(__name__)

QUIET_SECONDS = 30.0  # a data file that was written to a moment ago may be half copied
RUN_VARIABLE = "AIRFLOW_CTX_DAG_RUN_ID"
TRAINING_HOURS = 2.0  # as long as a training may take: until then, what asked for it does not ask again


@dataclass(frozen=True)
class Production:
    """The version that serves, since when, and what it carries."""

    version: str
    since: datetime | None
    contract: Mapping[str, Any]


def watch(config: Config, dry_run: bool = False, now: datetime | None = None) -> dict[str, Any]:
    """Measures the traffic since the last window, records it, and asks for training where the policy says so.

    `dry_run` measures and decides, and writes nothing. Raises TrackingError, and WrongModel where the file of the
    version in production is not the one that was registered.
    """
    now = now or datetime.now(UTC)
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        production = _production(registry)
        if production is None:
            return _told("wait", f"'{config.name}' has no version in production yet, so there is nothing to watch", [])
        journal = Journal(registry)
        last = _heard(config, registry, journal.last_request(), now)
        past = journal.windows(production.version, production.since, config.monitor.of)
        source = _source(config, production)
        changed = _data_changed(config, registry, journal, source, now)
    measured = _measure(config, production, past, now)
    windows = past if isinstance(measured, str) else [*past, measured.window]
    situation = Situation(now, last.at if last else None, production.since, learnable=True)
    decision = changed or policy.decide(config.monitor, windows, situation)
    if decision.action == "retrain" and not changed:  # to find that out may take a look at all feedback
        with registry.speaking():
            learnable = source is not None and _learnable(config, registry, source)
        decision = policy.decide(config.monitor, windows, replace(situation, learnable=learnable))
    if isinstance(measured, str):
        text = decision.text if decision.action == "retrain" else f"{measured}; {decision.text}"
        answer = _told(decision.action, text, decision.reasons) | {"window": None}
    else:
        findings = Findings(config.name, measured, past, decision)
        answer = _told(decision.action, findings.headline, decision.reasons)
        answer |= {"window": measured.window.id, "rows": measured.window.rows, "drifted": measured.window.drifted}
        if not dry_run:
            with registry.speaking():
                if journal.windows(production.version, production.since, config.monitor.of) != past:
                    text = "another monitor has measured the same traffic meanwhile; the next look begins after it"
                    return _told("wait", text, []) | {"window": None}
                journal.record_window(measured.window, findings.metrics(), _files(findings), findings.headline)
    if decision.action == "retrain" and not dry_run:
        with registry.speaking():
            journal.record_request(decision, asker())
    return answer | {"version": production.version, "dry_run": dry_run}


def asked(config: Config) -> dict[str, Any]:
    """Whether this DAG run asked for training; by hand, whether this person did, and no version came of it yet."""
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        request = Journal(registry).asked_by(asker())
        if request and RUN_VARIABLE not in os.environ and registry.trained_since(request.at):
            request = None
    return {"asked": request is not None, "text": request.text if request else "training was not asked for"}


def asker() -> str:
    """The DAG run that this belongs to, or who runs it by hand."""
    return (os.environ.get(RUN_VARIABLE) or user()).replace("'", "")


def _measure(config: Config, production: Production, past: list[Window], now: datetime) -> Measured | str:
    """The window since the last one, or why there is none yet."""
    start = past[-1].end if past else production.since
    if not prediction_log.files(config.name, "predictions", start):
        return f"no predictions of version {production.version} were logged yet"
    spark = session(f"monitor {config.name}")
    spark.catalog.clearCache()  # of an earlier look in this session: Spark knows a file by its path, not its content
    found = prediction_log.read(spark, config.name, start)
    span = Span(production.version, start, now - prediction_log.SETTLING)
    count, first = measures.rows(found, span)
    if count < config.monitor.min_rows or first is None:
        since = f" since {start:%d %B %H:%M} UTC" if start else ""
        return f"waiting for rows: {count} of {config.monitor.min_rows} predictions of version {span.version}{since}"
    contract, metric = production.contract, config.gate_metric
    known = drift.histograms(contract)
    counted = measures.count_bins(found, span, known)
    interval = contract["interval"]
    # Truth may be told of any prediction since the promotion: only where there is some, these are read.
    told = (
        found
        if found.feedback.isEmpty()
        else prediction_log.with_predictions(spark, config.name, found, production.since)
    )
    truths = measures.measure_truths(told, span, metric, interval["half_width"] if interval else None)
    columns = drift.compare(known, counted, config.monitor.psi)
    error = None
    if truths.rows > 1 and metric in contract["metrics"]:
        growth, promised = config.monitor.max_error_growth, contract["metrics"][metric]
        error = drift.live_error(metric, truths.rows, truths.mean, truths.spread, promised, growth, truths.coverage)
    content = [config.name, span.version, str(start or first), str(span.end), counted, str(truths)]
    window = Window(
        id=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16],
        version=span.version,
        start=start or first,
        end=span.end,
        rows=count,
        drifted=tuple(column.name for column in columns if column.drifted),
        error_worse=bool(error and error.worse),
    )
    return Measured(window, columns, error, truths, found.unreadable)


def _production(registry: Registry) -> Production | None:
    holder = registry.holder()
    if holder is None:
        return None
    contract = onnx_runtime.read_contract(registry.verified_content(holder))
    moves = [entry for entry in Ledger(registry).entries() if entry.moves and entry.version == holder.version]
    since = moves[-1].at if moves else None
    return Production(str(holder.version), since, contract)


def _source(config: Config, production: Production) -> Source | None:
    """The data file, or None where it cannot be used: training would say so, and watching goes on. The synthetic sample
    in its place is no reason to replace what was trained on real rows."""
    try:
        found = find(config.data, quiet=True)
    except DataError as error:
        log.warning("%s (%s)", error.message, error.hint)
        return None
    if found.synthetic and not production.contract["data"]["synthetic"]:
        log.warning("%s is not there, and its synthetic sample is nothing to train again on", config.data.place)
        return None
    return found


def _learnable(config: Config, registry: Registry, source: Source) -> bool:
    """Whether training would see anything that the newest version by the same file, configuration and code did not."""
    known = registry.version_with_key(config.training_key(source.digest))
    if known is None or not config.data.feedback:
        return known is None
    labelled = feedback.read(session(f"monitor {config.name}"), config)
    return bool(known.tags.get(FEEDBACK_TAG, "") != labelled.digest)


def _data_changed(
    config: Config, registry: Registry, journal: Journal, source: Source | None, now: datetime
) -> Decision | None:
    """The decision that a changed data file calls for: once for each content, and again after a while where no version
    came of it, as when the training failed.

    Compared with the newest version, if that was trained on what the configuration names and not on a table of its own.
    """
    if source is None or max(file.stat().st_mtime for file in source.files) > time.time() - QUIET_SECONDS:
        return None
    versions = registry.client.search_model_versions(f"name = '{registry.name}'")
    newest = max(versions, key=lambda version: int(version.version))
    tags = registry.client.get_run(str(newest.run_id)).data.tags
    same_place = Path(tags.get(SOURCE_TAG, "")).resolve() == Path(config.data.place).resolve()
    if not same_place or tags["pipeline.data_digest"] == source.digest:
        return None
    decision = policy.data_changed(source.name, source.digest, str(newest.version))
    before = journal.request(decision.key)
    known = registry.version_with_key(config.training_key(source.digest))  # the file of an earlier version, put back
    if before and (known or _heard(config, registry, before, now)):
        return None
    return decision


def _heard(config: Config, registry: Registry, request: Request | None, now: datetime) -> Request | None:
    """The request, unless no version came of it in all the time that it had: its training failed, or never began."""
    if request is None or now < request.at + timedelta(hours=max(config.monitor.cooldown_hours, TRAINING_HOURS)):
        return request
    return request if registry.trained_since(request.at) else None


def _files(findings: Findings) -> dict[str, str]:
    """The report, and a picture of each column."""
    charts = {column.name: chart.draw(column) for column in findings.measured.columns}
    pictures = {f"plots/{place(name)}.svg": picture for name, picture in charts.items()}
    return {"report.html": report.page(findings, charts), **pictures}


def _told(action: str, text: str, reasons: Any) -> dict[str, Any]:
    log.info("%s: %s", action, text)
    return {"action": action, "text": text, "reasons": [vars(reason) for reason in reasons]}
