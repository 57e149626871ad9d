"""The monitor's memory in MLflow: one run for each window and one for each request, in the experiment <name>-monitor.

A window's run gets its tags last, in one call, so an interrupted task leaves none that counts. A request is one call.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow.entities import Metric, RunTag
from pydantic import TypeAdapter

from training.monitoring.policy import Decision, Window
from training.reason import as_list
from training.tracking.registry import Registry, as_tags, from_tags

WINDOW_TAG = "monitor.window"
REQUEST_TAG = "monitor.request"
VERSION_TAG = "monitor.version"
# Of the registered model: the prediction service shows the first to Prometheus, the second on its overview.
VERDICT_TAG, CHECK_TAG = "monitor.verdict", "monitor.check"
SCHEDULE_VARIABLE = "MONITOR_SCHEDULE"


@dataclass(frozen=True)
class Request:
    """Training was asked for, by the DAG run or the person `asked_by`, for these reasons; on the table `source`, or on
    the configured one where that is empty."""

    key: str
    at: datetime
    asked_by: str
    text: str
    source: str = ""


_WINDOW, _REQUEST = TypeAdapter(Window), TypeAdapter(Request)


class Journal:
    """Windows and requests of one model."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._client = registry, registry.client
        self._name = f"{registry.name}-monitor"

    def windows(self, version: str, since: datetime | None, most: int) -> list[Window]:
        """The last `most` windows of a version that ended after `since`, oldest first."""
        runs = self._registry.notes(self._name, f"tags.`{VERSION_TAG}` = '{version}'", most)
        texts = [from_tags(WINDOW_TAG, run.data.tags) for run in runs]
        found = [_WINDOW.validate_json(text) for text in texts if text]
        return sorted((w for w in found if since is None or w.end > since), key=lambda window: window.end)

    def request(self, **tags: str) -> Request | None:
        """The newest request; of those that this evidence (`key`) led to, or that this DAG run made (`asked_by`)."""
        wanted = {"kind": "request", **tags}.items()
        where = " and ".join(f"tags.`monitor.{name}` = '{_unquoted(value)}'" for name, value in wanted)
        runs = self._registry.notes(self._name, where, 1)
        return _REQUEST.validate_json(runs[0].data.tags[REQUEST_TAG]) if runs else None

    def record_window(self, window: Window, metrics: Mapping[str, float], files: Mapping[str, str], note: str) -> None:
        """Writes a window with its figures and files."""
        name = f"version {window.version}, {window.start:%Y-%m-%d %H:%M} to {window.end:%m-%d %H:%M}"
        moment, run_id = int(time.time() * 1000), self._registry.note(self._name, name, {}, note)
        figures = [Metric(key, value, moment, 0) for key, value in metrics.items()]
        self._client.log_batch(run_id, figures)
        for file, text in files.items():
            self._client.log_text(run_id, text, file)
        tags = {VERSION_TAG: window.version, **as_tags(WINDOW_TAG, _WINDOW.dump_json(window).decode())}
        self._client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])
        self._client.set_terminated(run_id)
        verdict = {"version": window.version, "end": window.end.timestamp()}
        verdict |= {"drifted": len(window.drifted), "error_worse": window.error_worse}
        self._client.set_registered_model_tag(self._registry.name, VERDICT_TAG, json.dumps(verdict))

    def record_check(self, text: str) -> None:
        """Writes that somebody looked, and what came of it: most looks find too few rows for a window."""
        check = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "text": text[:1000]}
        if SCHEDULE_VARIABLE not in os.environ:  # by hand: the schedule is the one that was noted before
            model = self._client.get_registered_model(self._registry.name)
            check["schedule"] = json.loads(model.tags.get(CHECK_TAG, "{}")).get("schedule", "")
        else:
            check["schedule"] = os.environ[SCHEDULE_VARIABLE]
        self._client.set_registered_model_tag(self._registry.name, CHECK_TAG, json.dumps(check))

    def record_request(self, decision: Decision, asker: str, source: str = "") -> None:
        """Writes that training was asked for, on the table `source` (empty: the configured one)."""
        at = datetime.now(UTC)
        request = Request(decision.key, at, asker, decision.text[:2000], source)
        tags = {"monitor.kind": "request", "monitor.key": decision.key, "monitor.asked_by": _unquoted(asker)}
        tags[REQUEST_TAG] = _REQUEST.dump_json(request).decode()
        name = f"training requested, {at:%Y-%m-%d %H:%M}"
        self._client.set_terminated(self._registry.note(self._name, name, tags, as_list(decision.reasons)))


def _unquoted(text: str) -> str:
    return text.replace("'", "")  # MLflow's filters cannot hold one
