"""What the tests of the prediction service share."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import certifi
import hypothesis
import pytest
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests
sys.path.insert(0, str(Path(__file__).parents[2] / "api"))
sys.path.append(str(Path(__file__).parents[2] / "rag" / "tests"))  # chromium.py, which knows no service

from chromium import page, shared_tab  # noqa: F401  # fixtures
from model_files import regression_model
from page_fixtures import address, browser, own_wine, wine, wine_address  # noqa: F401  # fixtures
from prediction_api.main import create_app
from prediction_api.models import store
from prediction_api.settings import Settings
from registry_server import FakeRegistry, running_registry
from service_thread import settings_for

# Settings of the shell, a key or a folder, must not change what tests see.
for name in (*Settings.model_fields, "ssl_cert_file", "ssl_cert_dir"):
    os.environ.pop(name.upper(), None)

# How long an example takes, or its making, is not tested; and no run tries others than the one before it.
hypothesis.settings.register_profile(
    "any machine", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def untried() -> Iterator[None]:
    """Models are not tried in a process of their own first, which takes a second each; test_mutants does."""

    async def passes(content: bytes, _most_bytes: int) -> int:
        return len(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "try_out", passes)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of all that an HTTP client trusts, one: none is called here, and reading them takes longer than most calls."""
    first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----")
    one = tmp_path_factory.mktemp("authority") / "one.pem"
    one.write_text(first + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(one))
        yield


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """An empty registry on a free port."""
    with running_registry() as fake:
        yield fake


@pytest.fixture
def settings(registry: FakeRegistry, tmp_path: Path) -> Settings:
    return settings_for(registry, tmp_path)


@contextmanager
def started(settings: Settings, **changes: object) -> Iterator[TestClient]:
    """The service with these settings, from its start on."""
    app = create_app(settings.model_copy(update=changes))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def live(settings: Settings, **changes: object) -> Iterator[TestClient]:
    """The same, once its default model is live."""
    with started(settings, **changes) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


@contextmanager
def live_model(model: bytes, folder: Path, name: str = "wine-quality") -> Iterator[TestClient]:
    """A service with this model live, for the tests of a module that only ask."""
    with running_registry() as registry:
        registry.add(model, name=name)
        with live(settings_for(registry, folder), poll_seconds=1.0) as client:
            yield client


@pytest.fixture
def client(registry: FakeRegistry, settings: Settings) -> Iterator[TestClient]:
    """A service of the test's own with the wine model live."""
    registry.add(regression_model())
    with live(settings) as client:
        yield client


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The same for all tests that only ask."""
    with live_model(regression_model(), tmp_path_factory.mktemp("shared")) as client:
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
