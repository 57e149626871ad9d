"""What every request passes: a request id, the count, the body within its limit, errors as problem documents."""

import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO, Literal

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prediction_api.errors import BodyTooLarge, NotJson, RequestRefused, WrongContentType
from prediction_api.identifiers import identifier_maker
from prediction_api.metrics import Metrics

MEMORY_BYTES = 1_000_000  # of a body or an answer that is kept as a file; what is beyond goes to the disk
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class RequestRecord:
    """Outermost middleware, plain ASGI: takes or makes X-Request-ID, gives it back, counts and times the answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._new_id = identifier_maker()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for key, value in scope["headers"] if key == b"x-request-id"), b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else self._new_id().encode()
        scope.setdefault("state", {})["request_id"] = request_id.decode()
        started = time.perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            route = scope.get("route")
            self._metrics.answered(getattr(route, "path", "other"), status, time.perf_counter() - started)


async def read_json_body(request: Request, most_bytes: int) -> bytes:
    """The body's bytes, never more than `most_bytes` in memory. Raises WrongContentType, BodyTooLarge or NotJson."""
    _require_json(request.headers)
    _refuse_announced(request, most_bytes)
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > most_bytes:
            raise BodyTooLarge(f"the body has more than the {most_bytes} bytes that are taken")
    if not body:
        raise NotJson("the body is empty")
    return bytes(body)


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
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most_bytes:
        raise BodyTooLarge(f"the body has {announced} bytes; at most {most_bytes} are taken")


def _require_json(headers: Mapping[str, str]) -> None:
    if content_kind(headers) != "json":
        raise WrongContentType("the content type is 'text/csv', and this call takes JSON only")


def content_kind(headers: Mapping[str, str]) -> Literal["json", "csv"]:
    """What the body is announced as. Raises WrongContentType for anything else than JSON or CSV in plain UTF-8."""
    kind, _, parameters = headers.get("content-type", "").lower().partition(";")
    kind = kind.strip()
    if parameters:
        for one in parameters.replace('"', "").replace(" ", "").split(";"):
            if one.startswith("charset=") and one not in ("charset=utf-8", "charset=utf8", "charset=us-ascii"):
                raise WrongContentType(f"the text is announced as {one[:40]}")
    if headers.get("content-encoding", "identity").lower() != "identity":
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

    async def refused(request: Request, error: RequestRefused) -> Response:
        complaints: list[dict[str, object]] = [{"loc": one.loc, "msg": one.msg} for one in error.complaints]
        where = f"/docs#error-{error.code()}"
        return _problem(request, error.status, where, error.title, error.detail, error.hint, complaints)

    async def framework(request: Request, error: HTTPException) -> Response:
        titles = {404: ("Not found", "/docs lists every call."), 405: ("Method not allowed", "/docs lists every call.")}
        title, hint = titles.get(error.status_code, (str(error.detail), ""))
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return _problem(request, error.status_code, "about:blank", title, detail, hint, headers=error.headers)

    async def bug(request: Request, error: Exception) -> Response:
        hint = "This is a fault of the service; its log has the details under this request id."
        answer = _problem(request, 500, "about:blank", "Internal error", type(error).__name__, hint)
        answer.headers["x-request-id"] = request.state.request_id  # sent from outside RequestRecord
        return answer

    app.exception_handler(RequestRefused)(refused)
    app.exception_handler(HTTPException)(framework)
    app.exception_handler(Exception)(bug)


def _problem(
    request: Request,
    status: int,
    kind: str,
    title: str,
    detail: str,
    hint: str,
    complaints: list[dict[str, object]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    content: dict[str, object] = {"type": kind, "title": title, "status": status, "detail": detail, "hint": hint}
    content["request_id"] = request.state.request_id
    if complaints:
        content["errors"] = complaints
    if request.url.path.startswith("/v2"):
        content["error"] = detail  # where clients of the Open Inference Protocol look
    return Response(to_json(content), status, dict(headers or {}), "application/problem+json")
