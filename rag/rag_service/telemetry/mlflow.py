"""MLflow, by its REST interface: its Python client would double the image."""

from __future__ import annotations

import time
from collections.abc import Mapping

import httpx2

from rag_service.errors import TrackingFailed


def rest(address: str) -> httpx2.Client:
    """A client for the tracking server at this address; paths are such as `runs/create`."""
    return httpx2.Client(base_url=f"{address.rstrip('/')}/api/2.0/mlflow/", timeout=20)


def experiment_id(client: httpx2.Client, name: str) -> str:
    """The id of the experiment, which is made where it is not there yet. Raises HTTPError, ValueError, KeyError."""
    found = client.get("experiments/get-by-name", params={"experiment_name": name})
    if found.status_code == httpx2.codes.NOT_FOUND:
        made = client.post("experiments/create", json={"name": name}).raise_for_status()
        return str(made.json()["experiment_id"])
    return str(found.raise_for_status().json()["experiment"]["experiment_id"])


def log_run(address: str, experiment: str, metrics: Mapping[str, float], parameters: Mapping[str, object]) -> str:
    """Logs a finished run; returns its id. Raises TrackingFailed."""
    now = int(1000 * time.time())
    # MLflow's names take no @.
    values = [
        {"key": name.replace("@", "_at_"), "value": value, "timestamp": now, "step": 0}
        for name, value in metrics.items()
    ]
    params = [{"key": name, "value": str(value)} for name, value in parameters.items()]
    try:
        with rest(address) as client:
            begun = {"experiment_id": experiment_id(client, experiment), "start_time": now}
            run = str(client.post("runs/create", json=begun).raise_for_status().json()["run"]["info"]["run_id"])
            ended = {"run_id": run, "status": "FINISHED", "end_time": int(1000 * time.time())}
            client.post("runs/log-batch", json={"run_id": run, "metrics": values, "params": params}).raise_for_status()
            client.post("runs/update", json=ended).raise_for_status()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError) as error:
        raise TrackingFailed(address, f"{type(error).__name__}: {error}") from error
    return run
