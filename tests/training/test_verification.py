"""Does the service take what was promoted? On a real tracking server, with the real service, and with a stand-in."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from service import Api, api_running
from training.errors import ConfigError, NotServed, RefusedByService
from training.promotion import verify
from versions import FAIR, GOOD, Model, contract

pytestmark = pytest.mark.usefixtures("tracking_server")


@pytest.fixture(scope="module")
def running(tracking_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api_running(tmp_path_factory.mktemp("api"), tracking_server) as api:
        yield api


@pytest.fixture
def service(running: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    """The real prediction service, which the code under test asks."""
    monkeypatch.setenv("API_URL", running.url)
    return running


def last_entry(model: Model) -> tuple[str, str, str | None, str]:
    entry = model.ledger.entries()[-1]
    return entry.action, entry.version, entry.previous, entry.reasons[0].code


def test_what_the_service_refuses_is_moved_back_and_stays_away(model: Model, service: Api) -> None:
    """By its golden rows, which only the service replays. The one before serves on; the one after is judged again."""
    model.serve(FAIR)
    assert verify.verify(model.config())["moved"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CTX_DAG_ID", "a run that found it there")
        assert not verify.verify(model.config())["moved"]
    model.serve(GOOD, terms=contract(model.name, FAIR))
    with pytest.raises(RefusedByService, match=r"refused version 2 \(golden-mismatch\).*production is version 1 again"):
        verify.verify(model.config())
    assert model.production() == "1"
    assert last_entry(model) == ("reverted", "1", "2", "golden-mismatch")
    assert service.ready(model.name)[1]["model"]["version"] == "1"
    answer = model.promote()
    assert (answer["action"], answer["reasons"][0]["code"]) == ("refused", "reverted")
    assert verify.verify(model.config())["version"] == "1"
    model.train(GOOD)
    assert model.promote()["action"] == "promoted"
    assert verify.verify(model.config())["version"] == "3"


def test_a_first_version_that_is_refused_leaves_nothing_in_production(model: Model, service: Api) -> None:
    model.serve(GOOD, terms={"features": []})
    with pytest.raises(RefusedByService, match=r"wrong-contract.*names no version now: there was none before"):
        verify.verify(model.config())
    assert model.production() is None
    assert last_entry(model) == ("reverted", "", "1", "wrong-contract")
    assert [action for action, _, _ in model.moves()] == ["promoted", "reverted"]
    assert verify.verify(model.config())["status"] == "nothing in production"
    deadline = time.monotonic() + 200
    while "no registered model" not in service.ready(model.name)[1]["detail"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    monkeypatch.setenv("API_URL", f"http://127.0.0.1:{server.server_port}")
    yield lambda **parts: said.update(parts)
    server.shutdown()
    server.server_close()


REFUSED = {"version": "2", "reason": "digest-mismatch", "detail": "other bytes"}


def test_an_accident_moves_nothing(
    model: Model, stand_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    monkeypatch.setattr(verify, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(verify, "VERIFY_SECONDS", 0.6)  # of three looks at least, by which it believes a refusal
    model.serve(FAIR, GOOD)
    accidents: dict[str, dict[str, Any]] = {
        "an older version was refused": {"refused": {**REFUSED, "version": "1"}},
        "the file could not be had": {"refused": {**REFUSED, "reason": "artifact-unavailable"}},
        "it was short of memory": {"refused": {**REFUSED, "reason": "sandbox-killed"}},
        "it has no key yet": {"refused": {**REFUSED, "reason": "no-public-key"}},
        "it has not looked since": {"registry": {"checked_at": "2026-11-24T10:00:00Z"}},
        "it is slow": {"refused": None},
    }
    for accident, parts in accidents.items():
        registry = {"model": model.name, "alias": "production", **parts.get("registry", {})}
        stand_in(**{"model": {"name": model.name, "version": "1"}, "refused": REFUSED, **parts, "registry": registry})
        with subtests.test(accident), pytest.raises(NotServed, match="does not serve version 2"):
            verify.verify(model.config())
    assert (model.production(), len(model.moves())) == ("2", 2)


def test_a_service_that_follows_another_alias_is_reported_at_once_and_moves_nothing(
    model: Model, stand_in: Callable[..., None]
) -> None:
    model.serve(GOOD)
    registry = {"model": model.name, "alias": "staging"}
    stand_in(registry=registry, model={"name": model.name, "version": "9"}, refused={**REFUSED, "version": "1"})
    with pytest.raises(
        ConfigError, match=r"follows the alias 'staging', and '.*' was promoted as 'production'"
    ) as raised:
        verify.verify(model.config())
    assert "MODEL_ALIAS=production" in raised.value.hint
    assert (model.production(), len(model.moves())) == ("1", 1)


def test_no_service_is_an_accident(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.serve(GOOD)
    monkeypatch.setenv("API_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(verify, "VERIFY_SECONDS", 0.0)
    with pytest.raises(NotServed, match="it says: ConnectionError") as raised:
        verify.verify(model.config())
    assert (raised.value.exit_code, RefusedByService.exit_code) == (3, 1)
    assert model.production() == "1"
