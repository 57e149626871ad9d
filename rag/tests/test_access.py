"""Whose calls are answered: hosts, pages of other sites, keys, and connections that would keep others out."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from test_command import served
from test_service import problem

from rag_service.__main__ import main
from rag_service.app import create_app
from rag_service.errors import BadSettings
from rag_service.http.keys import read_keys
from rag_service.settings import Settings

ALL, READER, ONE = "4fb19e5c0d27a863-all", "91ce7a3b5d8e2f40-reader", "c83d5b7e9f1a2046-one"
KEYS = f"# the service's own\n{ALL}\n\n{READER} read\n{ONE} write wine, cellar notes\n"
WINE = b"Sulphur dioxide keeps wine from browning."
PLANTED = {"files": ("planted.txt", b"Send your money to me.")}

Front = Callable[..., TestClient]


@pytest.fixture
def front(client: TestClient, settings: Settings) -> Iterator[Front]:
    """Makes clients of the running service, each with a front of its own settings."""

    def make(host: str = "127.0.0.1", **different: Any) -> TestClient:
        app = create_app(settings.model_copy(update={"allowed_hosts": "", **different}))
        app.state.service, app.state.first_use = client.app.state.service, None  # type: ignore[attr-defined]
        return TestClient(app, base_url=f"http://{host}", raise_server_exceptions=False)

    yield make
    for document in client.get("/documents").json()["documents"]:
        client.delete(f"/documents/{document['id']}", params={"collection": document["collection"]})


def documents(client: TestClient) -> list[str]:
    return [document["name"] for document in client.get("/documents").json()["documents"]]


@pytest.mark.parametrize("host", ["localhost:8001", "127.0.0.1", "[::1]:8001", "rag:8001", "LOCALHOST.", "192.168.1.7"])
def test_a_name_of_this_machine_or_an_address_is_answered(host: str, front: Front) -> None:
    assert front().get("/collections", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example", "", "a@127.0.0.1"])
def test_a_name_that_was_made_to_point_here_reads_and_deletes_nothing(host: str, front: Front) -> None:
    refused = problem(front().get("/documents", headers={"Host": host}), 421)
    assert "RAG_ALLOWED_HOSTS" in refused["hint"]
    problem(front().delete("/documents/x", headers={"Host": host}), 421)


def test_names_can_be_allowed(front: Front) -> None:
    allowed = front(allowed_hosts="docs.example.org, *.lan")

    assert allowed.get("/collections", headers={"Host": "docs.example.org"}).status_code == 200
    assert allowed.get("/collections", headers={"Host": "box.lan:8001"}).status_code == 200
    problem(allowed.get("/collections", headers={"Host": "example.org"}), 421)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "https://127.0.0.1.evil.example"]
)
def test_a_form_of_another_site_plants_nothing(origin: str, front: Front) -> None:
    """Over plain HTTP under a name a browser sends no Sec-Fetch-Site, and always an Origin."""
    refused = problem(front().post("/documents", files=PLANTED, headers={"Origin": origin}), 403)

    assert refused["detail"].startswith("The request was sent by a page")
    assert origin == "null" or f"at {origin!r}, which is another site." in refused["detail"]
    assert "RAG_ALLOWED_HOSTS" in refused["hint"]
    problem(front().post("/reindex", headers={"Origin": origin}), 403)
    assert documents(front()) == []


def test_the_services_own_page_may_add_documents_also_behind_a_proxy(front: Front) -> None:
    own = front().post("/documents", files={"files": ("a.txt", WINE)}, headers={"Origin": "http://127.0.0.1"})
    proxied = front(allowed_hosts="docs.example.org").post(
        "/documents", files={"files": ("b.txt", WINE)}, headers={"Origin": "https://docs.example.org"}
    )

    assert (own.status_code, proxied.status_code) == (200, 200)


def keys_in(folder: Path, text: str = KEYS) -> Path:
    file = folder / "keys.txt"
    file.write_text(text)
    return file


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_with_keys_only_health_and_the_page_are_open(front: Front, tmp_path: Path) -> None:
    closed = front(api_key_file=keys_in(tmp_path))

    for path in ("/livez", "/readyz", "/", "/pages/app.js"):
        assert closed.get(path).status_code == 200, path
    for path in ("/documents", "/metrics", "/docs", "/v1/models", "/nowhere"):
        assert closed.get(path).status_code == 401, path
    refused = closed.post("/ask", json={"question": "x"}, headers=bearer(ALL + "x"))
    assert problem(refused, 401)
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert closed.get("/documents", headers={"X-API-Key": ALL}).status_code == 200
    assert closed.get("/documents", headers=bearer(ALL)).status_code == 200


def test_a_key_for_reading_changes_nothing(front: Front, tmp_path: Path) -> None:
    closed = front(api_key_file=keys_in(tmp_path))
    closed.headers.update(bearer(READER))

    assert closed.post("/search", json={"query": "x", "collection": "none"}).status_code == 404  # let through
    for call in (
        ("POST", "/documents"),
        ("DELETE", "/documents/x"),
        ("POST", "/reindex"),
        ("POST", "/collections/x/next"),
    ):
        problem(closed.request(*call), 403)


def test_a_key_for_some_collections_sees_and_changes_those_alone(front: Front, tmp_path: Path) -> None:
    everything, one = front(api_key_file=keys_in(tmp_path)), front(api_key_file=keys_in(tmp_path))
    everything.headers.update(bearer(ALL))
    one.headers.update(bearer(ONE))
    for collection in ("wine", "secrets", "a secret"):
        added = everything.post("/documents", files={"files": ("a.txt", WINE)}, data={"collection": collection})
        assert added.status_code == 200

    assert [found["name"] for found in one.get("/collections").json()["collections"]] == ["wine"]
    assert [found["collection"] for found in one.get("/documents").json()["documents"]] == ["wine"]
    assert [found["id"] for found in one.get("/v1/models").json()["data"]] == ["wine"]
    assert one.post("/ask", json={"question": "What keeps wine?", "collection": "wine"}).status_code == 200
    assert "secrets" not in one.post("/ask", json={"question": "x", "collection": "cellar notes"}).text
    first = one.get("/documents", params={"limit": 1}).json()
    assert ([found["collection"] for found in first["documents"]], first["next"]) == (["wine"], "wine/a.txt")
    there = {"collection": "secrets"}
    asked = {"model": "secrets", "messages": [{"role": "user", "content": "x"}]}
    for response in (
        one.post("/ask", json={"question": "x", **there}),
        one.post("/ask", json={"question": "x", **there}, headers={"Accept": "text/event-stream"}),
        one.post("/search", json={"query": "x", **there}),
        one.post("/documents", files=PLANTED, data=there),
        one.get("/documents", params=there),
        one.get(f"/documents/{'0' * 16}", params=there),
        one.delete(f"/documents/{'0' * 16}", params=there),
        one.post("/evaluations", json=there),
        one.get("/jobs"),
        one.post("/collections/secrets/next"),
        one.delete("/collections/secrets"),
        one.post("/reindex"),
        one.get("/metrics"),
    ):
        problem(response, 403)
    assert one.post("/v1/chat/completions", json=asked).status_code == 403
    assert one.get("/v1/models/secrets").status_code == 403


def test_every_call_is_for_a_key_or_known_to_be_open(front: Front, tmp_path: Path) -> None:
    """A new route cannot be forgotten: what is not listed needs a key, and one for all collections."""
    closed = front(api_key_file=keys_in(tmp_path))
    paths = {path: list(calls) for path, calls in closed.app.openapi()["paths"].items()}  # type: ignore[attr-defined]
    open_paths = {
        path
        for path, [method, *_] in paths.items()
        if closed.request(method, path.replace("{", "").replace("}", "")).status_code != 401
    }

    assert open_paths == {"/livez", "/readyz"}


def test_keys_are_exchanged_without_a_restart(front: Front, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = keys_in(tmp_path, ALL)
    closed = front(api_key_file=file)

    file.write_text(f"{ALL}\n{READER}\n")
    assert closed.get("/documents", headers=bearer(READER)).status_code == 200
    file.write_text("short\n")
    assert closed.get("/documents", headers=bearer(READER)).status_code == 200
    assert "the old ones stay valid" in caplog.text
    file.write_text(READER)
    assert closed.get("/documents", headers=bearer(ALL)).status_code == 401


def test_the_command_line_sends_the_first_key(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = keys_in(tmp_path)
    document = tmp_path / "a.txt"
    document.write_bytes(WINE)
    with served(settings.model_copy(update={"api_key_file": file, "data_dir": tmp_path / "data"})) as port:
        command = ["ingest", str(document), "--url", f"http://127.0.0.1:{port}"]
        assert main(command) == 1
        assert "no valid key" in capsys.readouterr().err
        monkeypatch.setenv("RAG_API_KEY_FILE", str(file))
        assert main(command) == 0


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("0123456789abcdef", "20 characters"),
        ("a" * 40, "different"),
        ("changeme-0123456789abcdef", "guessed"),
        (f"{ALL} admin", "'admin'"),
        (f"{ALL}\n{ALL} read", "twice"),
        ("# nothing", "no key"),
    ],
)
def test_a_key_that_is_no_good_is_refused_at_the_start_without_being_shown(line: str, named: str) -> None:
    with pytest.raises(BadSettings) as raised:
        read_keys(line, "keys.txt")

    assert named in raised.value.detail
    assert line.split()[0] not in raised.value.detail


BAD = "\ud800"  # half a character
PART = {"type": "text", "text": BAD}


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", "/ask", {"question": BAD}),
        ("POST", "/ask", {"question": "x", "collection": BAD}),
        ("POST", "/ask", {"question": "x", "documents": [BAD]}),
        ("POST", "/search", {"query": f"x{BAD}"}),
        ("POST", "/evaluations", {"gate": {BAD: 1}}),
        ("POST", "/v1/chat/completions", {"model": BAD, "messages": [{"role": "user", "content": "x"}]}),
        ("POST", "/v1/chat/completions", {"model": "x", "messages": [{"role": "user", "content": f"x{BAD}"}]}),
        ("POST", "/v1/chat/completions", {"model": "x", "messages": [{"role": "user", "content": [PART]}]}),
    ],
)  # fmt: skip
def test_half_a_character_is_what_was_wrong_not_a_fault(
    method: str, path: str, content: dict[str, Any], front: Front
) -> None:
    response = front().request(method, path, content=json.dumps(content), headers={"Content-Type": "application/json"})

    assert response.status_code in (400, 422), response.text


def test_half_a_character_in_a_name_of_a_file_or_a_path_is_no_fault(front: Front) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="\xed\xa0\x80.txt"\r\n\r\nWine.\r\n--b--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}

    assert front().post("/documents", content=body, headers=kind).status_code < 500
    assert front().get("/documents/%ED%A0%80").status_code == 404
    assert front().get("/documents?collection=%ED%A0%80").status_code == 422
    assert front().post("/collections/%ED%A0%80/next").status_code in (404, 422)


# ---- connections ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def port(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A service that gives clients half a second, and takes ten connections."""
    different = {"request_seconds": 0.5, "max_connections": 10, "data_dir": tmp_path_factory.mktemp("slow")}
    with served(settings.model_copy(update=different)) as found:
        yield found


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def answer(connection: socket.socket) -> bytes:
    """All that comes until the service closes."""
    received = b""
    while block := connection.recv(65536):
        received += block
    return received


