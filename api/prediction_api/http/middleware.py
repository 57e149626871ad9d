"""Around every request: its identifier, count and log line, HEAD, and errors as problem documents (RFC 9457)."""

import re
import time

from fastapi import Request, Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prediction_api.errors import InternalError, MethodNotAllowed, NotFound, RequestRefused
from prediction_api.http.access import AccessCheck
from prediction_api.http.bodies import header_of
from prediction_api.telemetry.events import fault, log_event
from prediction_api.telemetry.metrics import Metrics
from prediction_api.telemetry.prediction_log import new_id

# For answers that are data: a browser that shows one must not guess what it is, nor load or frame anything.
_SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
_SECURITY = [(name.encode(), value.encode()) for name, value in _SECURITY_HEADERS.items()]
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TYPE = "application/problem+json"


class RequestRecord:
    """Outermost middleware, plain ASGI: request id, security headers, HEAD as GET, the answer's count, time, log line.

    X-Request-ID is taken or made, and returned. A failure (500 and above) is always logged, the rest on request.
    This is the one place where exceptions become HTTP.
    """

    def __init__(self, app: ASGIApp, check_access: AccessCheck, metrics: Metrics, log_all: bool) -> None:
        self._app = app
        self._check_access = check_access
        self._metrics = metrics
        self._log_from = 0 if log_all else 500

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = header_of(scope, b"x-request-id")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else new_id().encode()
        line = {"request_id": request_id.decode(), "method": scope["method"]}
        scope.setdefault("state", {})["request_id"] = line["request_id"]
        if scope["method"] == "HEAD":  # whatever can be got; the server sends the answer's head alone
            scope = {**scope, "method": "GET"}
        started = time.perf_counter()
        status = 0  # until an answer begins

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
            self._check_access(scope)
            await self._app(scope, receive, send_with_headers)
        except RequestRefused as error:
            line["detail"] = error.detail
            await problem_of(scope, error)(scope, receive, send_with_headers)
        except ClientDisconnect:  # the answer reaches nobody; nginx counts such requests so, too
            await Response(status_code=499)(scope, receive, send_with_headers)
        except Exception as error:  # a fault of ours; the server logs where it happened
            line["detail"] = fault(error)
            if not status:
                await problem_of(scope, InternalError(type(error).__name__))(scope, receive, send_with_headers)
            raise
        finally:
            route = getattr(scope.get("route"), "path", "other")
            seconds, status = time.perf_counter() - started, status or 500
            self._metrics.answered(route, status, seconds)
            probed = status == 503 and route.endswith(("/ready", "/readyz"))  # before the first model that is no news
            if status >= self._log_from and not probed:
                event = "request failed" if status >= 500 else "request"
                log_event(event, path=route, status=status, milliseconds=round(seconds * 1000, 1), **line)


async def answer_framework(request: Request, error: HTTPException) -> Response:
    """Starlette's 404 and 405 as problems."""
    kind = MethodNotAllowed if error.status_code == MethodNotAllowed.status else NotFound
    response = problem_of(request.scope, kind(f"{request.method} {request.url.path}: {error.detail}"))
    response.headers.update(error.headers or {})
    return response


def problem_of(scope: Scope, error: RequestRefused) -> Response:
    """The problem document of this error as a response."""
    content = {**error.members, **_content(error, scope["state"]["request_id"])}
    if error.complaints:
        content["errors"] = error.complaints
    if scope["path"].startswith("/v2"):
        content["error"] = error.detail  # where clients of the Open Inference Protocol look
    return Response(to_json(content), error.status, error.headers, _TYPE)


def raw_problem(error: RequestRefused) -> bytes:
    """The same as the bytes of a whole answer, for a connection that is closed without reaching the application."""
    request_id = new_id()
    body = to_json(_content(error, request_id))
    headers = {"content-type": _TYPE, "content-length": len(body), "connection": "close", "x-request-id": request_id}
    lines = [f"{name.lower()}: {value}" for name, value in {**headers, **error.headers, **_SECURITY_HEADERS}.items()]
    return "\r\n".join([f"HTTP/1.1 {error.status} {error.title}", *lines, "", ""]).encode() + body


def json_response(content: object, status: int = 200) -> Response:
    return Response(to_json(content), status, media_type="application/json")


def _content(error: RequestRefused, request_id: str) -> dict[str, object]:
    described = {"type": f"/docs#error-{error.code()}", "title": error.title, "status": error.status}
    return described | {"detail": error.detail, "hint": error.hint, "request_id": request_id}
