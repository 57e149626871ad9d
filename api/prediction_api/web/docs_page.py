"""The page at /docs, made from the OpenAPI schema: plain HTML, no script, nothing fetched from elsewhere."""

import json
from html import escape
from typing import Any

from prediction_api.errors import ModelRefused, RequestRefused


def docs_page(schema: dict[str, Any]) -> str:
    """A whole HTML document for this OpenAPI schema."""
    info = schema["info"]
    calls = [
        _call(method.upper(), path, call)
        for path, calls_here in schema["paths"].items()
        for method, call in calls_here.items()
    ]
    body = [
        '<header class="top docs"><p class="brand">Prediction service</p>',
        '<nav aria-label="Pages"><a href=".">Back to the page</a></nav></header><main class="docs">',
        f'<h1>Calls and errors</h1><p class="subtitle">{escape(info["description"])} ',
        '<a href="openapi.json">The same as OpenAPI</a>.</p>',
        *calls,
        _features(schema),
        _errors(),
        _refusals(),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(info["title"])}</title><link rel="stylesheet" href="pages/family.css">'
        '<link rel="stylesheet" href="pages/style.css">'
        '<link rel="icon" href="pages/icon.svg" type="image/svg+xml">'
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</main></body></html>'


def _call(method: str, path: str, call: dict[str, Any]) -> str:
    text = f"<h2>{method} {escape(path)}</h2><p>{escape(call.get('description', ''))}</p>"
    contents = call.get("requestBody", {}).get("content", {}).items()
    return text + "".join(_command(method, path, kind, content["example"]) for kind, content in contents)


def _command(method: str, path: str, kind: str, example: object) -> str:
    shown = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
    quoted = shown.replace("'", "'\\''")
    command = f"curl -X {method} http://HOST:PORT{path} -H 'Content-Type: {kind}' --data-binary '{quoted}'"
    return f"<pre>{escape(command)}</pre>"


def _features(schema: dict[str, Any]) -> str:
    rows = [one for name, one in schema["components"]["schemas"].items() if name.startswith("Features")]
    return "".join(f"<h2>{escape(one['description'])}</h2><table>{_feature_lines(one)}</table>" for one in rows)


def _feature_lines(row: dict[str, Any]) -> str:
    return "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(one['description'])}</td></tr>"
        for name, one in row["properties"].items()
    )


def _errors() -> str:
    rows = "".join(
        f'<tr id="error-{kind.code()}"><td class="code">{kind.status}</td><td>{escape(kind.title)}</td>'
        f"<td>{escape(kind.hint)}</td></tr>"
        for kind in RequestRefused.__subclasses__()
    )
    return f"<h2>Errors</h2><table>{rows}</table>"


def _refusals() -> str:
    rows = "".join(
        f'<tr id="refused-{kind.code()}"><td class="code">{kind.code()}</td><td>{escape(kind.__doc__ or "")}</td>'
        f"<td>{escape(kind.hint)}</td></tr>"
        for kind in ModelRefused.__subclasses__()
    )
    return f"<h2>Why a version is not served</h2><p>The one before it goes on serving.</p><table>{rows}</table>"
