"""One server over an open service: from its socket to its orderly end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time

from sextant.errors import EngineError
from sextant.systems.rag.serve.desk import Answering, Desk
from sextant.systems.rag.serve.door import Rules
from sextant.systems.rag.serve.journal import Journal
from sextant.systems.rag.serve.measures import Measures
from sextant.systems.rag.serve.server import make_server

_STARTED_WITHIN_S = 30.0
_POLL_S = 0.01
_FORCED_S = 2.0
_TURN_S = 0.0005


class Front:
    """Serves on a thread of its own, so that signals stay with whoever holds it."""

    def __init__(
        self, service: Answering, rules: Rules, listener: socket.socket, journal: Journal
    ) -> None:
        self.desk = Desk(service=service, limits=rules.limits, measures=Measures(), journal=journal)
        self.server = make_server(self.desk, rules)
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    @property
    def url(self) -> str:
        """Where it serves."""
        return url_of(*self._listener.getsockname()[:2])

    def start(self) -> None:
        """Begin to serve; questions are taken once this returns.

        Raises:
            EngineError: the server did not come up.
        """
        # The loop lets go of the interpreter at every read and write, and by default has it back
        # from a thread that computes 5 ms later: a hundred requests would take a second.
        sys.setswitchinterval(_TURN_S)
        self._thread.start()
        until_s = time.monotonic() + _STARTED_WITHIN_S
        while not self.server.started:
            if not self._thread.is_alive() or time.monotonic() > until_s:
                raise EngineError("the HTTP server did not start", where=self.url)
            time.sleep(_POLL_S)
        self.desk.journal.line("serving", url=self.url, pid=os.getpid())

    def stop(self, drain_s: float | None = None) -> None:
        """Take nothing new, and finish what is under way within `drain_s` (the limits')."""
        drain_s = self.desk.limits.drain_s if drain_s is None else drain_s
        self.desk.draining = True
        self.desk.journal.line("stopping", url=self.url, pid=os.getpid())
        self.server.config.timeout_graceful_shutdown = drain_s  # type: ignore[assignment]
        self.server.should_exit = True
        self._thread.join(drain_s + _FORCED_S)
        self.server.force_exit = True
        self._thread.join(_FORCED_S)
        self.desk.crew.close()

    def _serve(self) -> None:
        asyncio.run(self.server.serve([self._listener]))


def url_of(host: str, port: int) -> str:
    """The address of a server as a browser takes it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
