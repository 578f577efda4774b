"""The description of the interface as a page: plain HTML made from the OpenAPI schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Schema = Mapping[str, Any]

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="/static/mark.svg"><link rel="stylesheet" href="/static/page.css">
<title>{title}: the interface</title></head>
<body class="reference"><header class="mast"><a class="brand" href="/">
<img src="/static/mark.svg" alt="" width="22" height="22"> Sextant</a>
<nav><a href="/">Ask</a><a href="/openapi.json">openapi.json</a></nav></header><main>
"""


def reference_page(schema: Schema) -> str:
    """The page."""
    info = schema["info"]
    parts = [
        _HEAD.format(title=escape(info["title"])),
        f"<h1>{escape(info['title'])}</h1><p class='lede'>{_code(info['description'])}</p>",
    ]
    if "security" in schema:
        parts.append("<p>Every request needs <code>Authorization: Bearer TOKEN</code>.</p>")
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            parts.append(_route(schema, path, method, route))
    return "".join([*parts, "</main></body></html>\n"])


def _route(schema: Schema, path: str, method: str, route: Schema) -> str:
    body = _body(schema, route)
    rows = "".join(_fields(schema, body)) if body else ""
    fields = f"<table><caption>Fields</caption>{rows}</table>" if rows else ""
    answers = "".join(
        f"<tr><th>{escape(status)}</th><td>{escape(answer['description'])}</td></tr>"
        for status, answer in sorted(route["responses"].items())
    )
    about = "".join(f"<p>{_code(text)}</p>" for text in route.get("description", "").split("\n\n"))
    return (
        f"<section><h2><span class='method'>{escape(method.upper())}</span> "
        f"<code>{escape(path)}</code></h2><p class='lede'>{escape(route.get('summary', ''))}</p>"
        f"{about}<pre>{escape(_curl(path, method, body))}</pre>{fields}"
        f"<table><caption>Answers</caption>{answers}</table></section>"
    )


def _body(schema: Schema, route: Schema) -> Schema | None:
    content = route.get("requestBody", {}).get("content", {}).get("application/json", {})
    return _resolved(schema, content["schema"]) if "schema" in content else None


def _resolved(schema: Schema, value: Schema) -> Schema:
    if "$ref" not in value:
        return value
    found: Schema = schema
    for name in value["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found


def _fields(schema: Schema, body: Schema) -> Iterator[str]:
    for name, field in body.get("properties", {}).items():
        needed = " <em>needed</em>" if name in body.get("required", ()) else ""
        yield (
            f"<tr><th><code>{escape(name)}</code>{needed}</th><td>{escape(_kind(schema, field))}"
            f"</td><td>{_code(field.get('description', ''))}</td></tr>"
        )


def _kind(schema: Schema, field: Schema) -> str:
    """The type of a field in words."""
    field = _resolved(schema, field)
    if "anyOf" in field:
        kinds = [_kind(schema, one) for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in field:
        return " or ".join(f'"{value}"' for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_kind(schema, field['items'])}"
    return str(field.get("type", "anything"))


def _curl(path: str, method: str, body: Schema | None) -> str:
    url = f"http://127.0.0.1:8765{path}"
    if body is None:
        return f"curl {'' if method == 'get' else f'-X {method.upper()} '}{url}"
    example = body.get("examples", [_example(body)])[0]
    text = json.dumps(example).replace("'", "'\\''")
    return f"curl {url} -H 'Content-Type: application/json' \\\n  -d '{text}'"


def _example(body: Schema) -> dict[str, Any]:
    """The fields that are needed, with something of their type."""
    return {
        name: {"string": "shard/0", "integer": 1, "number": 1.0}.get(field.get("type"), [])
        for name, field in body.get("properties", {}).items()
        if name in body.get("required", ())
    }


def _code(text: str) -> str:
    """Escaped, with what stands in backticks as code."""
    parts = text.split("`")
    return "".join(
        f"<code>{escape(part)}</code>" if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )
