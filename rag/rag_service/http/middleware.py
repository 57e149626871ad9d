"""What surrounds every request: its id, whether it is answered at all, headers, and counting."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import BoundedSemaphore

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag_service.errors import BodyTooLarge, RagError, TooManyUploads, counted
from rag_service.http.hosts import HostCheck
from rag_service.http.keys import KeyRing
from rag_service.http.problems import problem_of
from rag_service.service import place_in
from rag_service.settings import Settings
from rag_service.telemetry.metrics import Metrics

_GOOD_ID = re.compile(r"[\w.:-]{1,128}")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),  # of data; a page has its own
]


class Outermost:
    """Plain ASGI, so that a body is never held here and a client that goes away is noticed."""

    def __init__(self, app: ASGIApp, metrics: Metrics, keys: KeyRing, settings: Settings) -> None:
        self._app = app
        self._metrics = metrics
        self._keys = keys
        self._hosts = HostCheck(settings.host, settings.allowed_names)
        self._settings = settings
        self._uploads = BoundedSemaphore(settings.max_uploads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, is_upload = dict(scope["headers"]), (scope["method"], scope["path"]) == ("POST", "/documents")
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
            limit = self._settings.max_upload_bytes if is_upload else self._settings.max_body_bytes
            if int(headers.get(b"content-length", b"0")) > limit:  # one of unknown length is ended by FastAPI
                raise BodyTooLarge(limit)
            with self._upload() if is_upload else nullcontext():
                await self._app(scope, receive, send_on)
        except RagError as error:  # the application answers those of its calls
            await problem_of(Request(scope), error)(scope, receive, send_on)
        finally:
            # The route's pattern, never the path itself: anyone could make up paths without end.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(route, status, time.perf_counter() - started)

    @contextmanager
    def _upload(self) -> Iterator[None]:
        """So many uploads are let in at once, before their bodies are read; questions go on meanwhile."""
        full = TooManyUploads(counted(self._settings.max_uploads, "upload"))
        with place_in(self._uploads, full), self._metrics.uploading.track_inprogress():
            yield
