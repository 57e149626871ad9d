"""The process: how it starts, and how it says that it cannot."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from conftest import wait_until
from model_files import regression_model
from prediction_api import __main__ as entry
from prediction_api.errors import ModelRefused, RequestRefused, StartRefused
from prediction_api.settings import Settings, read_settings
from registry_server import FakeRegistry, publish

API = Path(__file__).parents[2] / "api"


def start(tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    values = {"PATH": os.environ["PATH"], "API_PORT": "0", "MODELS_DIR": str(tmp_path), "PYTHONPATH": str(API)}
    values["SIGNING_PUBLIC_KEYS"] = str(publish(tmp_path / "keys"))
    return subprocess.Popen(
        [sys.executable, "-m", "prediction_api"],
        env=values | environment,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )


def test_the_process_serves_and_writes_one_json_line_per_event(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add(regression_model())
    process = start(tmp_path, MLFLOW_TRACKING_URI=registry.uri)
    try:
        assert process.stderr is not None
        listening = json.loads(process.stderr.readline())
        assert listening["event"] == "listening"
        address = f"http://127.0.0.1:{listening['port']}"
        wait_until(lambda: httpx.get(f"{address}/readyz", timeout=60).status_code == 200)
        assert httpx.post(f"{address}/predict", json={}, timeout=60).status_code == 422
        events = [json.loads(process.stderr.readline())["event"] for _ in range(2)]
        assert events == ["registry reached", "model loaded"]
    finally:
        process.terminate()
        rest = process.communicate(timeout=60)[1]
    assert rest == ""  # a bad request leaves no trace


def test_a_taken_port_is_named_with_its_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = start(tmp_path, API_PORT=str(port))
        message = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert message == f"port {port} on 127.0.0.1 is taken by another program; set API_PORT to a free port\n"


def test_a_wrong_setting_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("API_PORT", "http")
    monkeypatch.setenv("DEFAULT_MODEL", "../etc")
    assert entry.main() == 2
    message = capsys.readouterr().err
    assert "API_PORT='http'" in message
    assert "DEFAULT_MODEL='../etc'" in message


def test_a_host_that_is_not_ours_is_named() -> None:
    with pytest.raises(StartRefused, match=r"API_HOST=192\.0\.2\.1"):
        entry.open_listener(Settings(api_host="192.0.2.1", api_port=0))


def test_nothing_listens_beyond_this_machine_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_HOST", raising=False)
    assert read_settings().api_host == "127.0.0.1"


def test_every_error_that_is_shown_tells_what_to_do() -> None:
    kinds = [*RequestRefused.__subclasses__(), *ModelRefused.__subclasses__()]
    assert [kind for kind in kinds if not kind.hint] == []
