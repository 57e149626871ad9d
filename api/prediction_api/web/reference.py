"""The page at /docs, made from the OpenAPI schema: each call with its fields as tables and a form to try it.

Both services of the project have this module as it stands here, with reference.html and pages/reference.*; neither
imports from the other.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from html import escape
from itertools import repeat
from pathlib import Path
from string import Template
from typing import Any

Json = dict[str, Any]
_PAGE = Path(__file__).with_name("reference.html")
_MOST_VALUES = 10  # of an enumeration
_QUOTE = "'\\''"  # inside a quoted word of a POSIX shell
_ENDS = (("min", "minimum"), ("max", "maximum"))
_LIMITS = {
    "number": ("minimum", "maximum", ""),
    "integer": ("minimum", "maximum", ""),
    "string": ("minLength", "maxLength", " character"),
    "array": ("minItems", "maxItems", " item"),
    "object": ("minProperties", "maxProperties", " member"),
}
_REFUSED = "A refused request is answered with a status from 400 on and `application/problem+json` (RFC 9457)."
_TRY = Template(
    '<div class="example"><pre class="command">$command</pre>'
    '<details class="try" hidden><summary>Try it$choice</summary>'
    '<form data-method="$method" data-path="$path" data-type="$kind">$fields<p class="actions"><button>Send</button>'
    '<button type="button" class="second">Copy the command</button></p></form></details></div>'
)
PROBLEM: Json = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "description": "Which error it is; `about:blank` where the status says all."},
        "title": {"type": "string", "description": "The error's name."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What was expected, and what was found."},
        "hint": {"type": "string", "description": "What to do."},
        "request_id": {"type": "string", "description": "Finds the request in the service's log."},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "Each place that is wrong."},
    },
    "required": ["type", "title", "status", "detail", "hint", "request_id"],
}


def reference_page(
    schema: Json, address: str, *, links: str, home: str, apart: Collection[str] = (), more: str = ""
) -> str:
    """The whole page for the service that is reached at `address`, under these links; `home` is its page for people.

    The components named in `apart` have a section of their own, and calls link to it. `more` is HTML for the end.
    """
    shown = _Shown(schema["components"]["schemas"], apart)
    calls = [(method.upper(), path, call) for path, one in schema["paths"].items() for method, call in one.items()]
    contents = "".join(
        f'<li><a href="#{escape(call["operationId"])}">{method} {escape(path)}</a></li>' for method, path, call in calls
    )
    sections = "".join(shown.call(method, path, call, address) for method, path, call in calls)
    own = "".join(_section(name, shown.title(name), shown.table({"$ref": name})) for name in apart)
    errors = _section("errors", "Errors", f"<p>{html_of(_REFUSED)}</p>{shown.table(PROBLEM)}")
    reference = f'<nav aria-label="Calls"><ul class="contents">{contents}</ul></nav>{sections}{own}{errors}{more}'
    info = schema["info"]
    return _page(info["title"], html_of(info.get("description", "")), links=links, home=home, reference=reference)


def key_page(title: str, *, links: str, home: str) -> str:
    """The page without the calls, for those who did not send a key: its script asks for one."""
    return _page(title, "This page needs a key, and a script to ask for it.", links=links, home=home, reference="")


def _page(title: str, description: str, **html: str) -> str:
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(title=escape(title), description=description, **html)


def html_of(text: str) -> str:
    """As HTML, with what stands in backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def table(heads: Iterable[str], rows: Iterable[tuple[str, ...]], anchors: Iterable[str] = repeat("")) -> str:
    """A table of HTML cells, the first of each row its name; `anchors` are what links to the rows end with."""
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    body = ""
    for anchor, (name, *cells) in zip(anchors, rows, strict=False):
        mark = f' id="{anchor}"' if anchor else ""
        body += f'<tr{mark}><th scope="row">{name}</th>{"".join(f"<td>{one}</td>" for one in cells)}</tr>'
    return f'<table class="facts"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


class _Shown:
    """Schemas and calls as HTML. A schema may refer to these components by name."""

    def __init__(self, components: Json, apart: Collection[str]) -> None:
        self._components, self._apart = components, apart

    def title(self, name: str) -> str:
        """The heading of a component that has its own section."""
        component: Json = self._components[name]
        return str(component.get("description", name))

    def call(self, method: str, path: str, call: Json, address: str) -> str:
        """The section of one call: purpose, parameters, each body with a command and a form, the answer."""
        identifier = escape(call["operationId"])
        purpose = html_of(call.get("description", "")).replace("\n\n", "</p><p>")
        text = f'<h2 id="{identifier}"><span class="method">{method}</span> {escape(path)}</h2><p>{purpose}</p>'
        rows = [
            (_code(one["name"]), self.type(one["schema"]), _presence(one), html_of(one.get("description", "")))
            for one in call.get("parameters", [])
        ]
        if rows:
            text += "<h3>Parameters</h3>" + table(("Parameter", "Type", "Presence", "Description"), rows)
        bodies = call.get("requestBody", {}).get("content", {})
        for kind, content in bodies.items() or [("", {})]:
            schema = content.get("schema", {})
            if kind:
                text += f"<h3>Body: {escape(kind)}</h3>"
            if schema.get("type") != "string":  # of a CSV, the example says more
                text += self.table(schema) if schema else ""
            example = content.get("example", self.example(schema))
            fields = self._fields_of_form(f"{identifier}-{kind}", call, kind, schema, example)
            text += _TRY.substitute(
                command=escape(_command(method, address + path, kind, example)),
                choice=f" as {escape(kind)}" if len(bodies) > 1 else "",
                method=method,
                path=escape(path),
                kind=escape(kind),
                fields=f'<div class="fields">{fields}</div>' if fields else "",
            )
        return f'<section class="card" aria-labelledby="{identifier}">{text}{self._answers(call)}</section>'

    def _answers(self, call: Json) -> str:
        """What a call answers where it is not refused."""
        text = ""
        for status, answer in call["responses"].items():
            content = answer.get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
            head = f"Answer {status}: {escape(' or '.join(content)) or 'no body'}"
            if status.startswith("2") and any(self.fields(schema)):
                text += f"<details><summary>{head}</summary>{self.table(schema)}</details>"
            elif status.startswith("2"):
                text += f"<p>{head}</p>"
        return text

    def _fields_of_form(self, prefix: str, call: Json, kind: str, schema: Json, example: object) -> str:
        made = [
            self._control(prefix, one["name"], one["in"], one["schema"], bool(one.get("required")))
            for one in call.get("parameters", [])
        ]
        answers = list(call["responses"].get("200", {}).get("content", {}))
        if len(answers) > 1:
            made.append(self._control(prefix, "Accept", "header", {"enum": answers, "default": answers[0]}))
        if kind == "multipart/form-data":
            body = self.resolved(schema)
            parts, required = body["properties"].items(), body.get("required", [])
            made += [self._control(prefix, name, "form", one, name in required) for name, one in parts]
        elif kind:
            if kind != "application/json":
                made.append(self._control(prefix, "File", "file", {"contentMediaType": kind}))
            text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False, indent=2)
            made.append(
                f'<p class="wide"><label for="{prefix}-body">Body</label>'
                f'<textarea id="{prefix}-body" data-in="body" spellcheck="false">\n{escape(text)}</textarea></p>'
            )
        return "".join(made)

    def _control(self, prefix: str, name: str, place: str, schema: Json, required: bool = False) -> str:
        """A labelled field for one value; `place` says where in the request it goes."""
        schema = self.resolved(schema)
        for option in _options(schema)[:1]:
            schema = self.resolved(option) | schema
        default, kind = _plain(schema.get("default")), schema.get("type")
        said = f'id="{prefix}-{escape(name)}" name="{escape(name)}" data-in="{place}"{" required" if required else ""}'
        values = ["false", "true"] if kind == "boolean" else [_plain(one) for one in schema.get("enum", [])]
        if values:
            offered = values if default or required else ["", *values]
            chosen = [(" selected" if one == default else "", escape(one)) for one in offered]
            control = f"<select {said}>{''.join(f'<option{mark}>{one}</option>' for mark, one in chosen)}</select>"
        elif "contentMediaType" in schema or "contentMediaType" in schema.get("items", {}):
            control = f'<input {said} type="file"{" multiple" if kind == "array" else ""}>'
        else:
            number = kind in ("integer", "number")
            ends = [f' {end}="{schema[key]:g}"' for end, key in _ENDS if key in schema] if number else []
            control = f'<input {said} type="{"number" if number else "text"}"{"".join(ends)} value="{escape(default)}">'
        return f'<p><label for="{prefix}-{escape(name)}">{escape(name)}</label>{control}</p>'

    def table(self, schema: Json) -> str:
        """What the schema is for, and its fields as a table; where it has none, its type."""
        rows = {name: (_code(name), *cells) for name, *cells in self.fields(schema)}
        if not rows:
            return f"<p>{self.type(schema)}</p>"
        purpose = "" if _component(schema) in self._apart else self.resolved(schema).get("description", "")
        text = f"<p>{html_of(purpose)}</p>".replace("\n\n", "</p><p>") if purpose else ""
        return text + table(("Field", "Type", "Presence", "Description"), rows.values())

    def fields(
        self, schema: Json, prefix: str = "", within: tuple[str, ...] = (), one_of: bool = False
    ) -> Iterator[tuple[str, ...]]:
        """Name, type, presence and description of each field, with those inside it: `model.version`, `rows[].name`.

        A component inside itself is not opened again, nor one with a section of its own, unless it is asked for.
        """
        name = _component(schema)
        if name and (name in within or (name in self._apart and schema != {"$ref": name})):
            return
        within, schema = (*within, name), self.resolved(schema)
        options = [one for one in _options(schema) if one.get("type") != "null"]
        for option in options:
            yield from self.fields(option, prefix, within, len(options) > 1)
        if "items" in schema:
            yield from self.fields(schema["items"], f"{prefix}[]", within)
        if isinstance(values := schema.get("additionalProperties"), dict):
            yield from self.fields(values, f"{prefix}.*" if prefix else "*", within)
        required = schema.get("required", [])
        for key, one in schema.get("properties", {}).items():
            path = f"{prefix}.{key}" if prefix else key
            whole = self.resolved(one)
            presence = _presence({"required": key in required, "schema": whole})
            description = html_of(whole.get("description", ""))
            yield path, self.type(one), "in one form" if one_of and key in required else presence, description
            yield from self.fields(one, path, within)

    def resolved(self, schema: Json) -> Json:
        """The component that a reference names, with what stands beside the reference."""
        while name := _component(schema):
            schema = self._components[name] | {key: value for key, value in schema.items() if key != "$ref"}
        return schema

    def type(self, schema: Json, brief: bool = False, within: tuple[str, ...] = ()) -> str:
        """As HTML, what a value may be; `brief` leaves out its limits. A component inside itself is named."""
        if (name := _component(schema)) in self._apart:
            return f'<a href="#{escape(name)}">{escape(self.title(name))}</a>'
        if name and name in within:
            return escape(name)
        within, schema = (*within, name), self.resolved(schema)
        if values := [schema["const"]] if "const" in schema else schema.get("enum"):
            listed = ", ".join(_code(json.dumps(one, ensure_ascii=False)) for one in values[:_MOST_VALUES])
            more = f" and {len(values) - _MOST_VALUES:,} more" if len(values) > _MOST_VALUES else ""
            return f"{'one of ' if len(values) > 1 else ''}{listed}{more}"
        if options := _options(schema):
            several = sum(one.get("type") != "null" for one in options) > 1
            return " or ".join(dict.fromkeys(self.type(one, several, within) for one in options))
        kind = str(schema.get("type", "any value"))
        values = schema.get("additionalProperties")
        if "contentMediaType" in schema:
            text = "file"
        elif kind == "array":
            text = f"list of {self.type(schema.get('items', {}), brief, within)}"
        elif isinstance(values, dict):
            text = f"object, each value {self.type(values, brief, within)}"
        else:
            text = escape(str(schema.get("format", kind)))
        if brief:
            return text
        pattern = f", matches {_code(schema['pattern'])}" if "pattern" in schema else ""
        return f"{text}{_limits(schema, kind)}{pattern}"

    def example(self, schema: Json, within: tuple[str, ...] = ()) -> Any:
        """A value that fits: what the schema names as an example, else its required fields with the plainest values."""
        if (name := _component(schema)) and name in within:
            return None
        within, schema = (*within, name), self.resolved(schema)
        named = [schema[key] for key in ("example", "const", "default") if key in schema]
        if values := named or schema.get("examples") or schema.get("enum"):
            return values[0]
        if options := _options(schema):
            return None if {"type": "null"} in options else self.example(options[0], within)
        kind = str(schema.get("type", ""))
        if kind == "array":
            return [self.example(schema["items"], within)] if schema.get("minItems") else []
        if kind == "object":
            wanted = schema.get("required", [])
            fields = schema.get("properties", {}).items()
            return {name: self.example(one, within) for name, one in fields if name in wanted or "examples" in one}
        return True if kind == "boolean" else schema.get("minimum", 1) if kind in ("integer", "number") else "text"


