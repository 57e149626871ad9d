"""Errors as HTTP: problem documents (RFC 9457) of the application, and of a connection that reaches no application."""

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from prediction_api.errors import InternalError, MethodNotAllowed, NotFound, RequestRefused

# For answers that are data: a browser that shows one must not guess what it is, nor load or frame anything.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_TYPE = "application/problem+json"


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
        kind = MethodNotAllowed if error.status_code == MethodNotAllowed.status else NotFound
        response = problem_of(request, kind(f"{request.method} {request.url.path}: {error.detail}"))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:
        response = problem_of(request, InternalError(type(error).__name__))
        # sent from outside RequestRecord
        response.headers.update(SECURITY_HEADERS | {"X-Request-ID": request.state.request_id})
        return response


def problem_of(request: Request, error: RequestRefused) -> Response:
    """The problem document of this error as a response."""
    content = {**error.members, **_content(error, request.state.request_id)}
    if error.complaints:
        content["errors"] = error.complaints
    if request.url.path.startswith("/v2"):
        content["error"] = error.detail  # where clients of the Open Inference Protocol look
    return Response(to_json(content), error.status, error.headers, _TYPE)


def raw_problem(error: RequestRefused, request_id: str) -> bytes:
    """The same as the bytes of a whole answer, after which the connection is closed."""
    body = to_json(_content(error, request_id))
    headers = {"Content-Type": _TYPE, "Content-Length": len(body), "Connection": "close", "X-Request-ID": request_id}
    lines = [f"{name.lower()}: {value}" for name, value in {**headers, **error.headers, **SECURITY_HEADERS}.items()]
    return "\r\n".join([f"HTTP/1.1 {error.status} {error.title}", *lines, "", ""]).encode() + body


def json_response(content: object, status: int = 200) -> Response:
    return Response(to_json(content), status, media_type="application/json")


def _content(error: RequestRefused, request_id: str) -> dict[str, object]:
    described = {"type": f"/docs#error-{error.code()}", "title": error.title, "status": error.status}
    return described | {"detail": error.detail, "hint": error.hint, "request_id": request_id}
