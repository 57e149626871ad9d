"""The page at /docs: made from the OpenAPI schema, without a script and without anything from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}pre{background:#eee;padding:1rem}"
)


def reference_page(schema: dict[str, Any]) -> str:
    """HTML that lists each call with its purpose and the shape of its body."""
    calls = "".join(
        _call(method, path, call, schema)
        for path, methods in schema["paths"].items()
        for method, call in methods.items()
    )
    title = escape(schema["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'<h1>{title}</h1><p>The full schema: <a href="openapi.json">openapi.json</a>.</p>{calls}</html>'
    )


def _call(method: str, path: str, call: dict[str, Any], schema: dict[str, Any]) -> str:
    body = ""
    for content_type, content in call.get("requestBody", {}).get("content", {}).items():
        name = content["schema"].get("$ref", "").rsplit("/", 1)[-1]
        shape = schema["components"]["schemas"].get(name, content["schema"])
        fields = json.dumps(shape.get("properties", {}), indent=2, ensure_ascii=False)
        body += f"<p>{escape(content_type)}</p><pre>{escape(fields)}</pre>"
    return f"<h2>{escape(method.upper())} {escape(path)}</h2><p>{escape(call.get('description', ''))}</p>{body}"
