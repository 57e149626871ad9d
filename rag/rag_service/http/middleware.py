"""What surrounds every request: its id, whether it is answered at all, the limit of its body, headers, and counting."""

from __future__ import annotations

import re
import secrets
import time
from contextlib import suppress

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag_service.errors import BodyTooLarge, MalformedRequest, RagError
from rag_service.http.hosts import HostCheck
from rag_service.http.keys import KeyRing
from rag_service.http.problems import problem_of
from rag_service.settings import Settings
from rag_service.telemetry.metrics import Metrics

_GOOD_ID = re.compile(r"[\w.:-]{1,128}")
_MOST_LENGTH_DIGITS = 19
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),  # of data; a page has its own
]


class Outermost:
    """Plain ASGI, so that a body is never held here and a client that goes away is noticed. Raises BadSettings where
    the file of keys cannot be used."""

    def __init__(self, app: ASGIApp, metrics: Metrics, settings: Settings, keys: KeyRing) -> None:
        self._app = app
        self._metrics = metrics
        self._keys = keys
        self._hosts = HostCheck(settings.host, settings.allowed_names)
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        scope["request_id"] = given if _GOOD_ID.fullmatch(given) else secrets.token_hex(8)
        started, status = time.perf_counter(), 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]}
                extra = [*_HEADERS, (b"x-request-id", scope["request_id"].encode())]
                message["headers"] = [*message["headers"], *(pair for pair in extra if pair[0] not in own)]
            await send(message)

        try:
            self._hosts.check(scope)
            scope["grant"] = self._keys.grant(scope)
            await self._bounded(scope, receive, send_on, _length(headers))
        except RagError as error:  # the application answers those of its calls
            self._metrics.refused(error.title)
            await problem_of(Request(scope), error)(scope, receive, send_on)
        finally:
            # The route's pattern, never the path itself: anyone could make up paths without end.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(route, status, time.perf_counter() - started)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, announced: int) -> None:
        upload = scope["path"] == "/documents"
        limit = self._settings.max_upload_bytes if upload else self._settings.max_body_bytes
        received = 0
        answered = False

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLarge(limit)
            return message

        async def send_on(message: Message) -> None:
            nonlocal answered
            # The framework takes any error while reading a body for broken JSON: its answer is dropped for ours.
            if received <= limit:
                answered = True
                await send(message)

        if announced > limit:
            raise BodyTooLarge(limit)
        with suppress(BodyTooLarge):
            await self._app(scope, receive_bounded, send_on)
        if received > limit and not answered:
            raise BodyTooLarge(limit)


def _length(headers: dict[bytes, bytes]) -> int:
    """The body's length in bytes as it is announced, 0 where it is not. Raises MalformedRequest."""
    text = headers.get(b"content-length", b"0")
    if not text.isdigit() or len(text) > _MOST_LENGTH_DIGITS:
        raise MalformedRequest(f"Content-Length: expected a number of bytes, found {text[:40].decode('latin-1')!r}.")
    return int(text)
