"""An error as its answer over HTTP: a problem document (RFC 9457), and below /v1/ the error of OpenAI's protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY

from rag_service.errors import BodyTooLarge, EmptyCollection, RagError
from rag_service.http.keys import granted
from rag_service.settings import COLLECTION_RULE

log = logging.getLogger(__name__)

NOT_UNDERSTOOD = "The request is not understood"


def answer_errors(app: FastAPI) -> None:
    """Lets the application answer each error so."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        return problem_of(request, error)

    for kind in (RagError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)


def problem_of(request: Request, error: Exception) -> JSONResponse:
    """The answer for an error, which is counted; for a fault it says only where to look."""
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        error = BodyTooLarge(request.scope[MAX_BODY_SIZE_SCOPE_KEY])
    if isinstance(error, EmptyCollection):  # it names the others: those that the key is for
        error = EmptyCollection(error.collection, [name for name in error.others if granted(request).sees(name)])
    if isinstance(error, RagError):
        request.app.state.metrics.refused(error.title)
        return _answer(request, document(error, _id(request)), error.headers)
    if isinstance(error, RequestValidationError):
        return _answer(request, _invalid(error, request))
    if isinstance(error, HTTPException):
        title, hint = HTTPStatus(error.status_code).phrase, "GET /docs lists what can be asked."
        body = _document(error.status_code, title, str(error.detail), hint, _id(request))
        return _answer(request, body, error.headers or {})
    log.error("request %s failed: %s", _id(request), type(error).__name__)
    hint = "This is a fault of the service. Its log has the details under the request's id."
    return _answer(request, _document(500, "Internal error", "The request could not be answered.", hint, _id(request)))


def document(error: RagError, request_id: str) -> dict[str, Any]:
    """The problem document of an error of ours."""
    return _document(error.status, error.title, error.detail, error.hint, request_id)


def _document(status: int, title: str, detail: str, hint: str, request_id: str) -> dict[str, Any]:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "hint": hint}
    return {**body, "request_id": request_id}


def _id(request: Request) -> str:
    return str(request.scope.get("request_id", ""))


def _invalid(error: RequestValidationError, request: Request) -> dict[str, Any]:
    first, hint, errors = error.errors()[0], "GET /docs shows what is expected.", []
    if first["type"] == "json_invalid":
        reason, character = first["ctx"]["error"], first["loc"][-1] + 1
        detail = f"The body is not valid JSON, at character {character:,}: {reason}."
    else:
        errors = [
            {"loc": [part for part in one["loc"] if part != "body"], "msg": _sentence(one, request)}
            for one in error.errors()
        ]
        detail = f"{_place(errors) or 'the body'}: {errors[0]['msg']}"
    if first["type"] == "model_attributes_type":  # what a client that names no type sends, or another one
        detail = "The body is not read as a JSON object."
        hint = f"Send a JSON object, with the header Content-Type: application/json. {hint}"
    body = _document(422, NOT_UNDERSTOOD, detail, hint, _id(request))
    return body | ({"errors": errors} if errors else {})


def _sentence(error: dict[str, Any], request: Request) -> str:
    """What is wrong, in Pydantic's words where these say it."""
    if error["type"] == "string_pattern_mismatch":  # only names of collections have a pattern
        return f"Expected a collection's name: {COLLECTION_RULE}. Found {error['input']!r:.102}."
    if error["type"] != "extra_forbidden":
        return str(error["msg"])
    body = request.scope["route"].body_field.field_info.annotation
    schema = TypeAdapter(body).json_schema()
    known = {name for one in (schema, *schema.get("$defs", {}).values()) for name in one.get("properties", ())}
    near = get_close_matches(str(error["loc"][-1])[:100], known, n=1)
    return "There is no such field." + (f" The nearest is {near[0]!r}." if near else "")


def _place(errors: Sequence[dict[str, Any]]) -> str:
    return ".".join(str(part) for part in errors[0]["loc"])


def _answer(request: Request, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    headers = {**(headers or {}), "X-Request-ID": body["request_id"]}
    if request.url.path.startswith("/v1/"):
        status = 400 if body["status"] == 422 else body["status"]  # as the protocol says that a body is not understood
        return JSONResponse({"error": _openai_error(status, body)}, status, headers)
    return JSONResponse(body, body["status"], headers, media_type="application/problem+json")


def _openai_error(status: int, body: dict[str, Any]) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {
        "message": f"{body['detail']} {body['hint']}".strip(),
        "type": "rate_limit_error" if status == 429 else kind,
        "param": _place(body["errors"]) if "errors" in body else None,
        "code": body["title"].lower().replace(" ", "_"),
    }
