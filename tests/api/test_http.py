"""What HTTP asks of a server: host names, origins, HEAD, lengths, half-closed connections, and too many of them."""

import json
import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest
from conftest import started, wait_until
from fastapi.testclient import TestClient
from model_files import regression_model
from prediction_api.http import admission
from prediction_api.settings import Settings
from registry_server import FakeRegistry
from service_process import Service, wine_service
from service_thread import serving

ROW = {"fixed_acidity": 8.0, "alcohol": 9.0, "type": "white"}
HEALTH = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
MOST_CONNECTIONS = 20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with wine_service(tmp_path_factory.mktemp("service"), {"max_connections": MOST_CONNECTIONS}) as service:
        yield service


def everything(stream: socket.socket) -> bytes:
    """What comes until the other side closes."""
    received = b""
    while part := stream.recv(65536):
        received += part
    return received


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "a b", "", "u@localhost"],
)
def test_a_name_that_is_not_ours_is_refused_on_every_call(shared: TestClient, host: str) -> None:
    for path in ("/livez", "/", "/docs", "/metrics", "/pages/style.css", "/livez/", "/nowhere"):
        refused = shared.get(path, headers={"Host": host}, follow_redirects=False)
        assert (refused.status_code, refused.json()["type"]) == (421, "/docs#error-unknown-host")
        assert "API_ALLOWED_HOSTS" in refused.json()["hint"]
        assert "location" not in refused.headers
    assert shared.post("/predict", json=ROW, headers={"Host": host}).status_code == 421


def test_addresses_and_own_names_are_answered(settings: Settings) -> None:
    own = ("api:8000", "models.example.org", "a.b.example.net")
    with started(settings, api_allowed_hosts="models.example.org, *.example.net") as client:
        for host in ("localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:81", "192.168.7.9", "[::1]:8000", *own):
            assert client.get("/livez", headers={"Host": host}).status_code == 200, host
        assert client.get("/livez", headers={"Host": "example.net"}).status_code == 421


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200), ("http://testserver", 200), ("https://testserver", 200), ("http://evil.example", 403),
        ("http://testserver:81", 200), ("http://127.0.0.1:3000", 403), ("null", 403), ("http://testserver.evil", 403),
    ],
)  # fmt: skip
def test_pages_of_other_sites_change_nothing(shared: TestClient, origin: str | None, status: int) -> None:
    headers = {"Origin": origin} if origin else {}
    answer = shared.post("/predict", json=ROW, headers=headers)
    assert answer.status_code == status
    assert status == 200 or answer.json()["type"] == "/docs#error-foreign-origin"
    assert shared.get("/livez", headers=headers).status_code == 200  # a browser keeps the answer from that page


def test_no_answer_redirects(shared: TestClient) -> None:
    for path in ("/livez/", "/docs/", "/pages", "/predict/"):
        answer = shared.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers.get("location")) == (404, None)


@pytest.mark.parametrize(
    "head",
    [
        "GET /livez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {'0' * 4_999}5\r\n\r\n12345",
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {'9' * 5_000}\r\n\r\n",
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
        "nonsense\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_malformed_request(service: Service, head: str) -> None:
    with service.connected() as stream:
        stream.sendall(head.encode())
        stream.shutdown(socket.SHUT_WR)
        answer = everything(stream)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "/docs#error-malformed-request"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v2/health/ready", "/docs", "/pages/style.css", "/nowhere"])
def test_head_is_get_without_the_body(service: Service, path: str) -> None:
    got, head = (service.http.request(method, path) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == str(len(got.content))


def test_head_says_that_no_model_is_loaded(settings: Settings) -> None:
    with started(settings) as client:
        for path, status in (("/livez", 200), ("/readyz", 503), ("/v2/health/ready", 503)):
            answer = client.head(path)
            assert (answer.status_code, answer.content) == (status, b"")


def test_a_half_closed_get_is_answered(service: Service) -> None:
    for _ in range(50):
        with service.connected() as stream:
            stream.sendall(HEALTH)
            stream.shutdown(socket.SHUT_WR)
            answer = everything(stream)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"}")


@pytest.mark.parametrize(
    "begun", [b"GET /li", b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", b""]
)
def test_health_answers_while_slow_and_idle_clients_hold_every_connection(service: Service, begun: bytes) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(service.connected()) for _ in range(MOST_CONNECTIONS)]
        for stream in slow:
            stream.sendall(begun)
        for number in range(5):
            with service.connected() as health:
                health.sendall(HEALTH)
                assert health.recv(12) == b"HTTP/1.1 200", number
        [first, *_], _, _ = select.select(slow, [], [], 60)
        ended = everything(first)
        assert ended.startswith(b"HTTP/1.1 429 ") if begun else ended == b""
    service.predict(ROW)


@pytest.fixture
def own(registry: FakeRegistry, settings: Settings) -> Iterator[httpx.Client]:
    """Asks a service of the test's own, in a thread."""
    registry.add(regression_model())
    with serving(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        wait_until(lambda: client.get("/readyz").is_success)
        yield client


def connected(client: httpx.Client) -> socket.socket:
    """Another connection to the service that is asked."""
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=60)


def test_clients_that_send_a_small_body_slowly_take_no_place(own: httpx.Client) -> None:
    with ExitStack() as stack:
        for _ in range(300):
            stream = stack.enter_context(connected(own))
            stream.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{")
        wait_until(lambda: "api_connections 301.0" in own.get("/metrics").text)
        assert own.post("/predict", json=ROW).status_code == 200


def test_clients_that_send_large_bodies_slowly_lose_their_places(
    own: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "SLOW_SECONDS", 0.5)
    with ExitStack() as stack:
        for _ in range(6):
            stream = stack.enter_context(connected(own))
            stream.sendall(b"POST /predict/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
            stream.sendall(b"Content-Length: 2000000\r\n\r\n{")
        wait_until(lambda: "api_requests_in_hand 6.0" in own.get("/metrics").text)

        def served() -> bool:
            answer = own.post("/predict/batch", json={"rows": [ROW] * 1_000})
            assert answer.status_code in (200, 429)
            return answer.status_code == 200

        wait_until(served)


def test_a_table_that_waits_for_its_place_is_not_late(tmp_path: Path) -> None:
    table = b"fixed acidity,alcohol,type\n" + b"8,9,red\n" * 40_000
    with wine_service(tmp_path, {"request_seconds": 1}) as service, ThreadPoolExecutor(4) as pool:
        headers = {"Content-Type": "text/csv"}
        batch = partial(service.http.post, "/predict/batch", content=table, headers=headers, timeout=600)
        answers = [pool.submit(batch) for _ in range(4)]
        assert [answer.result().status_code for answer in answers] == [200] * 4
