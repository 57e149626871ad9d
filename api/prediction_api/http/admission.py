"""Admission control: a request that could only be answered late is refused at once, with 429 and Retry-After.

A small body is read before its request is counted, so a client that sends slowly takes a connection and nothing else.
A large body takes a place while it is received, too, because it is memory or disk; if all places are taken, the client
that has been sending for longest loses its place. Everything but POST (health, metrics, the page) is always admitted.
"""

import asyncio
from collections.abc import Collection
from typing import Self

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prediction_api.errors import TooBusy, TooSlow
from prediction_api.http.bodies import announced_length
from prediction_api.http.connection import LimitedConnection
from prediction_api.telemetry.metrics import Metrics

MOST_SMALL = 128  # under way at once: at 4,000 a second the last one waits 32 ms
MOST_LARGE = 6  # under way at once: two are worked on, the others wait with their bodies in memory
SMALL_BYTES = 20_000  # more than this, or an unknown length, is large
PAUSE_SECONDS = 0.25  # after a 429, its connection is not read for this long: retries must not starve admitted requests
SLOW_SECONDS = 5.0  # after this long, a client that still sends may lose its place to another


class AdmissionControl:
    """Plain ASGI middleware around one application: counts what is under way, and refuses a POST without room."""

    def __init__(self, metrics: Metrics) -> None:
        self._app: ASGIApp
        self.small = 0
        self.large: dict[int, LimitedConnection | None] = {}  # by a number for each request
        self.connections: Collection[LimitedConnection] = ()  # the server's own set, once it has one
        self.turned_away = metrics.turned_away
        self._numbers = 0
        metrics.in_hand.set_function(lambda: self.small + len(self.large))
        metrics.connections.set_function(lambda: len(self.connections))

    async def end_slow_connections(self, every_seconds: float) -> None:
        """Looks at all connections for ever; each knows whether its client is too slow."""
        while True:
            await asyncio.sleep(every_seconds)
            now = asyncio.get_running_loop().time()
            for connection in list(self.connections):
                connection.end_if_slow(now)

    def _take_large_place(self, connection: LimitedConnection | None) -> int | None:
        """The number of the place, or None where all are taken by requests that are not slow to arrive."""
        if len(self.large) >= MOST_LARGE:
            now = asyncio.get_running_loop().time()
            sending = [
                (since, number, one)
                for number, one in self.large.items()
                if one and (since := one.client_since) is not None and now - since > SLOW_SECONDS
            ]
            if not sending:
                return None
            _, number, slowest = min(sending)
            del self.large[number]
            slowest.end(TooSlow("another request needed the place, and this one was slow to arrive"))
        self._numbers += 1
        self.large[self._numbers] = connection
        return self._numbers

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
        first = [await _whole(receive)]

        async def receive_again() -> Message:
            return first.pop() if first else await receive()

        if self.small >= MOST_SMALL:
            raise self._too_busy(scope, "small", f"{MOST_SMALL} requests are under way already")
        self.small += 1
        try:
            await self._app(scope, receive_again, send)
        finally:
            self.small -= 1

    async def _large(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = self._take_large_place(scope["state"].get("connection"))
        if place is None:
            raise self._too_busy(scope, "large", f"{MOST_LARGE} large bodies are under way already")
        try:
            await self._app(scope, receive, send)
        finally:
            self.large.pop(place, None)

    def _too_busy(self, scope: Scope, reason: str, detail: str) -> TooBusy:
        self.turned_away(reason)
        if connection := scope["state"].get("connection"):
            connection.pause(PAUSE_SECONDS)
        return TooBusy(detail)


async def _whole(receive: Receive) -> Message:
    """All of a small body as one message, or the client's leaving."""
    blocks, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message
        blocks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return {"type": "http.request", "body": b"".join(blocks)}
