"""What every request passes: a request id, the count, the body within its limit, errors as problem documents."""

import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import lru_cache
from tempfile import SpooledTemporaryFile
from typing import IO, Literal

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prediction_api.errors import BodyTooLarge, NotJson, RequestRefused, WrongContentType
from prediction_api.telemetry.events import log_event
from prediction_api.telemetry.metrics import Metrics
from prediction_api.telemetry.prediction_log import id_maker

MEMORY_BYTES = 1_000_000  # of a body or an answer that is kept as a file; what is beyond goes to the disk
REQUEST_ID = rb"[A-Za-z0-9._:-]{1,128}"
_REQUEST_ID = re.compile(REQUEST_ID)
# For answers that are data: a browser that shows one must not guess what it is, nor load or frame anything.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_SECURITY = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


class RequestRecord:
    """Outermost middleware, plain ASGI: request id, security headers, the answer's count, time and log line.

    X-Request-ID is taken or made, and given back. A failure (500 and above) is always logged, the rest on request.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, log_all: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._log_from = 0 if log_all else 500
        self._new_id = id_maker()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = header_of(scope, b"x-request-id")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else self._new_id().encode()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id.decode()
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
        except Exception as error:  # a fault of ours: noted here, answered and traced further out
            state["failure"] = f"{type(error).__name__}: {str(error)[:300]}"
            raise
        finally:
            route = getattr(scope.get("route"), "path", "other")
            seconds = time.perf_counter() - started
            self._metrics.answered(route, status, seconds)
            probed = status == 503 and route.endswith(("/ready", "/readyz"))  # before the first model that is no news
            if status >= self._log_from and not probed:
                _log_request(scope, route, status, seconds)


def _log_request(scope: Scope, route: str, status: int, seconds: float) -> None:
    fields = {"request_id": scope["state"]["request_id"], "method": scope["method"], "path": route, "status": status}
    fields["milliseconds"] = round(seconds * 1000, 1)
    if failure := scope["state"].get("failure"):
        fields["detail"] = failure
    log_event("request failed" if status >= 500 else "request", **fields)


async def read_json_body(request: Request, most_bytes: int) -> bytes:
    """The bytes of a body that is announced as JSON. Raises WrongContentType, BodyTooLarge or NotJson."""
    if content_kind(request) != "json":
        raise WrongContentType("the content type is 'text/csv', and this call takes JSON only")
    return await read_body(request, most_bytes)


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The body's bytes, never more than `most_bytes` in memory. Raises BodyTooLarge or NotJson."""
    _refuse_announced(request, most_bytes)
    blocks, size, more = [], 0, True
    while more:  # nearly always once; request.stream() takes three steps for that
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        blocks.append(message.get("body", b""))
        size, more = size + len(blocks[-1]), message.get("more_body", False)
        if size > most_bytes:
            raise BodyTooLarge(f"the body has more than the {most_bytes} bytes that are taken")
    if not size:
        raise NotJson("the body is empty")
    return b"".join(blocks)


async def spooled_body(request: Request, most_bytes: int) -> IO[bytes]:
    """The body as a file that is kept in memory only while it is small. Raises BodyTooLarge."""
    _refuse_announced(request, most_bytes)
    with ExitStack() as on_failure:
        file = on_failure.enter_context(SpooledTemporaryFile(MEMORY_BYTES))
        async for block in request.stream():
            file.write(block)
            if file.tell() > most_bytes:
                raise BodyTooLarge(f"the body has more than the {most_bytes} bytes that are taken")
        on_failure.pop_all()
    return file


def _refuse_announced(request: Request, most_bytes: int) -> None:
    announced = header_of(request.scope, b"content-length")
    if announced.isdigit() and int(announced) > most_bytes:
        raise BodyTooLarge(f"the body has {int(announced)} bytes; at most {most_bytes} are taken")


