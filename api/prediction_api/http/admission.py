"""Who is let in: what could only be answered late is refused at once, before its body is read.

Requests that predict one row run on the event loop one after the other, so the queue to bound is that of requests that
have arrived and not begun; larger bodies are worked on in threads, and what is to be bounded there is memory.
Everything but POST (health, metrics, the page) is always let in.
"""

import asyncio
from collections import deque
from collections.abc import Set
from typing import Protocol

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from prediction_api.errors import TooBusy
from prediction_api.http.middleware import header_of, problem_of
from prediction_api.telemetry.metrics import Metrics

MOST_WAITING = 64  # at 4,000 a second the last of them waits 16 ms
REST_SECONDS = 0.03  # who was refused is not heard for so long: at once again, it would take the time of those served
MOST_SMALL = 256  # in hand at once: clients that send slowly
MOST_LARGE = 6  # in hand at once: two are worked on, the others wait with their bodies in memory
SMALL_BYTES = 20_000  # more than this, or an unknown length, is large


class Connection(Protocol):
    """What the doorkeeper knows of the server's protocol."""

    def end_if_slow(self, now: float) -> None: ...

    def listen_again(self) -> None: ...


class Doorkeeper:
    """Counts for the whole process. The server's protocol calls `arrived`, the middleware `begun`."""

    def __init__(self, metrics: Metrics) -> None:
        self.waiting = 0
        self.small = 0
        self.large = 0
        self.connections: Set[Connection] = frozenset()  # the server's own set, once it has one
        self._resting: deque[tuple[float, Connection]] = deque()  # with when it is to be heard again, the first first
        self._metrics = metrics
        metrics.watch_admission(
            waiting=lambda: self.waiting,
            in_hand=lambda: self.small + self.large,
            connections=lambda: len(self.connections),
        )

    async def end_slow_connections(self, every_seconds: float) -> None:
        """Looks at all connections for ever; each knows whether its client is too slow."""
        while True:
            await asyncio.sleep(every_seconds)
            now = asyncio.get_running_loop().time()
            for connection in list(self.connections):
                connection.end_if_slow(now)

    def let_rest(self, connection: Connection) -> None:
        """Has this connection heard again in a moment."""
        loop = asyncio.get_running_loop()
        if not self._resting:
            loop.call_later(REST_SECONDS, self._wake)
        self._resting.append((loop.time() + REST_SECONDS, connection))

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._resting and self._resting[0][0] <= now:
            self._resting.popleft()[1].listen_again()
        if self._resting:
            loop.call_later(self._resting[0][0] - now, self._wake)

    def is_full(self) -> bool:
        return self.waiting >= MOST_WAITING

    def arrived(self, scope: Scope) -> None:
        """The request's headers are there; it will begin when its turn comes."""
        if self.is_full() and scope["method"] == "POST":
            scope["state"]["too_busy"] = True
        self.waiting += 1

    def begun(self) -> None:
        if self.waiting:  # without the server's protocol, as in a test, nothing arrived
            self.waiting -= 1

    def refused(self, reason: str) -> None:
        self._metrics.turned_away(reason)


class Admission:
    """Plain ASGI middleware: answers 429 where there is no room for a POST."""

    def __init__(self, app: ASGIApp, door: Doorkeeper) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        door = self._door
        door.begun()
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif "too_busy" in scope["state"]:
            await self._refuse("queue", f"{MOST_WAITING} requests are waiting already", scope, receive, send)
        elif _is_small(scope):
            if door.small >= MOST_SMALL:
                await self._refuse("small", f"{MOST_SMALL} requests are under way already", scope, receive, send)
                return
            door.small += 1
            try:
                await self._app(scope, receive, send)
            finally:
                door.small -= 1
        else:
            if door.large >= MOST_LARGE:
                await self._refuse("large", f"{MOST_LARGE} large bodies are in hand already", scope, receive, send)
                return
            door.large += 1
            try:
                await self._app(scope, receive, send)
            finally:
                door.large -= 1

    async def _refuse(self, reason: str, detail: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._door.refused(reason)
        await problem_of(Request(scope), TooBusy(detail))(scope, receive, send)


def _is_small(scope: Scope) -> bool:
    length = header_of(scope, b"content-length")
    return length.isdigit() and int(length) <= SMALL_BYTES