def exchange(port: int, sent: bytes) -> bytes:
    with closing(connected(port)) as connection:
        connection.sendall(sent)
        return answer(connection)


def test_a_head_without_end_is_refused_and_not_kept(port: int) -> None:
    with closing(connected(port)) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000)
        received = answer(connection)

    assert received.startswith(b"HTTP/1.1 431 ")
    body = json.loads(received.partition(b"\r\n\r\n")[2])
    assert (body["status"], body["title"]) == (431, "Request head too large")
    assert body["request_id"].encode() in received.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    "sent",
    [
        *(
            b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n"
            for length in (b"9" * 5000, b"-1", b"1e3", "١".encode())
        ),
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello over TLS\r\n\r\n",
        b"POST /ask HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_400_and_the_end(sent: bytes, port: int) -> None:
    assert exchange(port, sent).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /livez HTTP/1.1\r\nHost: loc",
        b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    ],
)
def test_who_does_not_finish_sending_is_ended(sent: bytes, port: int) -> None:
    assert exchange(port, sent).startswith(b"HTTP/1.1 408 ")


def test_who_was_answered_before_the_body_came_is_ended_too(port: int) -> None:
    head = b"POST /ask HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 99\r\n\r\n{"
    assert exchange(port, head).startswith(b"HTTP/1.1 421 ")


def test_a_silent_connection_is_ended(port: int) -> None:
    assert exchange(port, b"").startswith(b"HTTP/1.1 408 ")


def test_more_connections_than_are_kept_do_not_keep_others_out(settings: Settings, tmp_path: Path) -> None:
    head = b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
    different = {"max_connections": 10, "data_dir": tmp_path}
    with served(settings.model_copy(update=different)) as port, ExitStack() as opened:
        slow = [opened.enter_context(closing(connected(port))) for _ in range(10)]
        for one in slow:
            one.sendall(head + b"Expect: 100-continue\r\n\r\n")
            assert one.recv(100).startswith(b"HTTP/1.1 100 ")
        for _ in range(4):
            opened.enter_context(closing(connected(port)))

        assert b"200 OK" in exchange(port, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answer(slow[0]).startswith(b"HTTP/1.1 429 ")


def test_a_client_may_half_close_after_its_request(port: int) -> None:
    with closing(connected(port)) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")  # takes a while to be made
        connection.shutdown(socket.SHUT_WR)
        assert b'"paths"' in answer(connection)
