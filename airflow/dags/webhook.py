"""ALERT_WEBHOOK: one address that receives failed tasks and the monitor's findings. Prometheus is not needed."""

import http.client
import json
import logging
import os
import urllib.request
from contextlib import suppress
from typing import Any

from airflow.sdk import Context

log = logging.getLogger(__name__)

SECONDS = 5.0  # a task waits no longer for any step of a delivery
MOST = 500  # characters of what a command says


def tell(what: str, where: str, since: object, action: str) -> None:
    """Posts this to ALERT_WEBHOOK, if it is set; Slack and the like show `text`.

    A delivery that fails only writes a line to the log. The address is a secret, so httpx, which logs every address, is
    not used.
    """
    address = os.environ.get("ALERT_WEBHOOK", "").strip()
    if not address:
        return
    if not address.startswith(("https://", "http://")):
        log.warning("ALERT_WEBHOOK got no message: expected an address like https://host/path, found another text")
        return
    fields = {"what": what[:MOST], "where": where, "since": str(since), "action": action[:MOST]}
    text = "{what}\n{where}, since {since}\n{action}".format(**fields)
    body, kind = json.dumps({"text": text, **fields}).encode(), {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(address, body, kind)  # noqa: S310  # http or https, as seen above
        urllib.request.urlopen(request, timeout=SECONDS).close()  # noqa: S310
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "code", None) or getattr(error, "reason", None) or type(error).__name__
        log.warning("ALERT_WEBHOOK got no message: %s", why)


def task_failed(context: Context) -> None:
    """Reports a task after its last try: what its command said, else that it failed."""
    task, hook = context["ti"], getattr(context["task"], "subprocess_hook", None)
    said = _fields(hook.result.output) if hook else {}  # the last line says why a command was refused
    what = said.get("detail") or str(context.get("exception") or "it ended without a message")
    action = said.get("hint") or "Read its log on Airflow's page."
    tell(f"{task.dag_id}, {task.task_id} failed: {what}", task.log_url, task.start_date, action)


def monitor_found(context: Context, answer: Any) -> None:
    """Reports a window that the monitor measured, if it is alarming."""
    found = _fields(answer)
    if (found.get("drifted") or found.get("error_worse")) and not found["dry_run"]:
        where = f"{context['params']['config']}, version {found['version']}"
        action = (
            "The report is in MLflow, in the experiment whose name ends with -monitor (docs/reference/monitoring.md)."
        )
        tell(found["text"], where, found["since"], action)


def _fields(line: str | None) -> dict[str, Any]:
    """The JSON object in a line; empty for any other text."""
    with suppress(ValueError):
        fields = json.loads(line or "")
        return fields if isinstance(fields, dict) else {}
    return {}
