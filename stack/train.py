"""Starts a training and follows it.

`python -m stack.train DAG PARAMETERS PAGE` does so inside Airflow's container, whose image has this module: there it
needs no port, proxy or certificate. `python -m stack.train last-runs` prints the newest run of each DAG as JSON.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from stack.airflow_client import Airflow, TaskState
from stack.errors import guarded

SECONDS = 7200.0


def followed(airflow: Airflow, dag: str, conf: Mapping[str, object], page: str) -> None:
    """Returns once a run of `dag` with these parameters has succeeded; `page`: Airflow's, as a browser finds it. Raises
    StepFailed otherwise."""
    run_id = airflow.trigger(conf, dag)
    print(f"{run_id}: {page}/dags/{dag}/runs", flush=True)
    airflow.follow(run_id, SECONDS, print_task, dag)


def print_task(task: TaskState) -> None:
    """One line for a task that ended."""
    print(f"{task.name:<10} {task.state:<10} {task.seconds:6.1f} s", flush=True)


def own_airflow(environment: Mapping[str, str]) -> Airflow:
    """The Airflow of this container. Raises StepFailed."""
    passwords = Path(environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    below = urlsplit(environment.get("AIRFLOW__API__BASE_URL", "")).path
    port = environment.get("AIRFLOW__API__PORT", "8080")
    password = json.loads(passwords.read_text(encoding="utf-8"))["admin"]
    return Airflow(f"http://127.0.0.1:{port}{below}", password)


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """0, or 1 with what to do."""

    def work() -> int:
        airflow = own_airflow(environment)
        if arguments == ["last-runs"]:
            print(json.dumps(airflow.last_runs()))
        else:
            dag, conf, page = arguments
            followed(airflow, dag, json.loads(conf), page)
        return 0

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
