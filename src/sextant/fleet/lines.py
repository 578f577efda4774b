"""The sessions of one process to the askers that it knows of; it follows what their pulses tell.

A session an asker, and not one for all: Zenoh takes the endpoints to connect to only when a session
is opened, and a session costs 0.14 MB and no thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from sextant.fleet import messages, wire
from sextant.fleet.messages import Pulse
from sextant.fleet.wire import Keys

_FORGOTTEN_AFTER_S = 30.0
"""An asker that nobody told of for so long is not looked for any more."""

Furnish = Callable[[Any], list[Any]]
"""Declares on a new session what its owner offers there; what it returns is kept alive."""


class Lines:
    """Safe to use from many threads; `follow` opens and closes, and may take half a second."""

    def __init__(
        self, keys: Keys, furnish: Furnish, hear: Callable[[Pulse], None], own: str = ""
    ) -> None:
        self._keys = keys
        self._furnish = furnish
        self._hear = hear
        self._own = own
        self._lock = threading.Lock()
        self._lines: dict[str, tuple[Any, list[Any]]] = {}
        self._told_s: dict[str, float] = {}
        self.pulse_s = time.monotonic()
        """When any asker was heard last."""

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The askers that there is a session to."""
        return tuple(self._lines)

    @property
    def sessions(self) -> tuple[Any, ...]:
        """The sessions, one an asker."""
        with self._lock:
            return tuple(session for session, _ in self._lines.values())

    def tell(self, endpoints: Iterable[str]) -> None:
        """Tells of askers; `follow` opens sessions to them."""
        now_s = time.monotonic()
        self._told_s |= {endpoint: now_s for endpoint in endpoints if endpoint != self._own}

    def follow(self) -> None:
        """Opens sessions to the askers that were told of, and lets go of those long forgotten."""
        now_s = time.monotonic()
        for endpoint, told_s in tuple(self._told_s.items()):
            if now_s - told_s > _FORGOTTEN_AFTER_S:
                self._told_s.pop(endpoint, None)
                self._drop(endpoint)
            elif endpoint not in self._lines:
                self._open(endpoint)

    def hear(self, sample: Any) -> None:
        """Takes in a pulse, by whatever session it came."""
        wire.settle()
        try:
            pulse = messages.unpack_pulse(bytes(sample.payload))
        except (ValueError, TypeError):
            return
        self.pulse_s = time.monotonic()
        self.tell((pulse.endpoint, *pulse.askers))
        self._hear(pulse)

    def close(self) -> None:
        """Closes all sessions; `follow` opens them again."""
        for endpoint in self.endpoints:
            self._drop(endpoint)

    def _open(self, endpoint: str) -> None:
        session = wire.connect(endpoint)
        kept = [session.declare_subscriber(self._keys.pulse, wire.direct(self.hear))]
        with self._lock:
            self._lines[endpoint] = (session, kept)
        kept += self._furnish(session)

    def _drop(self, endpoint: str) -> None:
        with self._lock:
            session, _ = self._lines.pop(endpoint, (None, None))
        if session is not None:
            session.close()
