"""A connection of uvicorn's with limits that no middleware can set: on heads, slow clients and their number.

It overrides what asyncio and httptools call by their own documentation, and of uvicorn `on_response_complete` and
`send_400_response`.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from prediction_api.errors import HeadTooLarge, MalformedRequest, RequestRefused, TooBusy, TooManyConnections, TooSlow
from prediction_api.http.problems import raw_problem
from prediction_api.telemetry.prediction_log import new_id

MOST_HEAD_BYTES = 65_536
MOST_PIPELINED = 256  # on one connection; each takes a kilobyte, and 14,000 fit into one read
KEEP_ALIVE_SECONDS = 5.0


class LimitedConnection(HttpToolsProtocol):
    """Given to uvicorn as its `http` implementation; the application's state holds settings and admission control."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        state = self.config.app.state  # type: ignore[union-attr]
        self._control, settings = state.admission, state.catalog.settings
        self._slowest, self._most_connections = settings.api_request_seconds, settings.api_max_connections
        self._began: float | None = None  # when the first byte of a request came that is not answered yet
        self._heard_at = self.loop.time()  # when the last byte came, or the last answer was complete
        self._answered_at = self._heard_at  # when the last answer was complete
        self._unread_since: float | None = None  # since when the client does not read its answer
        self._head_bytes = 0  # of a head that is not complete; 0 where none has begun
        self._in_body = False  # from the end of a head to the end of its request
        self._paused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._control.connections = self.connections
        if len(self.connections) > self._most_connections:
            self._make_room()

    def _make_room(self) -> None:
        """Ends the connection whose client has kept the service waiting longest; if none does, this new one."""
        connections = cast("set[LimitedConnection]", self.connections)
        since = {one: at for one in connections if one is not self and (at := one.client_since) is not None}
        if not since:
            self.end(TooManyConnections(f"{self._most_connections} connections are open already"))
            return
        slowest = min(since, key=lambda one: since[one])
        if slowest._unread_since is not None:
            slowest.transport.abort()
        elif slowest._began is None:
            slowest.transport.close()  # idle: an answer that nobody asked for could be taken for the next one
        else:
            slowest.end(TooManyConnections("the connection was needed for another client, and this one was slow"))

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        if not self._in_body:
            if self._began is None:
                self._began = self._heard_at
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self.end(HeadTooLarge(f"the request's head has more than {MOST_HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        self._head_bytes = self._head_bytes or 1  # it may begin within the bytes that came
        if self._began is None:  # it came together with the rest of a body
            self._began = self._heard_at
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
        self._began = self.loop.time() if self.pipeline or self._head_bytes else None
        self._heard_at = self._answered_at = self.loop.time()
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
        """Since when the client has had to send or read; None while the service has to answer."""
        if self.transport.is_closing():
            return None  # it ends already
        if self._unread_since is not None:
            return self._unread_since
        if self._began is None:
            return self._heard_at
        return self._began if self._is_sending() else None

    def end_if_slow(self, now: float) -> None:
        """Called every second: ends the connection of a client that does not finish sending, or reading, in time."""
        if self.transport.is_closing():
            if now - self._heard_at > self._slowest:  # the rest of the last answer is not read
                self.transport.abort()
        elif self._unread_since is not None:
            if now - self._unread_since > self._slowest:
                self.transport.abort()
        elif self._began is None:
            silent = now - self._heard_at > KEEP_ALIVE_SECONDS
            # what is answered before its body has come is read to its end, but not for ever
            if silent or (self._in_body and now - self._answered_at > self._slowest):
                self.transport.close()
        elif self.cycle and self.cycle.response_started and not self.cycle.response_complete:
            if self._is_sending() and now - self._heard_at > self._slowest:
                self.transport.close()
        elif self.flow.read_paused or (self.cycle and self.cycle.waiting_for_100_continue):
            self._began = now  # the service does not read: a CSV that waits for its place is not late
        elif self._is_sending() and now - self._began > self._slowest:
            self.end(TooSlow(f"the request was not complete after {self._slowest:g} s"))

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
        self._control.turned_away(error.code())
        if not (self.cycle and self.cycle.response_started and not self.cycle.response_complete):
            self.transport.write(raw_problem(error, new_id()))
        self.transport.close()

    def _is_sending(self) -> bool:
        """The rest of a request is still to come, and the service reads."""
        answering = self.cycle is not None and not self.cycle.response_complete
        under_way = self.cycle.more_body if answering else self._head_bytes > 0
        return under_way and not self.flow.read_paused
