"""A router: a process of the fleet that takes questions over HTTP and asks the shards.

Several of them, each with a port of its own, ask the same shards, so none is alone: a client tries
the other, and the fleet starts again the one that died. Whoever started the fleet keeps it; should
that process be killed, a router that stands by takes the fleet over.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sextant.fleet import Deadline, Fleet, Member, MemberSpec
from sextant.fleet.address import is_loopback
from sextant.systems.rag.answerers import Answerer
from sextant.systems.rag.live import LiveService
from sextant.systems.rag.remembered import embedder_of
from sextant.systems.rag.serve.door import Rules
from sextant.systems.rag.serve.front import Front
from sextant.systems.rag.serve.gather import SharedEmbedder
from sextant.systems.rag.serve.journal import Journal, Lines
from sextant.systems.rag.serve.limits import Limits
from sextant.systems.rag.serve.relay import PipeEnd
from sextant.systems.rag.serve.server import bind
from sextant.systems.rag.serve.tokens import Tokens
from sextant.systems.rag.service import open_service
from sextant.systems.rag.writers import open_answerer

ROLE = "router"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a server is told, as plain data.

    Attributes:
        index: the index's folder.
        model: the model's folder, where it has moved since the index was built.
        host: the address to listen on.
        deadline_s: of a question that names none.
        token_file: who may ask; none where only this machine can.
        log: the pipe to write the log into.
        log_questions: whether the log has the questions too.
        ready_s: how long to wait for the shards.
        answerer: who answers, as `open_answerer` is told.
        answerer_model: what an endpoint calls the model.
    """

    index: str
    model: str | None
    host: str
    deadline_s: float
    token_file: str | None
    log: str | None
    log_questions: bool
    ready_s: float = 120.0
    answerer: str = "extractive"
    answerer_model: str | None = None

    def rules(self) -> Rules:
        """Who may come in, and the bounds of what they ask.

        Raises:
            InputError: the token file is wrong.
        """
        return Rules(
            limits=Limits(deadline_s=self.deadline_s),
            tokens=None if self.token_file is None else Tokens.read(Path(self.token_file)),
            loopback=is_loopback(self.host),
            index_dir=Path(self.index),
        )

    def open(self, fleet: Fleet | None, answerer: Answerer, replicas: int = 1) -> LiveService:
        """The index, open and warm; it goes with what is published in its folder.

        The answerer is closed by whoever opened it.

        Raises:
            InputError: there is no index, or its model is gone.
            EngineError: no shard serves.
        """
        service = open_service(
            self.index,
            fleet,
            model=self.model,
            answerer=answerer,
            replicas=replicas,
            ready_s=self.ready_s,
        )
        service.embedder = SharedEmbedder(service.embedder)
        service.warm()
        return LiveService(
            Path(self.index),
            service,
            fleet=fleet,
            replicas=replicas,
            embedder_for=lambda manifest: SharedEmbedder(embedder_of(manifest)),
        )


def router_spec(number: int, port: int, settings: Settings, *, standby: bool) -> MemberSpec:
    """The router of a number as a member of the gang `router`."""
    return MemberSpec(
        name=f"{ROLE}/{number}",
        factory="sextant.systems.rag.serve.router:Router",
        arguments={"settings": asdict(settings), "port": port, "standby": standby},
    )


class Router(Member):
    """Opens its door in `warm`, and drains in `close`.

    SIGTERM drains it too: the keeper then starts another. A router that keeps the fleet itself ends
    it all.
    """

    def __init__(self, settings: dict[str, Any], port: int, standby: bool) -> None:
        self._settings = Settings(**settings)
        self._port = port
        self._standby = standby

    def warm(self) -> None:
        """Attach, open the index, and serve.

        Raises:
            InputError: the port is taken, or the index or the tokens are wrong.
            EngineError: the fleet or its shards do not answer.
        """
        settings = self._settings
        rules = settings.rules()
        listener = bind(settings.host, self._port)
        self._fleet = Fleet.attach(self.card, standby=self._standby)
        self._answerer = open_answerer(settings.answerer, model=settings.answerer_model)
        self._service = settings.open(self._fleet, self._answerer)
        journal = Journal(_log(settings.log), questions=settings.log_questions)
        self._front = Front(self._service, rules, listener, journal)
        self._front.start()
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=self._leave).start())

    def handle(self, body: bytes, deadline: Deadline) -> bytes:  # noqa: ARG002 - the fleet's words
        """Questions come over HTTP alone; the fleet may see that it is there."""
        return b""

    def close(self) -> None:
        """Take nothing new, finish what came, and let go."""
        self._front.stop()
        self._service.close()
        self._answerer.close()
        self._fleet.close()

    def _leave(self) -> None:
        self._front.stop()
        if self._fleet.keeping:
            self._fleet.end()
        self._fleet.close()
        os._exit(0)


def _log(pipe: str | None) -> Lines | None:
    """Where to log: into the pipe, or, once whoever read it is gone, into the process's own log."""
    if pipe is None:
        return None
    try:
        return PipeEnd(pipe)
    except OSError:
        return sys.stderr
