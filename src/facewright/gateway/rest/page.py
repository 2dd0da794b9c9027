"""``GET /v1/docs``: the OpenAPI document as a page. No script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from facewright.core.options import plain_number

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h2{border-top:1px solid #8884;padding-top:1rem}code,pre{font:14px/1.4 ui-monospace,monospace}"
    "pre{background:#8882;padding:.7rem;overflow-x:auto}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;border-bottom:1px solid #8883}"
    ":root{color-scheme:light dark}"
)
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: ``Content-Security-Policy`` of the page: its own style, and nothing else.
PAGE_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_TRY: Final = """\
curl --fail-with-body --data-binary @me.jpg localhost:8000/v1/avatars -o me.glb
curl -H 'Accept: application/json' --data-binary @me.jpg 'localhost:8000/v1/avatars?preview=true'
curl -F photo=@me.jpg -F texture_size=2048 localhost:8000/v1/avatars -o me.glb
curl -N -H 'Accept: text/event-stream' --data-binary @me.jpg localhost:8000/v1/avatars
curl -i -H 'Prefer: respond-async' --data-binary @me.jpg localhost:8000/v1/avatars"""


def docs_page(document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        document: see `openapi`.
    """
    info = document["info"]
    return "".join(
        (
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(info['title'])} {escape(info['version'])}</title><style>{_STYLE}</style>",
            f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])} ",
            f'<a href="openapi.json">openapi.json</a></p><pre>{escape(_TRY)}</pre>',
            *(
                piece
                for path, methods in document["paths"].items()
                for method, operation in methods.items()
                for piece in _operation(f"{method.upper()} {path}", operation)
            ),
            "<h2>Errors</h2><pre>",
            escape(json.dumps(document["components"]["schemas"]["Error"]["properties"], indent=1)),
            "</pre></html>",
        )
    )


def _operation(title: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{escape(title)}</code></h2><p>{escape(operation['summary'])}</p>"
    if "description" in operation:
        yield f"<p>{_text(operation['description'])}</p>"
    if "parameters" in operation:
        yield "<table><tr><th>parameter</th><th>in</th><th>value</th><th>meaning</th></tr>"
        for parameter in operation["parameters"]:
            value = "; ".join(_values(parameter["schema"]))
            cells = (parameter["name"], parameter["in"], value, parameter["description"])
            yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        yield "</table>"
    yield "<table><tr><th>status</th><th>answer</th><th>media types</th></tr>"
    for status, response in operation["responses"].items():
        kinds = ", ".join(response["content"])
        yield f"<tr><td>{status}</td><td>{escape(response['description'])}</td><td>{escape(kinds)}</td></tr>"
    yield "</table>"


def _values(schema: Mapping[str, Any]) -> Iterator[str]:
    """What a parameter may be."""
    for variant in schema.get("anyOf", [schema]):
        low, high = variant.get("minimum"), variant.get("maximum")
        allowed = ", ".join(map(str, variant["enum"])) if "enum" in variant else variant["type"]
        bounds = (
            f" from {plain_number(low)} to {plain_number(high)}"
            if low is not None and high is not None
            else ""
        )
        default = f", default {json.dumps(variant['default'])}" if "default" in variant else ""
        owner = f"{variant['title']}: " if "title" in variant else ""
        yield f"{owner}{allowed}{bounds}{default}"


def _text(markdown: str) -> str:
    """Text whose only markup are backticks."""
    pieces = escape(markdown).split("`")
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))
