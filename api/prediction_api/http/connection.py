"""uvicorn's HTTP protocol with a doorkeeper: it refuses cheaply when all is taken, and ends what clients leave undone.

A refusal here costs a fraction of one from the application, so that they leave the time to those that are served.
"""

import asyncio
import re
from typing import Any, cast

from pydantic_core import to_json

from prediction_api.errors import HeadTooLarge, RequestRefused, TooBusy, TooManyConnections, TooSlow
from prediction_api.http.admission import MOST_WAITING
from prediction_api.http.middleware import REQUEST_ID, SECURITY_HEADERS, problem_content
from prediction_api.http.one_write import GatheringTransport, OneWriteProtocol
from prediction_api.telemetry.prediction_log import id_maker

MOST_CONNECTIONS = 800  # below the 1,024 open files that systems allow a process at first
MOST_HEAD_BYTES = 65_536
MOST_PIPELINED = 256  # on one connection; each takes a kilobyte, and 14,000 fit into one read
KEEP_ALIVE_SECONDS = 5.0
_WHOLE_POST = re.compile(rb"POST /(?!v2)[^\r\n]* HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*?content-length: *(\d{1,5})\r\n", re.I)
_GIVEN_ID = re.compile(rb"\r\nx-request-id: *(" + REQUEST_ID + rb")\r\n", re.I)
_CLOSES = re.compile(rb"\r\nconnection: *close\r\n", re.I)


class DoorProtocol(OneWriteProtocol):
    """Given to uvicorn as its `http` implementation; the application's state holds the doorkeeper."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        state = self.config.app.state  # type: ignore[union-attr]
        self._door, self._slowest = state.door, state.settings.api_request_seconds
        self._began: float | None = None  # when the first byte of a request came that is not answered yet
        self._heard_at = self.loop.time()  # when the last byte came, or an answer was done
        self._answered_at = self._heard_at  # when the last answer was done
        self._deaf_since: float | None = None  # since when the client does not read what it is sent
        self._head_bytes = 0  # of a head that is not whole yet; 0 where none has begun
        self._in_body = False  # from the end of a head to the end of its request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._door.connections = self.connections
        if len(self.connections) > MOST_CONNECTIONS:
            self._end_with(TooManyConnections(f"{MOST_CONNECTIONS} connections are open already"))

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        if self._began is None and not self._in_body:
            if self._door.is_full() and self._refuse_whole(data):
                return
            self._began = self._heard_at
        if not self._in_body:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self._end_with(HeadTooLarge(f"the request's head has more than {MOST_HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        self._head_bytes = self._head_bytes or 1  # it may begin in the midst of what came
        if self._began is None:  # it came together with the rest of a body
            self._began = self._heard_at
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_bytes, self._in_body = 0, True
        if self.transport.is_closing():  # the parser goes on to the end of what came
            return
        if len(self.pipeline) >= MOST_PIPELINED:
            self._end_with(TooBusy(f"{MOST_PIPELINED} requests are waiting on this connection already"))
            return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        # Not where the head is complete: a pipelined request waits for the one before it, and may never begin.
        self._door.arrived(cycle.scope)
        super()._start_asgi_task(cycle, app)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Who has sent whole requests may end their half of the connection: they are answered before ours ends."""
        answering = self._began is not None and not self._in_body and not self._head_bytes
        if answering:
            self.cycle.keep_alive = False
        return answering

    def on_response_complete(self) -> None:
        """In place of uvicorn's: it starts a timer for the silence after each answer, which `end_if_slow` sees too."""
        self._began = self.loop.time() if self.pipeline or self._head_bytes else None
        self._heard_at = self._answered_at = self.loop.time()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def pause_writing(self) -> None:
        self._deaf_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._deaf_since = None
        super().resume_writing()

    def end_if_slow(self, now: float) -> None:
        """Called every second: ends the connection of a client that does not send, or not read, what it has begun."""
        if self.transport.is_closing():
            if now - self._heard_at > self._slowest:  # the rest of the last answer is not read
                self.transport.abort()
        elif self._deaf_since is not None:
            if now - self._deaf_since > self._slowest:
                self.transport.abort()
        elif self._began is None:
            silent = now - self._heard_at > KEEP_ALIVE_SECONDS
            # what is answered before its body is there is read to its end, but not for ever
            if silent or (self._in_body and now - self._answered_at > self._slowest):
                self.transport.close()
        elif self.cycle and self.cycle.response_started and not self.cycle.response_complete:
            if self._is_sending() and now - self._heard_at > self._slowest:
                self.transport.close()
        elif self.flow.read_paused or (self.cycle and self.cycle.waiting_for_100_continue):
            self._began = now  # it is we who do not read: a CSV that waits for its place is not late
        elif self._is_sending() and now - self._began > self._slowest:
            self._end_with(TooSlow(f"the request was not whole after {self._slowest:g} s"))

    def listen_again(self) -> None:
        """After the rest that follows a refusal."""
        self.flow.resume_reading()

    def _is_sending(self) -> bool:
        """The rest of a request is still to come, and it is not we who do not read it."""
        answering = self.cycle is not None and not self.cycle.response_complete
        under_way = self.cycle.more_body if answering else self._head_bytes > 0
        return under_way and not self.flow.read_paused

    def _refuse_whole(self, data: bytes) -> bool:
        """Answers 429 to a request that came in one piece; anything else takes the longer way."""
        match = _WHOLE_POST.match(data)
        head = data.find(b"\r\n\r\n")
        if not match or head + 4 + int(match[1]) != len(data):
            return False
        self._door.refused("queue")
        given = _GIVEN_ID.search(data, 0, head + 2)
        closes = _CLOSES.search(data, 0, head + 2) is not None
        answer = _BUSY.answer(given[1] if given else _new_id().encode(), closes)
        cast("GatheringTransport", self.transport).write_now(answer)
        if closes:
            self.transport.close()
        else:
            self.flow.pause_reading()
            self._door.let_rest(self)
        return True

    def _end_with(self, error: RequestRefused) -> None:
        self._door.refused(error.code())
        self.transport.write(_Canned(error).answer(_new_id().encode(), True))
        self.transport.close()


class _Canned:
    """A problem document as the bytes of a whole answer, but for the request's id."""

    def __init__(self, error: RequestRefused) -> None:
        lines = [f"HTTP/1.1 {error.status} {error.title}", "content-type: application/problem+json"]
        lines += [f"{name.lower()}: {value}" for name, value in error.headers.items()]
        lines += [f"{name.lower()}: {value}" for name, value in SECURITY_HEADERS.items()]
        self._head = "\r\n".join([*lines, "x-request-id: "]).encode()
        self._body = to_json(problem_content(error, "")).removesuffix(b'"}')

    def answer(self, request_id: bytes, closes: bool) -> bytes:
        length = len(self._body) + len(request_id) + 2
        close = b"\r\nconnection: close" if closes else b""
        return b'%b%b\r\ncontent-length: %d%b\r\n\r\n%b%b"}' % (
            self._head, request_id, length, close, self._body, request_id
        )  # fmt: skip


_new_id = id_maker()
_BUSY = _Canned(TooBusy(f"{MOST_WAITING} requests are waiting already"))
