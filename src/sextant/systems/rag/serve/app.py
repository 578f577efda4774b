"""The application: its routes behind its door, and what becomes of what goes wrong."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sextant import __version__
from sextant.systems.rag.serve import shards
from sextant.systems.rag.serve.answers import problem
from sextant.systems.rag.serve.desk import Desk
from sextant.systems.rag.serve.documents import document_routes
from sextant.systems.rag.serve.door import App, Door, Rules, bug
from sextant.systems.rag.serve.operations import operation_routes
from sextant.systems.rag.serve.pages import page_routes
from sextant.systems.rag.serve.questions import question_routes
from sextant.systems.rag.serve.refusal import Refusal

_ABOUT = (
    "Questions over a sharded index. Every answer says what share of the documents it could "
    "search (`coverage`) and which shards were missing."
)
_HINTS = {404: "GET /docs lists what there is", 405: "GET /docs lists what there is"}


def build_app(desk: Desk, rules: Rules) -> App:
    """The application over an open service, as ASGI."""
    api = build_api(desk, rules)
    desk.measures.watch_shards(lambda: shards.counts(desk.service), shards.STATES)
    return Door(api, rules, desk.measures, desk.journal, desk.gate)


def build_api(desk: Desk, rules: Rules) -> FastAPI:
    """The routes alone."""
    api = FastAPI(
        title="Sextant RAG",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        # Telling a route without its slash apart would redirect, and so repeat what was asked.
        redirect_slashes=False,
    )
    api.include_router(question_routes(desk))
    api.include_router(operation_routes(desk, loopback=rules.loopback))
    if rules.index_dir is not None:
        api.include_router(document_routes(desk, rules.index_dir))
    api.include_router(page_routes(api))
    api.add_exception_handler(Refusal, _refused(desk))
    api.add_exception_handler(RequestValidationError, _invalid(desk))
    api.add_exception_handler(HTTPException, _http(desk))
    api.add_exception_handler(Exception, _bug)
    if rules.tokens is not None:
        _describe_tokens(api)
    return api


def _refused(desk: Desk) -> Any:
    async def handle(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        desk.measures.refused(error.why)
        return problem(error)

    return handle


def _invalid(desk: Desk) -> Any:
    async def handle(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        desk.measures.refused("input")
        return problem(refusal_of(error))

    return handle


def _http(desk: Desk) -> Any:
    async def handle(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        desk.measures.refused("input")
        what = str(error.detail)
        where = "body" if error.status_code == 400 else None
        refusal = Refusal(error.status_code, what, where=where, hint=_HINTS.get(error.status_code))
        answer = problem(refusal)
        answer.headers.update(error.headers or {})
        return answer

    return handle


async def _bug(request: Request, _: Exception) -> Response:
    """What a client is told of a bug; it goes on to the door, which writes it down."""
    return problem(bug(request.state.visit))


def refusal_of(error: RequestValidationError) -> Refusal:
    """The first thing that is wrong with a request, without what it held."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part != "body"]
    where = ".".join(place[:2])[:80] or "body"
    if first["type"] == "json_invalid":
        return Refusal(422, "not JSON", where=f"body, character {where}")
    if first["type"] in ("model_attributes_type", "dict_type") and not place:
        hint = 'a JSON object such as {"question": "..."}, with Content-Type: application/json'
        return Refusal(422, "not a JSON object", where="body", hint=hint)
    if first["type"] == "extra_forbidden":
        return Refusal(422, "unknown field", where=where, hint="GET /docs lists the fields")
    return Refusal(422, str(first["msg"]), where=where)


def _describe_tokens(api: FastAPI) -> None:
    """Has the description say that a token is needed."""
    plain = api.openapi

    def described() -> dict[str, Any]:
        schema = plain()
        schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["token"] = {"type": "http", "scheme": "bearer"}
        schema["security"] = [{"token": []}]
        return schema

    api.openapi = described  # type: ignore[method-assign]