def _section(identifier: str, title: str, html: str) -> str:
    return f'<section class="card"><h2 id="{escape(identifier)}">{escape(title)}</h2>{html}</section>'


def _component(schema: Json) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _options(schema: Json) -> list[Json]:
    options: list[Json] = schema.get("anyOf") or schema.get("oneOf") or []
    return options


def _presence(field: Json) -> str:
    """Of a parameter, with the place where it goes, or of a field."""
    default = field["schema"].get("default")
    optional = "optional" if default in (None, "", [], {}) else f"default {_code(json.dumps(default))}"
    place = f"{field['in']}, " if "in" in field else ""
    return place + ("required" if field.get("required") else optional)


def _limits(schema: Json, kind: str) -> str:
    low, high, unit = _LIMITS.get(kind, ("", "", ""))
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    ends = [f"{int(end) if float(end).is_integer() else end:,}" for end in (least, most) if end is not None]
    words = " to ".join(ends) if len(ends) == 2 else f"{'at most' if least is None else 'at least'} {ends[0]}"
    return f", {words}{unit}{'s' if unit and ends[-1] != '1' else ''}"


def _command(method: str, address: str, kind: str, example: object) -> str:
    """The call as a command for a POSIX shell."""
    command = f"curl {'' if method == 'GET' else f'-X {method} '}{_quoted(address)}"
    if kind == "multipart/form-data" and isinstance(example, dict):
        return command + "".join(f" -F {_quoted(f'{name}=@FILE')}" for name in example)
    if not kind:
        return command
    text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
    return f"{command} -H 'Content-Type: {kind}' --data-binary '{text.replace(chr(39), _QUOTE)}'"


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w:/.%~-]+", word, re.ASCII) else "'" + word.replace("'", _QUOTE) + "'"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
