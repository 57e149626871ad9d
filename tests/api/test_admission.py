"""What is refused before it is read, and what gets through in spite of it."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until
from fastapi.testclient import TestClient
from prediction_api.http import admission
from registry_server import FakeRegistry
from service_process import Service, wine_service

ROW = {"fixed_acidity": 8.0, "alcohol": 9.0, "type": "white"}
BODY = json.dumps(ROW).encode()
HEALTH = b"GET /livez HTTP/1.1\r\nHost: api\r\n\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One real process for all: each test leaves it as good as new."""
    with wine_service(tmp_path_factory.mktemp("service"), {"request_seconds": 3}) as service:
        yield service


def post(path: str = "/predict", more: str = "", body: bytes = BODY) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: api\r\n{more}Content-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def answer(stream: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers in lower case, and the JSON body of the next answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += stream.recv(65536) or pytest.fail(f"closed after {received!r}")
    head, body = received.split(b"\r\n\r\n", 1)
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += stream.recv(65536)
    return int(status.split()[1]), headers, json.loads(body)


def test_a_crowd_is_served_up_to_the_limit_and_the_rest_refused_at_once(service: Service) -> None:
    with ExitStack() as stack:
        health, *crowd = [stack.enter_context(service.connected()) for _ in range(301)]
        for stream in (health, *crowd):
            stream.sendall(HEALTH)
        for stream in (health, *crowd):  # the service has them: it hears all in one turn when it goes on
            assert answer(stream)[0] == 200
        paths = ["/predict", "/v2/models/wine-quality/infer"] * 150
        os.kill(service.process.pid, signal.SIGSTOP)  # so that all of them wait when it goes on
        os.waitid(os.P_PID, service.process.pid, os.WSTOPPED)  # it may run on for a moment, and serve many of them
        for number, (stream, path) in enumerate(zip(crowd, paths, strict=True)):
            stream.sendall(post(path, f"X-Request-ID: mine-{number}\r\n"))
        health.sendall(HEALTH)
        os.kill(service.process.pid, signal.SIGCONT)
        assert answer(health)[0] == 200
        answers = [answer(stream) for stream in crowd]
        for stream in crowd:
            stream.sendall(post())
        for stream in crowd:  # every connection is as good as before
            assert answer(stream)[0] in (200, 429)
    refused = {number: one for number, one in enumerate(answers) if one[0] == 429}
    assert admission.MOST_SMALL <= 300 - len(refused) < 300
    assert {status for status, _, _ in answers[::2]} == {200, 429}
    assert {status for status, _, _ in answers[1::2]} == {422, 429}
    for number, (_, headers, problem) in refused.items():
        assert (headers["retry-after"], headers["content-type"]) == ("1", "application/problem+json")
        assert headers["x-request-id"] == problem["request_id"] == f"mine-{number}"
        assert (problem["type"], problem["status"]) == ("/docs#error-too-busy", 429)
        assert headers["x-content-type-options"] == "nosniff"
        assert number % 2 == 0 or problem["error"] == problem["detail"]  # where clients of that protocol look
    assert service.metric('api_turned_away_total{reason="small"}') >= len(refused)
    assert service.metric("api_requests_in_hand") == 0
    service.predict(ROW)


def test_a_client_that_begins_and_does_not_end_is_answered_and_closed(service: Service) -> None:
    before = service.metric('api_turned_away_total{reason="too-slow"}')
    with service.connected() as in_head, service.connected() as in_body, service.connected() as silent:
        in_head.sendall(b"POST /predict HT")
        in_body.sendall(post()[:-5])
        for stream in (in_head, in_body):
            status, headers, problem = answer(stream)
            assert (status, headers["connection"], problem["type"]) == (408, "close", "/docs#error-too-slow")
            assert stream.recv(10) == b""
        assert silent.recv(10) == b""  # who never said anything is only closed
    assert service.metric('api_turned_away_total{reason="too-slow"}') == before + 2
    assert service.metric("api_requests_in_hand") == 0


def test_a_head_without_end_is_refused(service: Service) -> None:
    with service.connected() as stream:
        line = b"X-More: " + b"x" * 8_000 + b"\r\n"
        stream.sendall(b"GET /livez HTTP/1.1\r\n" + line * (1 + admission.MOST_HEAD_BYTES // len(line)))
        assert answer(stream)[0] == 431


def long_work(rows: int) -> bytes:
    table = b"fixed acidity,alcohol,type\n" + b"8,9,red\n" * rows
    return post("/predict/batch", body=table).replace(b"application/json", b"text/csv")


LONG_WORK = long_work(20_000)


@pytest.mark.parametrize(
    ("behind", "reason"),
    [
        (b"GET /livez HTTP/1.1\r\n" + (b"X-More: " + b"x" * 8_000 + b"\r\n") * 100, "head-too-large"),
        (HEALTH * 3_000, "too-busy"),
    ],
)
def test_what_comes_behind_a_request_is_not_gathered_without_end(service: Service, behind: bytes, reason: str) -> None:
    turned_away = f'api_turned_away_total{{reason="{reason}"}}'
    before = service.metric(turned_away)
    with service.connected() as stream:
        stream.sendall(LONG_WORK)
        with suppress(ConnectionError):  # it may be closed in the midst
            stream.sendall(behind)
        wait_until(lambda: service.metric(turned_away) > before)
    wait_until(lambda: service.metric("api_requests_in_hand") == 0)


@pytest.mark.parametrize(
    ("asked", "status"), [(LONG_WORK, 200), (LONG_WORK + HEALTH * 2 + post("/v2/models/x/infer"), 404)]
)
def test_who_ends_their_half_of_the_connection_is_answered(service: Service, asked: bytes, status: int) -> None:
    with service.connected() as stream:
        stream.sendall(asked)
        stream.shutdown(socket.SHUT_WR)
        received = b""
        while piece := stream.recv(65536):
            received += piece
    answers = received.split(b"HTTP/1.1 ")[1:]
    assert len(answers) == asked.count(b"HTTP/1.1")
    assert int(answers[-1][:3]) == status


def test_who_ends_in_the_midst_of_a_request_is_gone(service: Service) -> None:
    for begun in (post()[:20], post()[:-5]):
        with service.connected() as stream:
            stream.sendall(begun)
            stream.shutdown(socket.SHUT_WR)
            assert stream.recv(10) == b""


def test_an_answer_that_nobody_reads_is_given_up(service: Service) -> None:
    with socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stream.connect(("127.0.0.1", service.port))
        stream.sendall(long_work(120_000))  # its answer is larger than what the system keeps of a connection
        assert stream.recv(1) == b"H"
        wait_until(lambda: service.metric("api_connections") == 1)  # the one that asks
    assert service.metric("api_requests_in_hand") == 0


def test_what_never_becomes_a_request_takes_no_room(service: Service) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    head += b"Sec-WebSocket-Version: 13\r\n"
    for _ in range(3):
        with service.connected() as stream:
            stream.sendall(head + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
            assert answer(stream)[0] == 200  # as if it had not asked for another protocol
    assert service.metric("api_requests_in_hand") == 0


def test_a_body_that_comes_after_its_refusal_is_not_taken_for_the_next_request(service: Service) -> None:
    with service.connected() as stream:
        whole = post("/v2/models/other/infer", body=b"x" * 200_000)
        stream.sendall(whole[:200])
        assert answer(stream)[0] == 404
        stream.sendall(whole[200:] + b"GET /livez HTTP/1.1\r\nHost: api\r\n\r\n")
        assert answer(stream)[0] == 200


@pytest.mark.parametrize(("limit", "rows", "reason"), [("MOST_LARGE", 1_000, "large"), ("MOST_SMALL", 1, "small")])
def test_no_more_bodies_are_in_hand_than_allowed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, limit: str, rows: int, reason: str
) -> None:
    monkeypatch.setattr(admission, limit, 0)
    refused = client.post("/predict/batch", json={"rows": [ROW] * rows})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert f'api_turned_away_total{{reason="{reason}"}} 1.0' in client.get("/metrics").text
    if reason == "large":  # these do not keep single predictions out
        assert client.post("/predict", json=ROW).status_code == 200
    monkeypatch.undo()
    assert client.post("/predict/batch", json={"rows": [ROW] * rows}).status_code == 200


def test_failures_are_logged_and_the_rest_on_request(registry: FakeRegistry, tmp_path: Path) -> None:
    with Service(tmp_path, MLFLOW_TRACKING_URI=registry.uri, API_ACCESS_LOG="true") as service:
        service.wait_listening()
        wait_until(lambda: any(line["event"] == "registry reached" for line in service.events()))
        for headers in ({}, {"X-Request-ID": "mine"}):
            service.http.post("/predict", json=ROW, headers=headers)
        for path in ("/readyz", "/v2/health/ready", "/model"):
            service.http.get(path)
        service.stop()
        lines = service.events()
    failed = [line for line in lines if line["event"] == "request failed"]
    paths = ["/predict", "/predict", "/model"]  # that probes fail before the first model is no news
    assert [(line["path"], line["status"]) for line in failed] == [(path, 503) for path in paths]
    assert failed[1]["request_id"] == "mine"
    assert "carries the alias" in failed[1]["detail"]
    assert {line["path"] for line in lines if line["event"] == "request"} == {"/livez"}
