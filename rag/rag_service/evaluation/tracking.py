"""An evaluation as a run of MLflow."""

from __future__ import annotations

import time
from typing import Any

import httpx2

from rag_service.errors import TrackingFailed
from rag_service.evaluation import Report
from rag_service.telemetry.mlflow import experiment_id, rest

_EXPERIMENT = "rag-evaluation"


def log_run(address: str, report: Report, parameters: dict[str, str]) -> str:
    """Logs figures and parameters; gives the run's id. Raises TrackingFailed."""
    now = int(1000 * time.time())
    metrics = {name: figure.value for name, figure in report.figures.items() if figure is not None}
    for name, figure in report.figures.items():
        if figure is not None:
            metrics |= {f"{name}_low": figure.low, f"{name}_high": figure.high}
    try:
        with rest(address) as client:
            experiment = experiment_id(client, _EXPERIMENT)
            begun = _call(client, "runs/create", {"experiment_id": experiment, "start_time": now})
            run = str(begun["run"]["info"]["run_id"])
            content = {
                "run_id": run,
                # MLflow's names take no @.
                "metrics": [
                    {"key": name.replace("@", "_at_"), "value": value, "timestamp": now, "step": 0}
                    for name, value in metrics.items()
                ],
                "params": [{"key": name, "value": value} for name, value in parameters.items()],
            }
            _call(client, "runs/log-batch", content)
            _call(client, "runs/update", {"run_id": run, "status": "FINISHED", "end_time": int(1000 * time.time())})
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError) as error:
        raise TrackingFailed(address, f"{type(error).__name__}: {error}") from error
    return run


def _call(client: httpx2.Client, path: str, content: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(path, json=content).raise_for_status().json()
    return answer
