"""Answers as bytes: JSON that always encodes, problems, events, and the headers of them all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from sextant.systems.rag.serve.refusal import Refusal

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer; a page has a policy of its own."""


def encoded(value: Any) -> bytes:
    """JSON in UTF-8. A lone surrogate, which JSON can say and UTF-8 cannot, becomes `?`."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


class Json(Response):
    """An answer in JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return encoded(content)


def problem(refusal: Refusal) -> Json:
    """The answer that says why there is none."""
    return Json(refusal.as_json(), refusal.status, headers=refusal.headers())


def event(name: str, value: Any) -> bytes:
    """One server-sent event. JSON holds no line end, so no text can begin another event."""
    return b"event: " + name.encode() + b"\ndata: " + encoded(value) + b"\n\n"
