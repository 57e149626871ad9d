"""The real process of the service, as a test starts, asks and stops it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import httpx
from conftest import wait_until
from registry_server import publish

API = Path(__file__).parents[2] / "api"


class Service:
    """python -m prediction_api on a free port, in `folder`. Ends with the block."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._log = folder / "service.log"
        values = {"PATH": os.environ["PATH"], "PYTHONPATH": str(API), "API_PORT": "0", "API_POLL_SECONDS": "0.05"}
        values["SIGNING_PUBLIC_KEYS"] = str(publish(folder / "keys"))
        values |= {"MODELS_DIR": str(folder / "models"), "PREDICTION_LOG_DIR": str(folder / "predictions")}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prediction_api"], env=values | environment, stderr=log, cwd=folder
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(60)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return int(json.loads(self.events()[0])["port"])

    def events(self) -> list[str]:
        return self._log.read_text().splitlines()

    def wait_listening(self) -> None:
        wait_until(self.events)
        assert httpx.get(f"{self.address}/livez", timeout=60).status_code == 200

    def wait_ready(self) -> None:
        self.wait_listening()
        wait_until(lambda: httpx.get(f"{self.address}/readyz", timeout=60).status_code == 200)

    def predict(self, row: dict[str, Any]) -> dict[str, Any]:
        answer = httpx.post(f"{self.address}/predict", json=row, timeout=60)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def metric(self, name: str) -> float:
        """The value of one series, by its name and labels as in the page; 0 where it is not there."""
        for line in httpx.get(f"{self.address}/metrics", timeout=60).text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def stop(self) -> None:
        """Asks it to end; uvicorn shuts everything down and then lets the signal have its way."""
        self.process.terminate()
        assert self.process.wait(60) == -signal.SIGTERM
