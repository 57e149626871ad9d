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

    @app.exception_handler(RequestRefused)
    async def refused(request: Request, error: RequestRefused) -> Response:
        request.state.failure = error.detail  # its log line says the same
        return problem_of(request, error)

    @app.exception_handler(ClientDisconnect)
    async def disconnected(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # reaches nobody; nginx counts such requests so, too

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        titles = {404: ("Not found", "/docs lists every call."), 405: ("Method not allowed", "/docs lists every call.")}
        title, hint = titles.get(error.status_code, (str(error.detail), ""))
        detail = f"{request.method} {request.url.path}: {error.detail}"
        content = _content("about:blank", title, error.status_code, detail, hint, request.state.request_id)
        return _response(request, content, error.headers)

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:
        hint = "This is a fault of the service; its log has the details under this request id."
        request_id = request.state.request_id
        content = _content("about:blank", "Internal error", 500, type(error).__name__, hint, request_id)
        # sent from outside RequestRecord
        return _response(request, content, SECURITY_HEADERS | {"x-request-id": request_id})


def problem_of(request: Request, error: RequestRefused) -> Response:
    """The problem document of this error as a response."""
    content = {**error.members, **_content_of(error, request.state.request_id)}
    if error.complaints:
        content["errors"] = error.complaints
    return _response(request, content, error.headers)


def raw_problem(error: RequestRefused, request_id: str) -> bytes:
    """The same as the bytes of a whole answer, after which the connection is closed."""
    body = to_json(_content_of(error, request_id))
    headers = {"Content-Type": "application/problem+json", "Content-Length": str(len(body)), "Connection": "close"}
    headers |= {"X-Request-ID": request_id, **error.headers, **SECURITY_HEADERS}
    lines = [f"HTTP/1.1 {error.status} {error.title}", *(f"{name.lower()}: {one}" for name, one in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def json_response(content: object, status: int = 200) -> Response:
    return Response(to_json(content), status, media_type="application/json")


def _content_of(error: RequestRefused, request_id: str) -> dict[str, object]:
    return _content(f"/docs#error-{error.code()}", error.title, error.status, error.detail, error.hint, request_id)


def _content(kind: str, title: str, status: int, detail: str, hint: str, request_id: str) -> dict[str, object]:
    content: dict[str, object] = {"type": kind, "title": title, "status": status, "detail": detail}
    return content | {"hint": hint, "request_id": request_id}


def _response(request: Request, content: dict[str, object], headers: Mapping[str, str] | None) -> Response:
    if request.url.path.startswith("/v2"):
        content["error"] = content["detail"]  # where clients of the Open Inference Protocol look
    return Response(to_json(content), int(str(content["status"])), dict(headers or {}), "application/problem+json")
