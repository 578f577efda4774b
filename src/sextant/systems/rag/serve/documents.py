"""The routes that change the index while it serves: documents come, are replaced, and go.

What is answered with 200 is durable. Questions see it once every shard has the new generation open,
some tens of milliseconds later; `served` says whether that was so before the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from sextant.errors import SextantError
from sextant.fleet import Deadline
from sextant.search.workshop import OccupiedError
from sextant.systems.rag.document import Corpus, Document, EmptyCorpusError
from sextant.systems.rag.grow import (
    ChangeReport,
    NoSuchDocumentError,
    add_documents,
    delete_documents,
)
from sextant.systems.rag.serve.answers import Json
from sextant.systems.rag.serve.desk import Desk
from sextant.systems.rag.serve.gate import Gate
from sextant.systems.rag.serve.messages import Name, Problem
from sextant.systems.rag.serve.questions import PROBLEMS, Responses
from sextant.systems.rag.serve.refusal import Refusal
from sextant.systems.rag.serve.tokens import Caller

_MOST_WAITING = 8
_WAIT_S = 60.0
_SERVED_WITHIN_S = 5.0
_LOOK_S = 0.02
_ID_CHARS = 1_000
_TEXT_CHARS = 10_000_000
_FIELDS = 100

Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Whole = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
Truth = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(max_length=1_000)]


class NewDocument(BaseModel):
    """A document; one with an id that the index has replaces that one."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=_ID_CHARS)]
    title: Annotated[str, Field(max_length=_ID_CHARS)] = ""
    text: Annotated[str, Field(max_length=_TEXT_CHARS)]
    fields: dict[Name, Truth | Whole | Number | Text] = Field(
        {}, max_length=_FIELDS, description="For filters."
    )
    groups: list[Name] = Field(
        [], max_length=64, description="Who may read it; everybody, if there is none."
    )


class NewDocuments(BaseModel):
    """Documents to add."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"documents": [{"id": "n1", "title": "Tides", "text": "The Moon makes tides."}]}
            ]
        },
    )

    documents: list[NewDocument] = Field(min_length=1)


class Changed(BaseModel):
    """What a change did, and whether questions see it already."""

    generation: str
    documents: int
    added: int
    replaced: int
    unchanged: int
    folded: int = Field(description="Near-duplicates of others, which a search finds instead.")
    deleted: list[str]
    served: bool


def document_routes(desk: Desk, index_dir: Path) -> APIRouter:
    """The routes; one change at a time."""
    gate = Gate(1, _MOST_WAITING)
    statuses = (400, 401, 403, 408, 413, 422, 429, 503, 504)
    told: Responses = {status: PROBLEMS[status] for status in statuses}
    told[409] = {"model": Problem, "description": "Another process is changing the index."}
    router = APIRouter(tags=["documents"], responses=told)

    @router.post("/documents", response_model=Changed, summary="Add or replace documents")
    async def add(new: NewDocuments, request: Request) -> Response:
        """A token that sees everything is needed, where there are tokens."""
        _check_trusted(request)
        if len(new.documents) > desk.limits.documents:
            raise Refusal(422, f"must be at most {desk.limits.documents}", where="documents")
        found = [_document(one) for one in new.documents]
        corpus = Corpus("request", lambda _: iter(found))
        return await _changed(
            desk, gate, lambda: add_documents([corpus], index_dir, desk.service.embedder)
        )

    @router.delete(
        "/documents/{document:path}",
        response_model=Changed,
        responses={404: {"model": Problem, "description": "There is no such document."}},
        summary="Delete a document",
    )
    async def delete(document: str, request: Request) -> Response:
        """A token that sees everything is needed, where there are tokens."""
        _check_trusted(request)
        return await _changed(
            desk, gate, lambda: delete_documents([document], index_dir, desk.service.embedder)
        )

    return router


def _check_trusted(request: Request) -> None:
    """Refuse whoever may only ask.

    Raises:
        Refusal: 403.
    """
    caller: Caller = request.state.caller
    if not caller.trusted:
        what = "changes need a token that sees everything"
        raise Refusal(403, what, where="Authorization", hint="a token with *", why="change")


def _refusal_of(error: SextantError) -> Refusal:
    """What a change that failed is answered with; where the index lies is nobody's business."""
    if isinstance(error, NoSuchDocumentError):
        return Refusal(404, "no such document", hint=error.hint, why="change")
    if isinstance(error, EmptyCorpusError):
        hint = "a title or a text with something in it"
        return Refusal(422, "no document with text", where="documents", hint=hint, why="change")
    if isinstance(error, OccupiedError):
        return Refusal(409, error.what, hint=error.hint, why="change")
    # What was sent has been checked: what else is wrong is wrong with the index, or with its disk.
    return Refusal(503, error.what, hint=error.hint, why="engine")


def _document(new: NewDocument) -> Document:
    return Document(new.id, new.title, new.text, dict(new.fields), tuple(new.groups))


async def _changed(desk: Desk, gate: Gate, change: Callable[[], ChangeReport]) -> Response:
    """Carry a change out on a thread, and wait a little until it is served."""
    await gate.enter(Deadline.after(_WAIT_S))
    start_s = time.monotonic()
    try:
        # Shielded: a change that has begun is carried to its end, whoever waits for it.
        report = await asyncio.shield(asyncio.to_thread(change))
    except SextantError as error:
        raise _refusal_of(error) from None
    finally:
        gate.leave(time.monotonic() - start_s)
    generation = report.manifest.generation
    until_s = time.monotonic() + _SERVED_WITHIN_S
    while (served := desk.service.manifest.generation) != generation:
        if time.monotonic() > until_s:
            break
        await asyncio.sleep(_LOOK_S)
    told = {
        "generation": generation,
        "documents": report.manifest.documents,
        "added": report.added,
        "replaced": report.replaced,
        "unchanged": report.unchanged,
        "folded": len(report.folded),
        "deleted": list(report.deleted),
        "served": served == generation,
    }
    desk.journal.line("change", **{**told, "deleted": len(report.deleted)})
    return Json(told)
