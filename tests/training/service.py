"""The real prediction service, as a process of its own in its own environment."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from servers import held_port, server_running

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "tests" / "api" / "service_main.py"
PYTHON = ROOT / ".venvs" / "api" / "bin" / "python"


@dataclass(frozen=True)
class Api:
    """The service at `url`."""

    url: str
    session: requests.Session

    def ready(self, name: str) -> tuple[int, dict[str, Any]]:
        """Status and answer to the question whether it serves this model."""
        answer = self.session.get(f"{self.url}/models/{name}/readyz", timeout=60)
        return answer.status_code, answer.json()

    def predict(self, name: str, row: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        body, headers = json.dumps(row, default=str), {"Content-Type": "application/json"}
        answer = self.session.post(f"{self.url}/models/{name}/predict", body, headers=headers, timeout=60)
        return answer.status_code, answer.json()


@contextmanager
def api_running(folder: Path, tracking_uri: str, **variables: str) -> Iterator[Api]:
    """Runs the service on the models in production; skips the test where its environment is not there."""
    if not PYTHON.exists():
        pytest.skip("the service's environment is not there: make setup")
    with held_port() as port, requests.Session() as session:
        settings = {"API_PORT": str(port), "MLFLOW_TRACKING_URI": tracking_uri, "PYTHONPATH": str(ROOT / "api")}
        settings |= {"MODELS_DIR": str(folder / "models"), "PREDICTION_LOG_DIR": "", "DEFAULT_MODEL": "", **variables}
        url = f"http://127.0.0.1:{port}"
        with server_running([PYTHON, SERVICE, json.dumps({"poll_seconds": 0.2})], folder, f"{url}/livez", settings):
            yield Api(url, session)
