"""Errors as HTTP: problem documents (RFC 9457) of the application, and of a connection that reaches no application."""

from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from prediction_api.errors import RequestRefused

# For answers that are data: a browser that shows one must not guess what it is, nor load or frame anything.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def answer_errors_as_problems(app: FastAPI) -> None:
    """The one place where exceptions become HTTP."""

    async def framework(request: Request, error: HTTPException) -> Response:
        titles = {404: ("Not found", "/docs lists every call."), 405: ("Method not allowed", "/docs lists every call.")}
        title, hint = titles.get(error.status_code, (str(error.detail), ""))
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return _problem(request, error.status_code, title, detail, hint, headers=error.headers)

    async def bug(request: Request, error: Exception) -> Response:
        hint = "This is a fault of the service; its log has the details under this request id."
        answer = _problem(request, 500, "Internal error", type(error).__name__, hint)
        # sent from outside RequestRecord
        answer.headers.update(SECURITY_HEADERS | {"x-request-id": request.state.request_id})
        return answer

    app.exception_handler(RequestRefused)(refused)
    app.exception_handler(ClientDisconnect)(disconnected)
    app.exception_handler(HTTPException)(framework)
    app.exception_handler(Exception)(bug)


async def refused(request: Request, error: RequestRefused) -> Response:
    """The answer to a request that is refused; its log line has the same detail."""
    request.state.failure = error.detail
    return problem_of(request, error)


async def disconnected(_request: Request, _error: ClientDisconnect) -> Response:
    """Reaches nobody; nginx counts such requests as 499, too."""
    return Response(status_code=499)


def problem_of(request: Request, error: RequestRefused) -> Response:
    """The problem document of this error as a response."""
    content = {**error.members, **_content(error, request.state.request_id)}
    if error.complaints:
        content["errors"] = [{"loc": one.loc, "msg": one.msg} for one in error.complaints]
    return _response(request, content, error.headers)


def raw_problem(error: RequestRefused, request_id: str) -> bytes:
    """The same as the bytes of a whole answer, after which the connection is closed."""
    body = to_json(_content(error, request_id))
    headers = {"Content-Type": "application/problem+json", "Content-Length": str(len(body)), "Connection": "close"}
    headers |= {"X-Request-ID": request_id, **error.headers, **SECURITY_HEADERS}
    lines = [f"HTTP/1.1 {error.status} {error.title}", *(f"{name.lower()}: {one}" for name, one in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def json_response(content: object, status: int = 200) -> Response:
    return Response(to_json(content), status, media_type="application/json")


def _content(error: RequestRefused, request_id: str) -> dict[str, object]:
    kind = f"/docs#error-{error.code()}"
    content: dict[str, object] = {"type": kind, "title": error.title, "status": error.status, "detail": error.detail}
    return content | {"hint": error.hint, "request_id": request_id}


def _problem(
    request: Request, status: int, title: str, detail: str, hint: str, headers: Mapping[str, str] | None = None
) -> Response:
    content: dict[str, object] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return _response(request, content | {"hint": hint, "request_id": request.state.request_id}, headers)


def _response(request: Request, content: dict[str, object], headers: Mapping[str, str] | None) -> Response:
    if request.url.path.startswith("/v2"):
        content["error"] = content["detail"]  # where clients of the Open Inference Protocol look
    return Response(to_json(content), int(str(content["status"])), dict(headers or {}), "application/problem+json")