def content_kind(request: Request) -> Literal["json", "csv"]:
    """What the body is announced as. Raises WrongContentType for anything else than JSON or CSV in plain UTF-8."""
    return _content_kind(header_of(request.scope, b"content-type"), header_of(request.scope, b"content-encoding"))


def header_of(scope: Scope, name: bytes) -> bytes:
    """Its value, empty where there is none. Starlette's own mapping takes several times as long."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


@lru_cache(64)  # clients say the same again and again
def _content_kind(content_type: bytes, encoding: bytes) -> Literal["json", "csv"]:
    kind, _, parameters = content_type.decode("latin-1").lower().partition(";")
    kind = kind.strip()
    if parameters:
        for one in parameters.replace('"', "").replace(" ", "").split(";"):
            if one.startswith("charset=") and one not in ("charset=utf-8", "charset=utf8", "charset=us-ascii"):
                raise WrongContentType(f"the text is announced as {one[:40]}")
    if encoding.lower() not in (b"", b"identity"):
        raise WrongContentType("the body is compressed")
    if kind == "text/csv":
        return "csv"
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return "json"
    raise WrongContentType(f"the content type is {kind[:100]!r}" if kind else "the content type is missing")


def json_response(content: object, status: int = 200) -> Response:
    return Response(to_json(content), status, media_type="application/json")


def answer_errors_as_problems(app: FastAPI) -> None:
    """The one place where exceptions become HTTP."""

    async def framework(request: Request, error: HTTPException) -> Response:
        titles = {404: ("Not found", "/docs lists every call."), 405: ("Method not allowed", "/docs lists every call.")}
        title, hint = titles.get(error.status_code, (str(error.detail), ""))
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return _problem(request, error.status_code, "about:blank", title, detail, hint, headers=error.headers)

    async def bug(request: Request, error: Exception) -> Response:
        hint = "This is a fault of the service; its log has the details under this request id."
        answer = _problem(request, 500, "about:blank", "Internal error", type(error).__name__, hint)
        # sent from outside RequestRecord
        answer.headers.update(SECURITY_HEADERS | {"x-request-id": request.state.request_id})
        return answer

    app.exception_handler(RequestRefused)(refused)
    app.exception_handler(ClientDisconnect)(gone)
    app.exception_handler(HTTPException)(framework)
    app.exception_handler(Exception)(bug)


async def refused(request: Request, error: RequestRefused) -> Response:
    """The answer to what is wrong with a request, which its log line will tell too."""
    request.state.failure = error.detail
    return problem_of(request, error)


async def gone(_request: Request, _error: ClientDisconnect) -> Response:
    """The answer that nobody hears; 499 is what nginx calls this in its counts."""
    return Response(status_code=499)


def problem_content(error: RequestRefused, request_id: str) -> dict[str, object]:
    """RFC 9457's members and ours; `request_id` is the last of them."""
    kind = f"/docs#error-{error.code()}"
    content: dict[str, object] = {"type": kind, "title": error.title, "status": error.status, "detail": error.detail}
    return content | {"hint": error.hint, "request_id": request_id}


def problem_of(request: Request, error: RequestRefused) -> Response:
    """The answer that tells of this error."""
    content = {**error.members, **problem_content(error, request.state.request_id)}
    if error.complaints:
        content["errors"] = [{"loc": one.loc, "msg": one.msg} for one in error.complaints]
    return _response(request, content, error.headers)


def _problem(
    request: Request,
    status: int,
    kind: str,
    title: str,
    detail: str,
    hint: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    content: dict[str, object] = {"type": kind, "title": title, "status": status, "detail": detail, "hint": hint}
    content["request_id"] = request.state.request_id
    return _response(request, content, headers)


def _response(request: Request, content: dict[str, object], headers: Mapping[str, str] | None) -> Response:
    if request.url.path.startswith("/v2"):
        content["error"] = content["detail"]  # where clients of the Open Inference Protocol look
    return Response(to_json(content), int(str(content["status"])), dict(headers or {}), "application/problem+json")
