"""An error as its answer over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from rag_service.errors import EmptyCollection, RagError
from rag_service.http.keys import granted


def problem(
    request: Request,
    status: int,
    title: str,
    detail: str,
    hint: str = "",
    errors: Sequence[dict[str, Any]] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """An answer of type `application/problem+json` (RFC 9457); below /v1/ the error of OpenAI's protocol."""
    request_id = request.scope.get("request_id", "")
    headers = {**(headers or {}), "X-Request-ID": request_id}
    if request.url.path.startswith("/v1/"):
        return _openai_error(status, title, f"{detail} {hint}".strip(), errors, headers)
    body = document(status, title, detail, hint, request_id) | ({"errors": list(errors)} if errors else {})
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def document(status: int, title: str, detail: str, hint: str, request_id: str) -> dict[str, Any]:
    """A problem document, without what one may add."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "hint": hint}
    return {**body, "request_id": request_id}


def problem_of(request: Request, error: Exception) -> JSONResponse:
    """The answer for an error of ours, or for a fault: that one says only where to look."""
    if isinstance(error, EmptyCollection):  # it names the others: those that the key is for
        error = EmptyCollection(error.collection, [name for name in error.others if granted(request).sees(name)])
    if isinstance(error, RagError):
        return problem(request, error.status, error.title, error.detail, error.hint, headers=error.headers)
    hint = "This is a fault of the service. Its log has the details under the request's id."
    return problem(request, 500, "Internal error", "The request could not be answered.", hint)


def _openai_error(
    status: int, title: str, message: str, errors: Sequence[dict[str, Any]], headers: dict[str, str]
) -> JSONResponse:
    """The protocol says 400 where the body is not understood, and names the parameter."""
    status = 400 if status == 422 else status
    kind = "invalid_request_error" if status < 500 and status != 429 else "server_error"
    parameter = ".".join(str(part) for part in errors[0]["loc"]) if errors else None
    code = title.lower().replace(" ", "_")
    error = {"message": message, "type": "rate_limit_error" if status == 429 else kind, "param": parameter}
    return JSONResponse({"error": {**error, "code": code}}, status, headers)
