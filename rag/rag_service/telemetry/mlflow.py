"""MLflow's experiments, by its REST interface: its Python client would double the image."""

from __future__ import annotations

import httpx2


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
