"""The routes for whoever runs the server: health, metrics, the shards and the drill."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from sextant.fleet.address import is_loopback
from sextant.systems.rag.serve import shards
from sextant.systems.rag.serve.answers import Json
from sextant.systems.rag.serve.desk import Desk
from sextant.systems.rag.serve.measures import CONTENT_TYPE_LATEST
from sextant.systems.rag.serve.messages import Problem
from sextant.systems.rag.serve.questions import PROBLEMS, Responses
from sextant.systems.rag.serve.refusal import Refusal
from sextant.systems.rag.serve.tokens import Caller

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Stop(BaseModel):
    """A drill: stop one member for some seconds."""

    model_config = ConfigDict(extra="forbid")

    member: Annotated[str, Field(min_length=1, max_length=200)]
    seconds: Annotated[float, Field(gt=0, le=30, allow_inf_nan=False, strict=True)] = 5.0


class Health(BaseModel):
    """That the server is there."""

    status: str


class Ready(BaseModel):
    """That it serves, and how many members are in which state."""

    status: str
    members: dict[str, int]


class MemberView(BaseModel):
    """A process that serves a shard."""

    member: str
    state: str
    why: str
    pid: int | None = Field(description="Told to whoever runs the server alone.")


class ShardView(BaseModel):
    """A shard and who serves it."""

    shard: str
    documents: int
    passages: int
    members: list[MemberView]


class Index(BaseModel):
    """What is served, by whom, and whether this caller may stop one of them."""

    generation: str
    documents: int
    passages: int
    shards: list[ShardView]
    may_stop: bool
    pid: int | None = Field(
        description="The process that answers; SIGTERM ends it in order. For whoever runs it alone."
    )
    trouble: str = Field(description="Why a newer generation is not served yet, if so.")


class Stopped(BaseModel):
    """What became of a drill."""

    member: str
    landed: bool
    why: str
    lasts_s: float


def operation_routes(desk: Desk, *, loopback: bool) -> APIRouter:
    """The routes; the drill answers on loopback alone."""
    router = APIRouter(tags=["operations"])
    unready: Responses = {
        503: {"model": Problem, "description": "It does not serve questions now."}
    }
    closed: Responses = {status: PROBLEMS[status] for status in (401, 403)}
    drilled: Responses = {
        **{status: PROBLEMS[status] for status in (400, 401, 403, 408, 413, 422)},
        409: {"model": Problem, "description": "The shards are no processes."},
    }

    @router.get("/health", response_model=Health, summary="Is the server there?")
    async def health() -> Response:
        return Json({"status": "live"})

    @router.get("/ready", response_model=Ready, responses=unready, summary="Does it serve?")
    async def ready() -> Response:
        if desk.draining:
            raise Refusal(503, "the server is going away", retry_after_s=1.0, why="draining")
        members = shards.counts(desk.service)
        if not shards.serving(desk.service):
            raise Refusal(503, f"no shard serves: {members}", retry_after_s=1.0, why="shards")
        return Json({"status": "ready", "members": members})

    @router.get("/metrics", responses=closed, summary="For Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(desk.measures.text(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/shards", response_model=Index, responses=closed, summary="How shards stand")
    async def list_shards(request: Request) -> Response:
        may = _refusal(request, loopback) is None and shards.stoppable(desk.service)
        told = _index(desk, may_stop=may)
        return Json(told if _runs_it(request) else _for_others(told))

    @router.post(
        "/drill/stop",
        response_model=Stopped,
        responses=drilled,
        summary="Stop a member for some seconds",
    )
    async def stop(what: Stop, request: Request) -> Response:
        """SIGSTOP to the process, and SIGCONT afterwards; from this machine alone."""
        if (refusal := _refusal(request, loopback)) is not None:
            raise refusal
        told: dict[str, Any] = await asyncio.to_thread(
            shards.stop, desk.service, what.member, what.seconds
        )
        desk.journal.line("drill", **told)
        return Json(told)

    return router


def _index(desk: Desk, *, may_stop: bool) -> dict[str, Any]:
    """`Index` as plain data."""
    manifest = desk.service.manifest
    return {
        "generation": manifest.generation,
        "documents": manifest.documents,
        "passages": manifest.vectors,
        "shards": shards.views(desk.service),
        "may_stop": may_stop,
        "pid": os.getpid(),
        "trouble": getattr(desk.service, "trouble", ""),
    }


def _for_others(told: dict[str, Any]) -> dict[str, Any]:
    """`Index` without what only helps whoever can reach the processes and the files."""
    hidden = {"pid": None, "why": ""}
    return {
        **told,
        "shards": [
            {**shard, "members": [{**member, **hidden} for member in shard["members"]]}
            for shard in told["shards"]
        ],
        "pid": None,
        "trouble": "a newer generation cannot be served yet" if told["trouble"] else "",
    }


def _runs_it(request: Request) -> bool:
    """Whether this caller runs the server: by a token that sees everything, or from this machine
    where there are no tokens.
    """
    caller: Caller = request.state.caller
    return caller.trusted and (caller.by_token or not _is_proxied(request))


def _is_proxied(request: Request) -> bool:
    """Whether a proxy says so; one on this machine makes everybody look local."""
    return any(name in request.headers for name in _FORWARDED)


def _refusal(request: Request, loopback: bool) -> Refusal | None:
    """Why this caller may not stop a shard; None if they may."""
    caller: Caller = request.state.caller
    client = request.client.host if request.client else ""
    local = loopback and is_loopback(client)
    if not local or _is_proxied(request):
        return Refusal(403, "drills are for this machine alone", why="drill")
    if not caller.trusted:
        what = "drills need a token that sees everything"
        return Refusal(403, what, where="Authorization", hint="a token with *", why="drill")
    return None
