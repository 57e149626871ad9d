"""Does the service take what was promoted? On a real tracking server, with the real service, and with a stand-in."""

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import versions
from servers import held_port, server_running
from test_promotion import FAIR, GOOD
from training.errors import ConfigError, NotServed, RefusedByService
from training.promotion import promote, verify
from training.tracking.ledger import Ledger
from training.tracking.registry import Registry
from versions import Model

pytestmark = pytest.mark.usefixtures("tracking")
ROOT = Path(__file__).parents[2]
API_PYTHON = ROOT / ".venvs" / "api" / "bin" / "python"


@pytest.fixture
def service(
    model: Model, tracking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], dict[str, Any]]]:
    """The real prediction service, following the model; gives a reader of its /readyz."""
    if not API_PYTHON.exists():
        pytest.skip("the service's environment is not there: make setup")
    with held_port() as port:
        url = f"http://127.0.0.1:{port}"
        settings = {"API_PORT": str(port), "DEFAULT_MODEL": model.name, "MLFLOW_TRACKING_URI": tracking}
        settings |= {"PYTHONPATH": str(ROOT / "api"), "MODELS_DIR": str(tmp_path / "models"), "API_POLL_SECONDS": "0.2"}
        settings["PREDICTION_LOG_DIR"] = ""
        with server_running([API_PYTHON, "-m", "prediction_api"], tmp_path, f"{url}/livez", settings):
            monkeypatch.setenv("API_URL", url)
            yield lambda: _get(f"{url}/readyz")


def _get(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            return dict(json.load(error))


def until(true: Callable[[], object], seconds: float = 200.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def last_entry(model: Model) -> tuple[str, str, str | None, str]:
    entry = Ledger(Registry(model.name, "production")).entries()[-1]
    return entry.action, entry.version, entry.previous, entry.reasons[0].code


def test_what_the_service_refuses_is_moved_back_and_stays_away(
    model: Model, service: Callable[[], dict[str, Any]]
) -> None:
    """By its golden rows, which only the service replays. The one before serves on; the one after is judged again."""
    model.train(FAIR)
    model.promote()
    assert verify.verify(model.config())["moved"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CTX_DAG_ID", "a run that found it there")
        assert not verify.verify(model.config())["moved"]
    wrong = versions.contract(model.name, FAIR)
    model.train(GOOD, terms=wrong)
    assert model.promote()["action"] == "promoted"
    with pytest.raises(RefusedByService, match=r"refused version 2 \(golden-mismatch\).*production is version 1 again"):
        verify.verify(model.config())
    assert model.production() == "1"
    assert last_entry(model) == ("reverted", "1", "2", "golden-mismatch")
    assert service()["model"]["version"] == "1"
    answer = model.promote()
    assert (answer["action"], answer["reasons"][0]["code"]) == ("refused", "reverted")
    assert verify.verify(model.config())["version"] == "1"
    model.train(GOOD)
    assert model.promote()["action"] == "promoted"
    assert verify.verify(model.config())["version"] == "3"


def test_a_first_version_that_is_refused_leaves_nothing_in_production(
    model: Model, service: Callable[[], dict[str, Any]]
) -> None:
    model.train(GOOD, terms={**versions.contract(model.name, GOOD), "features": []})
    promote.move(
        Registry(model.name, "production"),
        ledger := Ledger(Registry(model.name, "production")),
        promote.Entry("promoted", "1", None),
    )
    with pytest.raises(RefusedByService, match=r"wrong-contract.*names no version now: there was none before"):
        verify.verify(model.config())
    assert model.production() is None
    assert last_entry(model) == ("reverted", "", "1", "wrong-contract")
    assert [entry.action for entry in ledger.entries()] == ["promoted", "reverted"]
    assert verify.verify(model.config())["status"] == "nothing in production"
    until(lambda: "no registered model" in service()["registry"]["detail"])


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A service that says of itself what the test wants, with a new look at the registry for every answer."""
    said: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = {"checked_at": datetime.now(UTC).isoformat(), **said["registry"]}
            body = json.dumps({**said, "registry": asked}).encode()
            self.send_response(200 if re.fullmatch("/models/[^/]+/readyz", self.path) else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the tests say what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("API_URL", f"http://127.0.0.1:{server.server_port}")
    yield lambda **parts: said.update(parts)
    server.shutdown()
    server.server_close()


REFUSED = {"version": "2", "reason": "digest-mismatch", "detail": "other bytes"}


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"refused": {**REFUSED, "version": "1"}}, id="an-older-version-was-refused"),
        pytest.param({"refused": {**REFUSED, "reason": "artifact-unavailable"}}, id="the-file-could-not-be-had"),
        pytest.param({"refused": {**REFUSED, "reason": "sandbox-killed"}}, id="it-was-short-of-memory"),
        pytest.param({"refused": {**REFUSED, "reason": "no-public-key"}}, id="it-has-no-key-yet"),
        pytest.param({"registry": {"checked_at": "2026-11-24T10:00:00Z"}}, id="it-has-not-looked-since"),
        pytest.param({"refused": None}, id="it-is-slow"),
    ],
)
def test_an_accident_moves_nothing(
    model: Model, stand_in: Callable[..., None], parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "VERIFY_SECONDS", 2.0)
    for slope in (FAIR, GOOD):
        model.train(slope)
        model.promote()
    registry = {"model": model.name, "alias": "production", **parts.get("registry", {})}
    stand_in(**{"model": {"name": model.name, "version": "1"}, "refused": REFUSED, **parts, "registry": registry})
    with pytest.raises(NotServed, match="does not serve version 2"):
        verify.verify(model.config())
    assert (model.production(), len(model.ledger())) == ("2", 2)


def test_a_service_that_follows_another_alias_is_reported_at_once_and_moves_nothing(
    model: Model, stand_in: Callable[..., None]
) -> None:
    model.train(GOOD)
    model.promote()
    registry = {"model": model.name, "alias": "staging"}
    stand_in(registry=registry, model={"name": model.name, "version": "9"}, refused={**REFUSED, "version": "1"})
    with pytest.raises(
        ConfigError, match=r"follows the alias 'staging', and '.*' was promoted as 'production'"
    ) as raised:
        verify.verify(model.config())
    assert "MODEL_ALIAS=production" in raised.value.hint
    assert (model.production(), len(model.ledger())) == ("1", 1)


def test_no_service_is_an_accident(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.train(GOOD)
    model.promote()
    monkeypatch.setenv("API_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(verify, "VERIFY_SECONDS", 0.0)
    with pytest.raises(NotServed, match="it says: ConnectionError") as raised:
        verify.verify(model.config())
    assert (raised.value.exit_code, RefusedByService.exit_code) == (3, 1)
    assert model.production() == "1"
