"""The process: how it starts, and how it says that it cannot."""

import signal
import socket
from pathlib import Path

import httpx
import pytest
from conftest import wait_until
from prediction_api import __main__ as entry
from prediction_api.errors import ModelRefused, RequestRefused
from prediction_api.settings import read_settings
from service_process import Service, wine_service


def test_the_process_serves_and_writes_one_json_line_per_event(tmp_path: Path) -> None:
    with wine_service(tmp_path) as service:
        assert service.http.post("/predict", json={}).status_code == 422
        service.stop()
        events = [line["event"] for line in service.events()]
    assert events == ["listening", "registry reached", "model loaded"]  # a bad request leaves no trace


def test_a_taken_port_is_named_with_its_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Service(tmp_path, API_PORT=str(port)) as service:
            assert service.process.wait(60) == 2
    assert service.log() == f"port {port} on 127.0.0.1 is taken by another program; set API_PORT to a free port\n"


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"API_PORT": "http", "DEFAULT_MODEL": "../etc"}, ["API_PORT='http'", "DEFAULT_MODEL='../etc'"]),
        ({"API_HOST": "192.0.2.1", "API_PORT": "0"}, ["API_HOST=192.0.2.1"]),
        ({"API_KEY": "hunter2"}, ["API_KEY: the key has less than"]),
        ({"API_KEY_FILE": "/nowhere"}, ["API_KEY_FILE=/nowhere cannot be read"]),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_its_variable(
    variables: dict[str, str], says: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert entry.main() == 2
    said = capsys.readouterr().err
    assert all(part in said for part in says), said
    assert "hunter2" not in said  # a key is never told


def test_told_to_end_it_answers_over_open_connections_and_closes_them(tmp_path: Path) -> None:
    with wine_service(tmp_path, API_DRAIN_SECONDS="60") as service, httpx.Client(base_url=service.address) as kept:
        assert "connection" not in kept.get("/livez").headers
        service.process.terminate()
        wait_until(lambda: kept.get("/livez").headers.get("connection") == "close")
        with pytest.raises(httpx.ConnectError):
            service.http.get("/livez")
        service.process.terminate()  # a second time: at once
        assert service.process.wait(60) == -signal.SIGTERM


def test_nothing_listens_beyond_this_machine_unless_asked() -> None:
    assert read_settings().api_host == "127.0.0.1"


def test_every_error_that_is_shown_tells_what_to_do() -> None:
    kinds = [*RequestRefused.__subclasses__(), *ModelRefused.__subclasses__()]
    assert [kind for kind in kinds if not kind.hint] == []
