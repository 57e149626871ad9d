"""A connection of uvicorn's with limits that no middleware can set: on heads, slow clients and their number.

h11 bounds a head by itself. Of uvicorn, this overrides what asyncio calls, `on_response_complete`, and
`send_400_response`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys
import threading
from types import FrameType
from typing import Any, cast

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from rag_service.errors import HeadTooLarge, MalformedRequest, RagError, TooManyConnections, TooSlow, counted
from rag_service.http.problems import document

MOST_HEAD_BYTES = 65_536
_HEAD_SECONDS = 10.0
_SLOWEST_BODY = 65_536  # bytes a second; a client that sends faster has the time that it needs
_CLIENTS_TURN = (h11.IDLE, h11.SEND_BODY)


def server_config(app: FastAPI) -> uvicorn.Config:
    """What uvicorn serves the application with."""
    return uvicorn.Config(
        app,
        http=LimitedConnection,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nothing here depends on who the client is
        timeout_graceful_shutdown=5,
    )


class DrainingServer(uvicorn.Server):
    """After the signal to stop, it accepts no new connections, but keeps answering over open ones for `seconds`, and
    closes each with its answer. A proxy that cannot connect tries the next replica; a request on a kept connection that
    is closed at that moment would be lost."""

    def __init__(self, config: uvicorn.Config, seconds: float) -> None:
        super().__init__(config)
        self._seconds = seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or not self._seconds or not self.started:
            super().handle_exit(sig, frame)
            return
        self.config.encoded_headers.append((b"connection", b"close"))
        for server in self.servers:
            server.get_loop().call_soon_threadsafe(server.close)
        ending = threading.Timer(self._seconds, super().handle_exit, (sig, frame))
        ending.daemon = True
        ending.start()
        self._seconds = 0.0  # told again, it ends at once


class LimitedConnection(H11Protocol):
    """Given to uvicorn as its `http` implementation; the application's state holds the settings."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        settings = self.config.app.state.settings  # type: ignore[union-attr]
        self._most_connections: int = settings.max_connections
        self._seconds: float = settings.request_seconds
        self._since = self.loop.time()  # when the client's turn to send began
        self._sent = 0  # bytes, since then
        self._unread_since: float | None = None  # since when the client does not read its answer
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()
        if len(self.connections) > self._most_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._timer is None:
            return  # it has ended, and what still comes is not read
        self._sent += len(data)
        super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client may half-close after sending a complete request: it is answered first."""
        answering = self.cycle is not None and not (self.cycle.more_body or self.cycle.response_complete)
        if answering:
            self.cycle.keep_alive = False
        return answering

    def on_response_complete(self) -> None:
        self._since, self._sent = self.loop.time(), 0
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Called while h11's error is handled."""
        error = sys.exc_info()[1]
        if getattr(error, "error_status_hint", 400) == 431:
            self.end(HeadTooLarge(MOST_HEAD_BYTES))
        else:
            self.end(MalformedRequest(error or msg))

    def end(self, error: RagError) -> None:
        """Sends the error, unless an answer has begun, and closes the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            request_id = secrets.token_hex(8)
            body = json.dumps(document(error, request_id)).encode()
            head = f"HTTP/1.1 {error.status} {error.title}\r\nContent-Type: application/problem+json\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\nX-Request-ID: {request_id}\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in error.headers.items())
            self.transport.write(f"{head}\r\n".encode() + body)
        if self.cycle is not None:  # what works on the request notices that its client is gone
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.loop.call_later(_HEAD_SECONDS, self.transport.abort)  # if the client does not read that either
        self.transport.close()

    @property
    def client_since(self) -> float | None:
        """Since when the client has had to send or read; None while the service has to answer."""
        if self._unread_since is not None or self._timer is None:
            return self._unread_since
        sending = self.conn.their_state in _CLIENTS_TURN and not self.flow.read_paused
        return self._since if sending else None

    def _make_room(self) -> None:
        """Ends the connection whose client has kept the service waiting longest; if none does, this new one."""
        others = cast("set[LimitedConnection]", self.connections) - {self}
        since = {one: at for one in others if (at := one.client_since) is not None}
        slowest = min(since, key=lambda one: since[one], default=self)
        if slowest is not self and slowest._sent == 0:
            slowest.transport.close()  # idle: an answer that nobody asked for could be taken for the next one
        else:
            slowest.end(TooManyConnections(counted(self._most_connections, "connection")))

    def _look(self) -> None:
        """Ends the connection of a client that does not finish sending, or reading, in time; else looks again."""
        now = self.loop.time()
        self._timer = self.loop.call_later(min(1.0, self._seconds / 4), self._look)
        since = self.client_since
        if since is None:
            self._since, self._sent = now, 0
        elif self._unread_since is not None:
            if now - since > self._seconds:
                self.transport.abort()
        elif now - since > self._allowed():
            self.end(TooSlow())

    def _allowed(self) -> float:
        """The seconds that the client has for its part of the request."""
        if self.conn.their_state is h11.IDLE or self.conn.our_state is h11.DONE:  # or it has its answer already
            return min(_HEAD_SECONDS, self._seconds)
        return self._seconds + self._sent / _SLOWEST_BODY
