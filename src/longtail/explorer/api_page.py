"""The description of the API as a page that needs nothing from elsewhere, and no script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

__all__ = ["STYLE", "api_page"]

Schema = Mapping[str, Any]

STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-top: 1px solid #8886; padding-top: 1rem; }
h2 code, dt code { font-weight: 600; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0;
  border-bottom: 1px solid #8884; }
pre { overflow-x: auto; background: #8882; padding: .75rem; border-radius: .25rem; }
"""


def api_page(spec: Schema) -> str:
    """A page of HTML.

    Parameters
    ----------
    spec
        An OpenAPI document.
    """
    operations = [
        (method.upper(), path, operation)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = spec["components"]["schemas"]
    contents = "".join(
        f'<li><a href="#{_anchor(method, path)}"><code>{method} {escape(path)}</code></a></li>'
        for method, path, _ in operations
    )
    info = spec["info"]
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(info["title"])}: the API</title><link rel="stylesheet" href="/docs.css"></head>
<body><main>
<h1>{escape(info["title"])}: the API</h1>
<p>{escape(info["description"])} Version {escape(info["version"])}.
For programs: <a href="/openapi.json">openapi.json</a>. <a href="/">Back to the explorer</a>.</p>
<ul>{contents}</ul>
{"".join(_operation(*operation) for operation in operations)}
<h2 id="objects">Objects</h2>
{"".join(_object(name, schema) for name, schema in schemas.items())}
</main></body></html>"""


def _anchor(method: str, path: str) -> str:
    return escape(f"{method} {path}".replace(" ", "").replace("{", "").replace("}", ""))


def _operation(method: str, path: str, operation: Schema) -> str:
    text = "".join(f"<p>{escape(part)}</p>" for part in operation["description"].split("\n\n"))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    answers = "".join(
        f"<tr><td>{status}</td><td>{escape(answer['description'])}</td>"
        f"<td>{_content_type(answer)}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    return f"""<section id="{_anchor(method, path)}">
<h2><code>{method} {escape(path)}</code></h2>{text}
{_parameters(operation.get("parameters", []))}
{f"<p>Body: {_type(body['schema'])}</p>" if body else ""}
{_example(body.get("example"))}
<table><tr><th>status</th><th>meaning</th><th>answer</th></tr>{answers}</table></section>"""


def _content_type(answer: Schema) -> str:
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return _type(schema)


def _parameters(parameters: list[Schema]) -> str:
    if not parameters:
        return ""
    lines = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{_type(p['schema'])}</td>"
        f"<td>{'required' if p.get('required') else _default(p['schema'])}</td></tr>"
        for p in parameters
    )
    return f"<table><tr><th>parameter</th><th>type</th><th>default</th></tr>{lines}</table>"


def _example(example: Any) -> str:
    if example is None:
        return ""
    return f"<pre>{escape(json.dumps(example, indent=2, ensure_ascii=False))}</pre>"


def _object(name: str, schema: Schema) -> str:
    required = schema.get("required", [])
    lines = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{_type(inner)}</td>"
        f"<td>{'' if field in required else _default(inner)}</td>"
        f"<td>{escape(inner.get('description', ''))}</td></tr>"
        for field, inner in schema.get("properties", {}).items()
    )
    return f"""<h3 id="{escape(name)}"><code>{escape(name)}</code></h3>
<p>{escape(schema.get("description", ""))}</p>
<table><tr><th>field</th><th>type</th><th>default</th><th></th></tr>{lines}</table>"""


def _default(schema: Schema) -> str:
    return escape(json.dumps(schema["default"])) if "default" in schema else ""


_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "&gt; {}",
    "maximum": "≤ {}",
    "minLength": "≥ {} characters",
    "maxLength": "≤ {} characters",
    "minItems": "≥ {} entries",
    "maxItems": "≤ {} entries",
    "minProperties": "≥ {} entries",
    "maxProperties": "≤ {} entries",
}


def _type(schema: Schema) -> str:
    """What values a schema allows, in words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(_type(one) for one in schema[union])
    if "enum" in schema:
        return " or ".join(escape(json.dumps(value)) for value in schema["enum"])
    kind = escape(str(schema.get("type", "any")))
    if kind == "array":
        kind = f"list of {_type(schema.get('items', {}))}"
    elif isinstance(schema.get("additionalProperties"), dict):
        kind = f"object of {_type(schema['additionalProperties'])}"
    bounds = [words.format(f"{schema[k]:,}") for k, words in _BOUNDS.items() if k in schema]
    return f"{kind} ({', '.join(bounds)})" if bounds else kind
