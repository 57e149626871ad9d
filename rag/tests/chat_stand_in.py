"""A stand-in for a server that speaks OpenAI's chat completions, which does what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[["Reply"], None]


class Reply(BaseHTTPRequestHandler):
    """One request's connection, for a script to answer on. `server.over` is set when the test ends."""

    def do_POST(self) -> None:
        server: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.requests.append((dict(self.headers), body))
        scripts = server.scripts
        (scripts.pop(0) if len(scripts) > 1 else scripts[0])(self)

    def head(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, raw: str | bytes) -> None:
        self.wfile.write(raw.encode() if isinstance(raw, str) else raw)
        self.wfile.flush()

    def text(self, piece: str) -> None:
        """A chunk with a piece of the answer."""
        self.send(f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': piece}}]})}\n\n")

    def stop(self, reason: str | None = "stop") -> None:
        self.send(f"data: {json.dumps({'choices': [{'index': 0, 'delta': {}, 'finish_reason': reason}]})}\n\n")

    def wait(self) -> None:
        """Until the test is over."""
        server: Any = self.server
        server.over.wait(30)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class StandIn:
    """`requests`: the head and body of each."""

    def __init__(self, server: Any) -> None:
        self.port: int = server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = server.requests


@contextmanager
def stand_in(*scripts: Script) -> Iterator[StandIn]:
    """Answers the requests by the scripts in turn, and the rest by the last one."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Reply) as server:
        server.daemon_threads = True
        server.requests, server.scripts, server.over = [], list(scripts), threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield StandIn(server)
        finally:
            server.over.set()  # type: ignore[attr-defined]
            server.shutdown()
            thread.join()


def says(pieces: Sequence[str], reason: str | None = "stop") -> Script:
    """Streams the pieces as every server does."""

    def script(reply: Reply) -> None:
        reply.head(Content_Type="text/event-stream")
        for piece in pieces:
            reply.text(piece)
        reply.stop(reason)
        reply.send("data: [DONE]\n\n")

    return script
