"""Around every request: its identifier, its count and log line, HEAD."""

import re
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prediction_api.errors import RequestRefused
from prediction_api.http.bodies import header_of
from prediction_api.http.problems import SECURITY_HEADERS, problem_of
from prediction_api.telemetry.events import log_event
from prediction_api.telemetry.metrics import Metrics
from prediction_api.telemetry.prediction_log import new_id

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_SECURITY = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


class RequestRecord:
    """Outermost middleware, plain ASGI: request id, security headers, HEAD as GET, the answer's count, time, log line.

    X-Request-ID is taken or made, and returned. A failure (500 and above) is always logged, the rest on request.
    What another middleware refuses is answered here.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, log_all: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._log_from = 0 if log_all else 500

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = header_of(scope, b"x-request-id")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else new_id().encode()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id.decode()
        if scope["method"] == "HEAD":  # whatever can be got; the server sends the answer's head alone
            scope = {**scope, "method": "GET"}
        started = time.perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = dict(message["headers"])
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
                if b"content-security-policy" not in headers:  # a page has its own
                    message["headers"] += _SECURITY
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except RequestRefused as error:  # by another middleware: the application answers those of its calls
            await problem_of(Request(scope), error)(scope, receive, send_with_headers)
        except Exception as error:  # a fault of ours: noted here, answered and traced further out
            state["failure"] = f"{type(error).__name__}: {str(error)[:300]}"
            raise
        finally:
            route = getattr(scope.get("route"), "path", "other")
            seconds = time.perf_counter() - started
            self._metrics.answered(route, status, seconds)
            probed = status == 503 and route.endswith(("/ready", "/readyz"))  # before the first model that is no news
            if status >= self._log_from and not probed:
                event = "request failed" if status >= 500 else "request"
                line = {"request_id": state["request_id"], "method": scope["method"], "path": route, "status": status}
                detail = {"detail": state["failure"]} if "failure" in state else {}
                log_event(event, **line, milliseconds=round(seconds * 1000, 1), **detail)
