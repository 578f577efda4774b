"""The routes for questions: `/search` and `/ask`, whole or as a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from sextant.systems.rag.serve.answers import Json, event
from sextant.systems.rag.serve.body import Gone
from sextant.systems.rag.serve.crew import Sofar
from sextant.systems.rag.serve.desk import Desk, told
from sextant.systems.rag.serve.messages import (
    Ask,
    Found,
    Problem,
    Question,
    checked_deadline_s,
)
from sextant.systems.rag.serve.refusal import Refusal

Responses = dict[int | str, dict[str, Any]]
PROBLEMS: Responses = {
    400: {"model": Problem, "description": "The body is not JSON in UTF-8."},
    401: {"model": Problem, "description": "There is no valid token."},
    403: {"model": Problem, "description": "The caller may not do this."},
    408: {"model": Problem, "description": "The body took too long to come."},
    413: {"model": Problem, "description": "The body is too large."},
    422: {"model": Problem, "description": "A field is wrong; `where` names it."},
    429: {
        "model": Problem,
        "description": "Too many questions wait already.",
        "headers": {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
        },
    },
    503: {"model": Problem, "description": "No shard serves, or the server is going away."},
    504: {"model": Problem, "description": "The deadline passed before there was an answer."},
}
_EVENT = {
    "type": "object",
    "description": "One event; `data` is JSON.",
    "properties": {
        "event": {"type": "string", "enum": ["hits", "text", "end", "error"]},
        "data": {"type": "string"},
    },
    "required": ["event", "data"],
}
_STREAM = {"text/event-stream": {"schema": _EVENT}}


def question_routes(desk: Desk) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["questions"], responses=PROBLEMS)

    @router.post("/search", response_model=Found, summary="The passages nearest to a question")
    async def search(question: Question, request: Request) -> Response:
        """The K best passages (10 where `k` is not given), best first; `answer` is null."""
        return await _whole(desk, question, request)

    @router.post(
        "/ask",
        response_model=Found,
        summary="An answer with citations",
        responses={200: {"content": _STREAM}},
    )
    async def ask(question: Ask, request: Request) -> Response:
        """An answer out of the K best passages (5 where `k` is not given).

        With `stream` the answer comes as server-sent events: `hits` (the result so far, without an
        answer), then `text` once a piece (`{"text", "citations"}`), then `end` (the whole result)
        or `error`.
        """
        return await (_streamed if question.stream else _whole)(desk, question, request)

    return router


async def _whole(desk: Desk, question: Question, request: Request) -> Response:
    """The final result; the work is given up when the client goes away."""
    results = desk.results(question, request.state.caller)
    last = asyncio.create_task(_last(results))
    gone = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait((last, gone), return_when=asyncio.FIRST_COMPLETED)
        if not last.done():
            raise Gone
        return Json(told(last.result(), checked_deadline_s(question, desk.limits)))
    finally:
        for task in (last, gone):
            task.cancel()


async def _last(results: AsyncGenerator[Sofar, None]) -> Sofar:
    async with aclosing(results):
        async for sofar in results:
            if sofar.final:
                return sofar
    raise AssertionError("the last result is final")


async def _disconnect(request: Request) -> None:
    """Returns when the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _streamed(desk: Desk, question: Ask, request: Request) -> Response:
    """Events, once there is a first one: until then a refusal has a status of its own."""
    results = desk.results(question, request.state.caller)
    first = asyncio.create_task(anext(results))
    gone = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait((first, gone), return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            first.cancel()
            raise Gone
        sofar = first.result()
    finally:
        gone.cancel()
    deadline_s = checked_deadline_s(question, desk.limits)
    return StreamingResponse(
        _events(sofar, results, deadline_s), media_type="text/event-stream; charset=utf-8"
    )


async def _events(
    first: Sofar, results: AsyncGenerator[Sofar, None], deadline_s: float
) -> AsyncIterator[bytes]:
    """`hits`, then a `text` for what each result adds to the answer, then `end` or `error`."""
    async with aclosing(results):
        yield event("hits", told(first, deadline_s) | {"answer": None, "citations": []})
        shown = ""
        sofar = first
        try:
            while True:
                for piece in _pieces(sofar, shown):
                    yield event("text", piece)
                shown = sofar.result.answer or ""
                if sofar.final:
                    break
                sofar = await anext(results)
        except Refusal as refusal:
            yield event("error", refusal.as_json() | {"status": refusal.status})
            return
        yield event("end", told(sofar, deadline_s))


def _pieces(sofar: Sofar, shown: str) -> Iterator[dict[str, Any]]:
    """What the answer has gained; an answer of quotations comes quotation by quotation."""
    answer, citations = sofar.result.answer or "", sofar.result.citations
    quotes = [one.text or one.title for one in citations]
    if not shown and len(quotes) > 1 and answer == " ".join(quotes):
        for number, citation in enumerate(citations):
            text = quotes[number] if number == 0 else f" {quotes[number]}"
            yield {"text": text, "citations": [citation.as_json()]}
    elif answer.startswith(shown) and answer != shown:
        yield {"text": answer[len(shown) :], "citations": [one.as_json() for one in citations]}
