"""Admission control, and limits on connections that no middleware can set, so that one client cannot stop another.

A request that could not be answered in time is refused at once, with 429 and Retry-After. A small body is read before
its request is counted, so a slow sender occupies only a connection. A large body occupies a place while it is received,
because it needs memory or disk; if all places are taken, the client that has been sending for longest loses its place.
Everything but POST (health, metrics, the page) is always admitted.
"""

import asyncio
import math
from collections.abc import Collection, Iterable
from typing import Any, Self, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from prediction_api.errors import HeadTooLarge, MalformedRequest, RequestRefused, TooBusy, TooManyConnections, TooSlow
from prediction_api.http.bodies import announced_length, received
from prediction_api.http.middleware import raw_problem
from prediction_api.telemetry.metrics import Metrics

MOST_SMALL = 128  # under way at once: at 4,000 a second the last one waits 32 ms
MOST_LARGE = 6  # under way at once: two are worked on, the others wait with their bodies in memory
SMALL_BYTES = 20_000  # more than this, or an unknown length, is large
PAUSE_SECONDS = 0.25  # after a 429, its connection is not read for this long: retries must not starve admitted requests
SLOW_SECONDS = 5.0  # after this long, a client that still sends may lose its place to another
MOST_HEAD_BYTES = 65_536
MOST_PIPELINED = 256  # on one connection; each takes a kilobyte, and 14,000 fit into one read
KEEP_ALIVE_SECONDS = 5.0


