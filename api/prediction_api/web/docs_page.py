"""The pages for people. /docs is made from the OpenAPI schema: plain HTML, no script, nothing from elsewhere."""

import json
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from fastapi import APIRouter, Request, Response

from prediction_api.errors import ModelRefused, RequestRefused
from prediction_api.protocols.routing import PlainRoute
from prediction_api.web.files import PAGE_HEADERS, front_page

_PAGE = Path(__file__).with_name("docs.html")
page_router = APIRouter(route_class=PlainRoute, include_in_schema=False)


@page_router.get("/")
async def page(_: Request) -> Response:
    return front_page()


@page_router.get("/docs")
async def docs(request: Request) -> Response:
    html = docs_page(request.app.openapi(), str(request.base_url).rstrip("/"))
    return Response(html, headers=PAGE_HEADERS, media_type="text/html")


def docs_page(schema: dict[str, Any], address: str) -> str:
    """A whole HTML document for the OpenAPI schema of the service that is reached at `address`."""
    calls = [
        _call(method.upper(), path, call, address)
        for path, calls_here in schema["paths"].items()
        for method, call in calls_here.items()
    ]
    features = [
        f"<h2>{escape(model['description'])}</h2>"
        + _table(_line(name, one["description"]) for name, one in model["properties"].items())
        for name, model in schema["components"]["schemas"].items()
        if name.startswith("Features")
    ]
    errors = [
        _line(one.status, one.title, one.hint, anchor=f"error-{one.code()}") for one in RequestRefused.__subclasses__()
    ]
    refusals = [
        _line(one.code(), one.title, one.hint, anchor=f"refused-{one.code()}") for one in ModelRefused.__subclasses__()
    ]
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        title=escape(schema["info"]["title"]),
        description=_text(schema["info"]["description"]),
        calls="".join(calls),
        features="".join(features),
        errors=_table(errors),
        refusals=_table(refusals),
    )


def _call(method: str, path: str, call: dict[str, Any], address: str) -> str:
    text = f"<h2>{method} {escape(path)}</h2><p>{_text(call.get('description', ''))}</p>"
    for kind, content in call.get("requestBody", {}).get("content", {}).items():
        example = content["example"]
        shown = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
        quoted = shown.replace("'", "'\\''")
        command = f"curl -X {method} {address}{path} -H 'Content-Type: {kind}' --data-binary '{quoted}'"
        text += f"<pre>{escape(command)}</pre>"
    return text


def _text(text: str) -> str:
    """As HTML, with what stands in backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _table(lines: Iterable[str]) -> str:
    return f"<table>{''.join(lines)}</table>"


def _line(*cells: object, anchor: str = "") -> str:
    """A row of a table. One with an anchor begins with a code."""
    first, *others = (f"{_text(str(cell))}</td>" for cell in cells)
    start = f'<tr id="{anchor}"><td class="code">' if anchor else "<tr><td>"
    return f"{start}{'<td>'.join([first, *others])}</tr>"
