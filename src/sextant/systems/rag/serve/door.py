"""Every request comes through here: who asks, from where, how much, and how it ended.

The order matters: a stranger's body is not read, and a body is whole and within its bounds before
anything parses it. Whatever goes wrong inside becomes a problem in JSON, never a traceback.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sextant.fleet.address import is_loopback
from sextant.systems.rag.serve.answers import HEADERS, problem
from sextant.systems.rag.serve.body import Gone, Message, Receive, Scope, read_body, replayed
from sextant.systems.rag.serve.gate import Gate
from sextant.systems.rag.serve.journal import Journal
from sextant.systems.rag.serve.limits import Limits
from sextant.systems.rag.serve.measures import Measures
from sextant.systems.rag.serve.refusal import Refusal
from sextant.systems.rag.serve.tokens import LOCAL, Caller, Tokens

Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN = frozenset({"/", "/health", "/ready", "/docs", "/openapi.json", "/favicon.ico"})
_OPEN_UNDER = "/static/"
_METRICS = "/metrics"
_QUESTIONS = frozenset({"/search", "/ask"})
_DOCUMENTS = "/documents"
_NOBODY_WAITS = 499
"""What the journal says of a client that went away; nobody receives it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """Who may come in.

    Attributes:
        limits: the bounds of a request.
        tokens: what callers prove themselves with; None where only this machine can connect.
        loopback: whether the server listens on loopback alone.
        index_dir: the index, where it may be changed over HTTP.
    """

    limits: Limits
    tokens: Tokens | None
    loopback: bool
    index_dir: Path | None = None


class Door:
    """ASGI middleware around the whole application."""

    def __init__(
        self, app: App, rules: Rules, measures: Measures, journal: Journal, gate: Gate
    ) -> None:
        self._app = app
        self._gate = gate
        self._rules = rules
        self._measures = measures
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(send)
        start_s = time.perf_counter()
        try:
            await self._serve(scope, receive, visit)
        except Gone:
            visit.status = _NOBODY_WAITS
        finally:
            route = _route(scope)
            seconds = time.perf_counter() - start_s
            self._measures.request(route, visit.status, seconds)
            self._journal.request(
                id=visit.id,
                method=scope["method"],
                route=route,
                status=visit.status,
                seconds=seconds,
                sent_bytes=visit.num_bytes,
            )

    async def _serve(self, scope: Scope, receive: Receive, visit: _Visit) -> None:
        try:
            state = scope.setdefault("state", {})
            state["visit"] = visit.id
            state["caller"] = caller = self._caller(scope)
            limits = self._rules.limits
            large = scope["path"] == _DOCUMENTS and caller.trusted
            most_bytes = limits.documents_bytes if large else limits.body_bytes
            if scope["path"] in _QUESTIONS:
                # What cannot be answered must cost next to nothing, or refusing is no relief.
                self._gate.check_room()
            body = await read_body(scope, receive, most_bytes, limits.body_s)
            await self._app(scope, replayed(body, receive), visit.send)
        except Refusal as refusal:
            await self._refuse(refusal, scope, receive, visit)
        except (Gone, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the journal has it, the client a problem
            self._journal.bug(visit.id, error)
            if not visit.started:
                await self._refuse(bug(visit.id), scope, receive, visit)
            elif not visit.ended:
                raise Gone from None

    def _caller(self, scope: Scope) -> Caller:
        """Who asks.

        Raises:
            Refusal: 401 or 403; nobody who may.
        """
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if sum(name == b"authorization" for name, _ in scope["headers"]) > 1:
            raise Refusal(401, "two tokens at once", where="Authorization", why="token")
        host = headers.get(b"host", "")
        if self._rules.tokens is None and host and not is_loopback(_name(host)):
            # A page elsewhere may have its own name point to this machine (DNS rebinding).
            raise Refusal(
                403, "this server answers to its loopback names alone", where="Host", why="host"
            )
        origin = headers.get(b"origin")
        if origin is not None and scope["method"] != "GET" and _site(origin) != host:
            raise Refusal(403, "a page of another site asks", where="Origin", why="origin")
        if self._rules.tokens is None:
            return LOCAL
        path = scope["path"]
        is_open = path in _OPEN or path.startswith(_OPEN_UNDER)
        if is_open or (path == _METRICS and self._rules.loopback):
            return Caller(groups=(), by_token=False)
        return self._rules.tokens.caller(headers.get(b"authorization"))

    async def _refuse(
        self, refusal: Refusal, scope: Scope, receive: Receive, visit: _Visit
    ) -> None:
        self._measures.refused(refusal.why)
        await problem(refusal)(scope, receive, visit.send)


class _Visit:
    """One request's answer on its way out: adds the headers, keeps count."""

    def __init__(self, send: Send) -> None:
        self.id = secrets.token_hex(6)
        self.status = 0
        self.started = False
        self.ended = False
        self.num_bytes = 0
        self._send = send

    async def send(self, message: Message) -> None:
        """Send a piece of the answer."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            own = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *((n, v) for n, v in _HEADERS if n not in own),
                (b"x-request-id", self.id.encode()),
            ]
        else:
            self.ended = not message.get("more_body", False)
        self.num_bytes += len(message.get("body", b""))
        await self._send(message)


def bug(visit: str) -> Refusal:
    """What is said of a failure that nobody foresaw: where to look for it, and nothing else."""
    what = "the server failed; its journal has the reason"
    return Refusal(500, what, where=f"request {visit}", why="bug")


_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


def _route(scope: Any) -> str:
    """The route's own path: what was asked for may hold anything."""
    path: str = scope["path"]
    return path if path in _QUESTIONS else getattr(scope.get("route"), "path", None) or "other"


def _site(origin: str) -> str | None:
    """The host and port of an `Origin`; None for what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _name(host: str) -> str:
    """The name in a `Host` header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
