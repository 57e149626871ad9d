"""The real process of the service, as a test starts, asks and stops it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import httpx
from conftest import wait_until
from model_files import regression_model
from registry_server import publish, running_registry

API = Path(__file__).parents[2] / "api"
SERVICE = Path(__file__).parent / "service_main.py"


class Service:
    """The service on a free port, in `folder`, with these constants of Settings in place of its own. Ends with the
    block."""

    def __init__(self, folder: Path, constants: Mapping[str, float] = MappingProxyType({}), **environment: str) -> None:
        self._log = folder / "service.log"
        values = {"PATH": os.environ["PATH"], "PYTHONPATH": str(API), "API_PORT": "0"}
        values["SIGNING_PUBLIC_KEYS"] = str(publish(folder / "keys"))
        values |= {"MODELS_DIR": str(folder / "models"), "PREDICTION_LOG_DIR": str(folder / "predictions")}
        with self._log.open("wb") as log:
            command = [sys.executable, SERVICE, json.dumps({"poll_seconds": 0.05, **constants})]
            self.process = subprocess.Popen(command, env=values | environment, stderr=log, cwd=folder)

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
        return int(self.events()[0]["port"])

    @cached_property
    def http(self) -> httpx.Client:
        """Calls it, each time over a new connection."""
        return httpx.Client(base_url=self.address, headers={"Connection": "close"}, timeout=60)

    def log(self) -> str:
        return self._log.read_text()

    def events(self) -> list[dict[str, Any]]:
        """The lines of the log that are there as a whole."""
        return [json.loads(line) for line in self.log().split("\n")[:-1]]

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def wait_listening(self) -> None:
        wait_until(self.events)
        assert self.http.get("/livez").status_code == 200

    def wait_ready(self) -> None:
        self.wait_listening()
        wait_until(lambda: self.http.get("/readyz").status_code == 200)

    def predict(self, row: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post("/predict", json=row)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def metric(self, name: str) -> float:
        """The value of one series, by its name and labels as in the page; 0 where it is not there."""
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def stop(self) -> None:
        """Asks it to end; uvicorn shuts everything down and then lets the signal have its way."""
        self.process.terminate()
        assert self.process.wait(60) == -signal.SIGTERM


@contextmanager
def wine_service(
    folder: Path, constants: Mapping[str, float] = MappingProxyType({}), **variables: str
) -> Iterator[Service]:
    """A process with the wine model live."""
    with running_registry() as registry:
        registry.add(regression_model())
        with Service(folder, constants, MLFLOW_TRACKING_URI=registry.uri, **variables) as service:
            service.wait_ready()
            yield service