class AdmissionControl:
    """Plain ASGI middleware around one application: counts what is under way, and refuses a POST without room."""

    def __init__(self, metrics: Metrics) -> None:
        self._app: ASGIApp
        self.small = 0
        self.large: list[LimitedConnection | None] = []  # of each request; a test has no connection
        self.connections: Collection[LimitedConnection] = ()  # the server's own set, once it has one
        self.turned_away = metrics.turned_away
        metrics.in_hand.set_function(lambda: self.small + len(self.large))
        metrics.connections.set_function(lambda: len(self.connections))

    async def end_slow_connections(self, every_seconds: float) -> None:
        """Looks at all connections for ever; each knows whether its client is too slow."""
        while True:
            await asyncio.sleep(every_seconds)
            now = asyncio.get_running_loop().time()
            for connection in list(self.connections):
                connection.end_if_slow(now)

    def around(self, app: ASGIApp) -> Self:
        self._app = app
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        length = announced_length(scope)
        if length is not None and length <= SMALL_BYTES:
            await self._small(scope, receive, send)
        else:
            await self._large(scope, receive, send)

    async def _small(self, scope: Scope, receive: Receive, send: Send) -> None:
        whole: list[Message] = [{"type": "http.request", "body": await received(receive, SMALL_BYTES)}]

        async def receive_again() -> Message:
            return whole.pop() if whole else await receive()

        if self.small >= MOST_SMALL:
            raise self._too_busy(scope, "small", f"{MOST_SMALL} requests are already in progress")
        self.small += 1
        try:
            await self._app(scope, receive_again, send)
        finally:
            self.small -= 1

    async def _large(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope["state"].get("connection")
        if len(self.large) >= MOST_LARGE:
            slow = _slowest(self.large, before=asyncio.get_running_loop().time() - SLOW_SECONDS)
            if slow is None:
                raise self._too_busy(scope, "large", f"{MOST_LARGE} large bodies are already in progress")
            self.large.remove(slow)
            slow.end(TooSlow("another request needed the place, and this one was slow to arrive"))
        self.large.append(connection)
        try:
            await self._app(scope, receive, send)
        finally:
            if connection in self.large:  # it has not lost its place
                self.large.remove(connection)

    def _too_busy(self, scope: Scope, reason: str, detail: str) -> TooBusy:
        self.turned_away.labels(reason).inc()
        if connection := scope["state"].get("connection"):
            connection.pause(PAUSE_SECONDS)
        return TooBusy(detail)


class LimitedConnection(HttpToolsProtocol):
    """Given to uvicorn as its `http` implementation; the application's state holds settings and admission control.

    It overrides what asyncio and httptools call by their own documentation, and of uvicorn `on_response_complete` and
    `send_400_response`.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        state = self.config.app.state  # type: ignore[union-attr]
        self._control, settings = state.admission, state.catalog.settings
        self._slowest, self._most_connections = settings.request_seconds, settings.max_connections
        self._began: float | None = None  # when the first byte of a request came that is not answered yet
        self._heard_at = self.loop.time()  # when the last byte came of such a request, or its answer was complete
        self._unread_since: float | None = None  # since when the client does not read its answer
        self._head_bytes = 0  # of a head that is not complete; 0 where none has begun
        self._in_body = False  # from the end of a head to the end of its request
        self._paused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connections = self._control.connections = cast("set[LimitedConnection]", self.connections)
        if len(connections) <= self._most_connections:
            return
        if slowest := _slowest(connections - {self}):
            slowest._give_up(TooManyConnections("the connection was needed for another client, and this one was slow"))
        else:
            self.end(TooManyConnections(f"{self._most_connections} connections are open already"))

    def data_received(self, data: bytes) -> None:
        now = self.loop.time()
        if not self._in_body:
            if self._began is None:
                self._began = now
            self._head_bytes += len(data)
        if self._began is not None:  # else it is the rest of a body that was answered already
            self._heard_at = now
        super().data_received(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self.end(HeadTooLarge(f"the request's head has more than {MOST_HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        self._head_bytes = self._head_bytes or 1  # it may begin within the bytes that came
        if self._began is None:  # it came together with the rest of a body
            self._began = self.loop.time()
        super().on_message_begin()
        self.scope["state"]["connection"] = self

    def on_headers_complete(self) -> None:
        self._head_bytes, self._in_body = 0, True
        if self.transport.is_closing():  # the parser continues to the end of what came
            return
        if len(self.pipeline) >= MOST_PIPELINED:
            self.end(TooBusy(f"{MOST_PIPELINED} requests are waiting on this connection already"))
            return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client may half-close after sending complete requests: they are answered before our half is closed."""
        answering = self._began is not None and not self._in_body and not self._head_bytes
        if answering:
            self.cycle.keep_alive = False
        return answering

    def on_response_complete(self) -> None:
        self._heard_at = self.loop.time()
        self._began = self._heard_at if self.pipeline or self._head_bytes else None
        super().on_response_complete()
        if self._paused:
            self.flow.pause_reading()

    def send_400_response(self, msg: str) -> None:
        self.end(MalformedRequest(msg.removesuffix(".")))

    def pause_writing(self) -> None:
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()

    @property
    def client_since(self) -> float | None:
        """Since when the client has had to send or read; None while the service has to, or the connection ends."""
        if self.transport.is_closing():
            return None
        if self._unread_since is not None:
            return self._unread_since
        if self._began is None:
            return self._heard_at
        answering = self.cycle is not None and not self.cycle.response_complete
        under_way = self.cycle.more_body if answering else self._head_bytes > 0
        not_read = self.flow.read_paused or (answering and self.cycle.waiting_for_100_continue)
        return self._began if under_way and not not_read else None

    def end_if_slow(self, now: float) -> None:
        """Called every second: ends the connection of a client that does not finish sending, or reading, in time."""
        since = self.client_since
        idle = self._began is None and self._unread_since is None and not self._in_body
        if self.transport.is_closing():
            if now - self._heard_at > self._slowest:  # the rest of the last answer is not read
                self.transport.abort()
        elif since is None:
            self._began = now  # a CSV that waits for its place, so that the service does not read it, is not late
        elif now - since > (KEEP_ALIVE_SECONDS if idle else self._slowest):
            self._give_up(TooSlow(f"the request was not complete after {self._slowest:g} s"))

    def pause(self, seconds: float) -> None:
        """Reads nothing more from this client for a moment, from the end of the answer on."""
        self._paused = True
        self.loop.call_later(seconds, self._read_again)

    def _read_again(self) -> None:
        self._paused = False
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def end(self, error: RequestRefused) -> None:
        """Sends the error, unless an answer has begun, and closes the connection."""
        self._control.turned_away.labels(error.code()).inc()
        if not (self.cycle and self.cycle.response_started and not self.cycle.response_complete):
            self.transport.write(raw_problem(error))
        self.transport.close()

    def _give_up(self, error: RequestRefused) -> None:
        """Ends the connection as its client, who keeps it waiting, can take it."""
        if self._unread_since is not None:
            self.transport.abort()
        elif self._began is None:
            self.transport.close()  # idle: an answer that nobody asked for could be taken for the next one
        else:
            self.end(error)


def _slowest(connections: Iterable[LimitedConnection | None], before: float = math.inf) -> LimitedConnection | None:
    """The one whose client has had to send or read for longest, and since before this moment."""
    since = {one: at for one in connections if one and (at := one.client_since) is not None and at < before}
    return min(since, key=lambda one: since[one], default=None)
