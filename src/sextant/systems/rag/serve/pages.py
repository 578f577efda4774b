"""The pages: the one where a person asks, and the description of the interface. No other host is
asked for anything.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from sextant.systems.rag.serve.answers import PAGE_POLICY
from sextant.systems.rag.serve.reference import reference_page
from sextant.systems.rag.serve.refusal import Refusal

_KINDS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "ask.js": "text/javascript; charset=utf-8",
    "show.js": "text/javascript; charset=utf-8",
    "drill.js": "text/javascript; charset=utf-8",
    "mark.svg": "image/svg+xml",
}
_HTML = "text/html; charset=utf-8"
_HEADERS = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}


def page_routes(api: FastAPI) -> APIRouter:
    """The routes; none is part of the interface's description."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        return Response(_file("index.html"), media_type=_HTML, headers=_HEADERS)

    @router.get("/docs")
    async def reference() -> Response:
        return Response(reference_page(api.openapi()), media_type=_HTML, headers=_HEADERS)

    @router.get("/favicon.ico")
    async def icon() -> Response:
        return Response(_file("mark.svg"), media_type=_KINDS["mark.svg"], headers=_HEADERS)

    @router.get("/static/{name}")
    async def asset(name: str) -> Response:
        if name not in _KINDS:
            raise Refusal(404, "there is no such file")
        return Response(_file(name), media_type=_KINDS[name], headers=_HEADERS)

    return router


@cache
def _file(name: str) -> bytes:
    return files("sextant.systems.rag.serve").joinpath("page", name).read_bytes()
