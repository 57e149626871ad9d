"""Airflow's REST interface, as much of it as starting a run and following it takes."""

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from stack.errors import StepFailed
from stack.http_client import client, content

POLL_SECONDS = 1.0
DAG = "train_model"
LOCKED = "Database error"  # in Airflow's answer 500
ENDED = ("success", "failed", "upstream_failed", "skipped", "removed")


@dataclass(frozen=True)
class TaskState:
    """`seconds` is how long its last try ran; 0 while it has not ended."""

    name: str
    state: str
    seconds: float


class Airflow:
    """Signed in at `url` as the admin, with the `login` of a proxy before it. Raises StepFailed where it is refused."""

    def __init__(
        self, url: str, password: str, login: tuple[str, str] | None = None, trust: ssl.SSLContext | bool = True
    ) -> None:
        self.url = url
        self._http: httpx.Client = client(url, trust)
        answer = self._http.post(
            "/auth/token", json={"username": "admin", "password": password}, auth=login or httpx.USE_CLIENT_DEFAULT
        )
        self._http.headers["Authorization"] = f"Bearer {content(answer)['access_token']}"

    def trigger(self, conf: Mapping[str, object], dag: str = DAG, seconds: float = 300.0) -> str:
        """Starts a run and gives its id; waits while the DAG is not parsed yet. Raises StepFailed.

        The id is chosen here, so that a request may be repeated. On SQLite it has to be: the api-server writes its
        audit log inside its event loop, which another request's transaction needs for its end; so it answers 500 after
        5 s.
        """
        run_id = f"manual__{datetime.now(UTC).isoformat()}"
        run = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        deadline = time.monotonic() + seconds
        while True:
            answer = self._http.post(f"/api/v2/dags/{dag}/dagRuns", json=run)
            if answer.status_code == httpx.codes.CONFLICT:
                return run_id  # an answer before this one did not tell
            again = answer.status_code == httpx.codes.NOT_FOUND or (answer.is_server_error and LOCKED in answer.text)
            if not again or time.monotonic() > deadline:
                return str(content(answer)["dag_run_id"])
            time.sleep(POLL_SECONDS)

    def last_runs(self) -> list[dict[str, Any]]:
        """The newest run of each DAG, of the last 100 runs. Raises StepFailed."""
        options: dict[str, str | int] = {"limit": 100, "order_by": "-run_after"}
        found = content(self._http.get("/api/v2/dags/~/dagRuns", params=options))["dag_runs"]
        return sorted({run["dag_id"]: run for run in reversed(found)}.values(), key=lambda run: str(run["dag_id"]))

    def run_ids(self, dag: str = DAG) -> set[str]:
        """The ids of all runs so far."""
        found = content(self._http.get(f"/api/v2/dags/{dag}/dagRuns", params={"limit": 100}))["dag_runs"]
        return {run["dag_run_id"] for run in found}

    def next_run(self, known: set[str], seconds: float, dag: str = DAG) -> str:
        """The id of the first run that is not among `known`, once there is one. Raises StepFailed."""
        deadline = time.monotonic() + seconds
        while not (new := self.run_ids(dag) - known):
            if time.monotonic() > deadline:
                raise StepFailed(
                    f"no run of {dag} was started within {seconds:.0f} s", "check that the DAG's asset is updated"
                )
            time.sleep(POLL_SECONDS)
        return min(new)

    def follow(self, run_id: str, seconds: float, on_end: Callable[[TaskState], None], dag: str = DAG) -> None:
        """Returns when the run has succeeded, telling `on_end` of each task that was started and has ended. Raises
        StepFailed otherwise."""
        deadline = time.monotonic() + seconds
        told: set[str] = set()
        while True:
            state = self.state(run_id, dag)
            for task in self.tasks(run_id, dag):
                if task.state in ENDED and task.name not in told:
                    told.add(task.name)
                    if task.seconds or task.state != "skipped":
                        on_end(task)
            if state == "success":
                return
            if state == "failed" or time.monotonic() > deadline:
                what = "failed" if state == "failed" else f"is still {state} after {seconds:.0f} s"
                raise StepFailed(
                    f"{dag} {what}\n{self.failed_log(run_id, dag)}", "Airflow's page shows every task's log"
                )
            time.sleep(POLL_SECONDS)

    def state(self, run_id: str, dag: str = DAG) -> str:
        """`queued`, `running`, `success` or `failed`."""
        return str(content(self._http.get(self._run(run_id, dag)))["state"])

    def tasks(self, run_id: str, dag: str = DAG) -> list[TaskState]:
        """The run's tasks, in the order in which they started."""
        found = content(self._http.get(f"{self._run(run_id, dag)}/taskInstances"))["task_instances"]
        found.sort(key=lambda task: (task["start_date"] or "~", task["task_id"]))
        return [TaskState(task["task_id"], str(task["state"]), float(task["duration"] or 0)) for task in found]

    def waited(self, run_id: str, dag: str = DAG) -> float:
        """Seconds from the run's being queued to its end."""
        run: dict[str, Any] = content(self._http.get(self._run(run_id, dag)))
        return (datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["queued_at"])).total_seconds()

    def failed_log(self, run_id: str, dag: str = DAG, lines: int = 30) -> str:
        """The end of the log of the first task that failed, or nothing where none did."""
        failed = next((task for task in self.tasks(run_id, dag) if task.state == "failed"), None)
        if failed is None:
            return ""
        for attempt in (2, 1):
            answer = self._http.get(
                f"{self._run(run_id, dag)}/taskInstances/{failed.name}/logs/{attempt}",
                headers={"Accept": "application/json"},
            )
            said = answer.json().get("content", []) if answer.is_success else []
            text = [str(line.get("event", line)) if isinstance(line, dict) else str(line) for line in said]
            if text:
                return "\n".join([line for line in text if not line.startswith("::")][-lines:])
        return ""

    @staticmethod
    def _run(run_id: str, dag: str) -> str:
        return f"/api/v2/dags/{dag}/dagRuns/{quote(run_id, safe='')}"
