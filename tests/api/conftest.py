"""What the tests of the prediction service share."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests
sys.path.insert(0, str(Path(__file__).parents[2] / "api"))
sys.path.append(str(Path(__file__).parents[2] / "rag" / "tests"))  # chromium.py, which knows no service

from model_files import regression_model
from page_fixtures import address, browser, own_wine, page, wine, wine_address  # noqa: F401  # fixtures
from prediction_api.main import create_app
from prediction_api.models import store
from prediction_api.settings import Settings
from registry_server import FakeRegistry, publish, running_registry

# Settings of the shell, a key or a folder, must not change what tests see.
for name in Settings.model_fields:
    os.environ.pop(name.upper(), None)

# How long an example takes, or its making, is not tested; and no run tries others than the one before it.
hypothesis.settings.register_profile(
    "any machine", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """An empty registry on a free port."""
    with running_registry() as fake:
        yield fake


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are not tried in a process of their own first, which takes a second each; test_mutants does."""

    async def passes(content: bytes, _most_bytes: int) -> int:
        return len(content)

    monkeypatch.setattr(store, "try_out", passes)


@pytest.fixture
def settings(registry: FakeRegistry, tmp_path: Path) -> Settings:
    return Settings(
        mlflow_tracking_uri=registry.uri,
        api_port=0,  # a free one
        api_allowed_hosts="testserver",  # what the test client calls
        models_dir=tmp_path / "models",
        signing_public_keys=publish(tmp_path / "keys"),
        prediction_log_dir=tmp_path / "predictions",
        api_poll_seconds=0.02,
        api_max_body_bytes=3_000_000,
    )


@pytest.fixture
def client(registry: FakeRegistry, settings: Settings) -> Iterator[TestClient]:
    """The service with the wine model live."""
    registry.add(regression_model())
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Returns as soon as the condition holds; fails when it does not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


def whole_lines(folder: Path, kind: str = "predictions") -> list[dict[str, Any]]:
    """The prediction log's lines as a reader takes them: a last line that is only half written is left out."""
    texts = [path.read_bytes() for path in sorted(folder.rglob(f"{kind}-*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.split(b"\n")[:-1]]


def run(story: Coroutine[Any, Any, Any]) -> Any:
    """What the coroutine gives, from a loop in a thread of its own: a browser's leaves one running in this."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, story).result()
