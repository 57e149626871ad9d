"""An error as its answer over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse


def problem(
    request: Request,
    status: int,
    title: str,
    detail: str,
    hint: str = "",
    errors: Sequence[dict[str, Any]] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """An answer of type `application/problem+json` (RFC 9457)."""
    request_id = request.scope.get("request_id", "")
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail, "hint": hint}
    body["request_id"] = request_id
    if errors:
        body["errors"] = list(errors)
    headers = {**(headers or {}), "X-Request-ID": request_id}
    return JSONResponse(body, status, headers, media_type="application/problem+json")
