"""What surrounds every request: its id, the limit of its body, safe headers, and counting."""

from __future__ import annotations

import re
import secrets
import time
from contextlib import suppress

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag_service.errors import BodyTooLarge, ForeignPage, RagError
from rag_service.observation import Metrics
from rag_service.problems import problem
from rag_service.settings import Settings

_GOOD_ID = re.compile(r"[\w.:-]{1,128}")
_HARMLESS = frozenset(("GET", "HEAD", "OPTIONS"))
# Browsers say so of a request that another site's page makes: it must not plant documents here, or restore a snapshot.
_ELSEWHERE = frozenset((b"cross-site", b"same-site"))
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),  # of data; a page has its own
]


class Outermost:
    """Plain ASGI, so that a body is never held here and a client that goes away is noticed."""

    def __init__(self, app: ASGIApp, metrics: Metrics, settings: Settings) -> None:
        self._app = app
        self._metrics = metrics
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
            if scope["method"] not in _HARMLESS and headers.get(b"sec-fetch-site") in _ELSEWHERE:
                await _refuse(ForeignPage(), scope, receive, send_on)
            else:
                await self._bounded(scope, receive, send_on, headers)
        finally:
            # The route's pattern, never the path itself: anyone could make up paths without end.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(route, status, time.perf_counter() - started)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
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

        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            received = int(announced)
        else:
            with suppress(BodyTooLarge):
                await self._app(scope, receive_bounded, send_on)
        if received > limit and not answered:
            await _refuse(BodyTooLarge(limit), scope, receive, send)


async def _refuse(error: RagError, scope: Scope, receive: Receive, send: Send) -> None:
    response = problem(Request(scope), error.status, error.title, error.detail, error.hint)
    await response(scope, receive, send)
