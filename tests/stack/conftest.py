"""Where the drivers are, and a helper that makes small programs for them to drive."""

import json
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from servers import held_port

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "airflow")]

from stack.processes import Program
from stack.settings import PORTS


@pytest.fixture
def ports() -> Iterator[dict[str, str]]:
    """The variables that give each program a free port, held until the test ends."""
    with ExitStack() as held:
        yield {f"{name.upper()}_PORT": str(held.enter_context(held_port())) for name in PORTS}


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Program]:
    """A program that runs the given Python source, with its log in the test's folder."""

    def make(source: str, name: str = "probe", health: str | None = None) -> Program:
        command = [sys.executable, "-u", "-c", source]
        return Program(name, command, {"PATH": "/usr/bin:/bin"}, tmp_path, tmp_path / f"{name}.log", health)

    return make


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a `docker` on PATH; called with what it answers by the word that is in its arguments, gives its call log."""

    def install(answers: dict[str, str]) -> Path:
        calls = tmp_path / "docker-calls"
        cases = "\n".join(f"  *'{word}'*) cat <<'END'\n{text}\nEND\n;;" for word, text in answers.items())
        fake = tmp_path / "docker"
        fake.write_text(
            f'#!/bin/sh\necho "$@" >> {calls}\ncase "$*" in\n{cases}\n*) echo "no $1" >&2; exit 5;;\nesac\n'
        )
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return calls

    return install


@pytest.fixture
def json_server() -> Iterator[Callable[..., str]]:
    """A real HTTP server that answers as the test says; called with `{"GET /path": (status, content)}`, returns its
    address.

    A list of pairs is answered one after the other, the last one for good. `requests` collects what was asked; with a
    `certificate` (PEM, key and all) it speaks TLS.
    """
    servers: list[ThreadingHTTPServer] = []

    def start(
        answers: dict[str, object], requests: list[tuple[str, str]] | None = None, certificate: Path | None = None
    ) -> str:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
                key = f"{self.command} {self.path.split('?')[0]}"
                if requests is not None:
                    requests.append((key, body))
                found = answers.get(key, (404, {"title": "Not found", "detail": key, "hint": "none"}))
                if isinstance(found, list):
                    found = found.pop(0) if len(found) > 1 else found[0]
                status, content = found  # type: ignore[misc]
                data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                """Nothing: the tests say what matters."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
