"""Bodies of requests: what they are announced as, and their bytes within a limit."""

from typing import IO, Literal

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from prediction_api.errors import BodyTooLarge, MalformedRequest, NotJson, WrongContentType

_MOST_LENGTH_DIGITS = 19


def header_of(scope: Scope, name: bytes) -> bytes:
    """The value of a header, empty if it is missing. Starlette's own mapping is several times slower."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def announced_length(scope: Scope) -> int | None:
    """The body's length in bytes, None where it is not announced. Raises MalformedRequest."""
    text = header_of(scope, b"content-length")
    if not text:
        return None
    if not text.isdigit() or len(text) > _MOST_LENGTH_DIGITS:
        raise MalformedRequest(f"Content-Length: expected a number of bytes, found {text[:40].decode('latin-1')!r}")
    return int(text)


async def read_json_body(request: Request, most_bytes: int) -> bytes:
    """The bytes of a body that is announced as JSON. Raises WrongContentType, BodyTooLarge or NotJson."""
    if content_kind(request) != "json":
        raise WrongContentType("the content type is 'text/csv', and this call accepts only JSON")
    return await read_body(request, most_bytes)


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The body's bytes, never more than `most_bytes` in memory. Raises BodyTooLarge or NotJson."""
    _refuse_announced(request, most_bytes)
    if body := await received(request.receive, most_bytes):
        return body
    raise NotJson("the body is empty")


async def received(receive: Receive, most_bytes: int) -> bytes:
    """The bytes of a body as they come. Raises BodyTooLarge, and ClientDisconnect where the client leaves."""
    blocks, size, more = [], 0, True
    while more:  # nearly always once; request.stream() takes three steps for that
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        blocks.append(message.get("body", b""))
        size, more = size + len(blocks[-1]), message.get("more_body", False)
        if size > most_bytes:
            raise BodyTooLarge(f"the body has more than the allowed {most_bytes} bytes")
    return b"".join(blocks)


async def copy_body(request: Request, most_bytes: int, file: IO[bytes]) -> None:
    """Writes the body to the file. Raises BodyTooLarge."""
    _refuse_announced(request, most_bytes)
    async for block in request.stream():
        file.write(block)
        if file.tell() > most_bytes:
            raise BodyTooLarge(f"the body has more than the allowed {most_bytes} bytes")


def _refuse_announced(request: Request, most_bytes: int) -> None:
    announced = announced_length(request.scope)
    if announced is not None and announced > most_bytes:
        raise BodyTooLarge(f"the body has {announced} bytes; at most {most_bytes} are allowed")


def content_kind(request: Request) -> Literal["json", "csv"]:
    """What the body is announced as. Raises WrongContentType for anything else than JSON or CSV in plain UTF-8."""
    announced = header_of(request.scope, b"content-type").decode("latin-1").lower().replace(" ", "")
    kind, *parameters = announced.replace('"', "").split(";")
    for one in parameters:
        if one.startswith("charset=") and one not in ("charset=utf-8", "charset=utf8", "charset=us-ascii"):
            raise WrongContentType(f"the text is announced as {one[:40]}")
    if header_of(request.scope, b"content-encoding").lower() not in (b"", b"identity"):
        raise WrongContentType("the body is compressed")
    if kind == "text/csv":
        return "csv"
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return "json"
    raise WrongContentType(f"the content type is {kind[:100]!r}" if kind else "the content type is missing")
