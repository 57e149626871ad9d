"""The page at /docs: made from the OpenAPI schema, without a script and without anything from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark"><link rel="stylesheet" href="pages/family.css">'
    '<link rel="stylesheet" href="pages/style.css">'
    '<link rel="icon" href="pages/icon.svg" type="image/svg+xml">'
)


def reference_page(schema: dict[str, Any], links: str) -> str:
    """HTML that lists each call with its purpose and the shape of its body, under these links."""
    calls = "".join(
        _call(method, path, call, schema)
        for path, methods in schema["paths"].items()
        for method, call in methods.items()
    )
    title = escape(schema["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><head>{_HEAD}<title>{title}: calls</title></head><body>{links}'
        f'<header class="top"><p class="brand">{title}</p>'
        '<nav aria-label="Pages"><a href=".">Back to the page</a></nav></header>'
        '<main class="calls"><h1>Calls</h1><p class="subtitle">'
        f'<a href="openapi.json">The same as OpenAPI</a></p>{calls}</main></body></html>'
    )


def _call(method: str, path: str, call: dict[str, Any], schema: dict[str, Any]) -> str:
    body = ""
    for content_type, content in call.get("requestBody", {}).get("content", {}).items():
        name = content["schema"].get("$ref", "").rsplit("/", 1)[-1]
        shape = schema["components"]["schemas"].get(name, content["schema"])
        fields = json.dumps(shape.get("properties", {}), indent=2, ensure_ascii=False)
        body += f"<p>{escape(content_type)}</p><pre>{escape(fields)}</pre>"
    return f"<h2>{escape(method.upper())} {escape(path)}</h2><p>{escape(call.get('description', ''))}</p>{body}"
