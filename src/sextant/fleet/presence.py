"""One asker among others: it says that it is there, hears who else is, and who keeps the fleet.

It sends pulses on its own session, to everybody who has connected there, and on the sessions that
it opened to other askers, which is how they first hear of it. What it hears on the wire's threads
is only noted; all the rest happens in `step`, on the thread that watches.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sextant.fleet import messages, wire
from sextant.fleet.election import Candidate, elect
from sextant.fleet.lines import Lines
from sextant.fleet.messages import Pulse
from sextant.fleet.wire import Keys

_PULSE_S = 0.5
_GONE_AFTER_S = 1.6
"""An asker without a pulse for so long is gone, though its link may seem to be there."""
_FORGOTTEN_AFTER_S = 60.0
_SETTLED_AFTER_S = 1.5
"""One that came just now may not have heard the keeper yet, and takes nothing over."""


@dataclass(slots=True)
class _Peer:
    """Another asker: its last pulse, when that came, and whether its token is there."""

    pulse: Pulse
    heard_s: float
    linked: bool = True


class Presence:
    """This asker's part in the fleet.

    Attributes:
        keeping: whether it keeps the fleet.
        term: the term of the keeper, as far as is known.
        over: whether the fleet was ended on purpose.
    """

    def __init__(self, session: Any, keys: Keys, asker: str, endpoint: str) -> None:
        self.keeping = self.standing = self.over = False
        self.term = 0
        self._session, self._keys = session, keys
        self._asker, self._endpoint = asker, endpoint
        self._rank = time.time_ns()
        self._came_s = time.monotonic()
        self._peers: dict[str, _Peer] = {}
        self._pulsed_s = 0.0
        self._lines = Lines(keys, self._furnish, self._hear, own=endpoint)
        self._entities = [
            session.declare_subscriber(keys.pulse, wire.direct(self._lines.hear)),
            session.liveliness().declare_token(keys.asker(asker)),
        ]

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where this asker and those that it hears listen."""
        alive = (peer.pulse.endpoint for peer in self._heard().values())
        return (self._endpoint, *alive)

    @property
    def newest_charter(self) -> int:
        """The highest number of a charter that another asker has."""
        return max((peer.pulse.charter for peer in self._heard().values()), default=0)

    def connect(self, endpoints: tuple[str, ...]) -> None:
        """Opens sessions to other askers; they are opened again by themselves once lost."""
        self._lines.tell(endpoints)
        self._lines.follow()

    def step(self, charter: int) -> None:
        """Follows the others, decides who keeps the fleet, and says so."""
        self._lines.follow()
        self._forget()
        before = (self.keeping, self.term, self.over)
        peers = self._heard()
        self.over = self.over or any(peer.pulse.over for peer in peers.values())
        others = [_candidate(peer.pulse) for peer in peers.values()]
        mine = elect(self._me(), others)
        self.keeping, self.term = mine.keeping and not self.over, mine.term
        now_s = time.monotonic()
        changed = before != (self.keeping, self.term, self.over)
        if changed or now_s - self._pulsed_s >= _PULSE_S:
            self._pulsed_s = now_s
            self.pulse(charter)

    def pulse(self, charter: int) -> None:
        """Says that it is there."""
        pulse = Pulse(
            asker=self._asker,
            endpoint=self._endpoint,
            rank=self._rank,
            term=self.term,
            keeping=self.keeping,
            standing=self.standing,
            over=self.over,
            charter=charter,
            askers=self.endpoints[1:],
        )
        packed = messages.pack_pulse(pulse)
        for session in (self._session, *self._lines.sessions):
            session.put(self._keys.pulse, packed)

    def fetch_charter(self, timeout_s: float) -> list[bytes]:
        """The charters of those who answer."""
        asked = [s.get(self._keys.charter, timeout=timeout_s) for s in self._lines.sessions]
        replies = (reply for answers in asked for reply in answers)
        return [bytes(reply.ok.payload) for reply in replies if reply.ok is not None]

    def close(self) -> None:
        """Says no more."""
        self._lines.close()

    def _me(self) -> Candidate:
        settled = time.monotonic() - self._came_s >= _SETTLED_AFTER_S
        return Candidate(
            rank=(self._rank, self._asker),
            term=self.term,
            keeping=self.keeping,
            standing=self.standing and settled and not self.over,
        )

    def _heard(self) -> Mapping[str, _Peer]:
        now_s = time.monotonic()
        return {
            name: peer
            for name, peer in tuple(self._peers.items())
            if peer.linked and now_s - peer.heard_s < _GONE_AFTER_S
        }

    def _forget(self) -> None:
        now_s = time.monotonic()
        for name, peer in tuple(self._peers.items()):
            if now_s - peer.heard_s > _FORGOTTEN_AFTER_S:
                del self._peers[name]

    def _furnish(self, session: Any) -> list[Any]:
        hear = wire.direct(self._hear_token)
        return [session.liveliness().declare_subscriber(self._keys.askers, hear, history=True)]

    def _hear_token(self, sample: Any) -> None:
        peer = self._peers.get(str(sample.key_expr).rpartition("/")[2])
        if peer is not None:
            peer.linked = sample.kind == wire.zenoh().SampleKind.PUT

    def _hear(self, pulse: Pulse) -> None:
        if pulse.asker != self._asker:
            self._peers[pulse.asker] = _Peer(pulse, time.monotonic())


def _candidate(pulse: Pulse) -> Candidate:
    return Candidate(
        rank=(pulse.rank, pulse.asker),
        term=pulse.term,
        keeping=pulse.keeping,
        standing=pulse.standing,
    )
