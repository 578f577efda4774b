"""Who is near and alive, by the freshness of their last word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import hypot, inf

from sextant.systems.swarm.world.grid import Floats

PROMISE_S = 0.4
"""How long a promise in a word is kept, whatever its speaker hears or says later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """A disk of velocities; who gave it flies one of them, or a part of one, so that it may brake.

    Attributes:
        course: the middle, metres a second each way.
        veer_m_s: the radius.
    """

    course: tuple[float, float] = (0.0, 0.0)
    veer_m_s: float

    @property
    def fastest_m_s(self) -> float:
        """The highest speed in it."""
        return hypot(*self.course) + self.veer_m_s


def source_of(name: int, boot: int) -> int:
    """The number under which a drone writes from one start to the next."""
    return boot << 16 | name


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbour:
    """The last word of a drone.

    Attributes:
        name: its number.
        at_s: when it said so.
        position_2: where it believes to be.
        velocity_2: how it flies.
        landed: it is on the ground.
        promise: how it will fly for PROMISE_S; None promises nothing.
        rank: who may pass: the lower goes first.
        way_2: where it cannot pass, points that it would fly along; empty where nobody is in
            its way.
        boot: another at each start of it.
    """

    name: int
    at_s: float
    position_2: Floats
    velocity_2: Floats
    landed: bool = False
    promise: Promise | None = None
    rank: float = 0.0
    way_2: tuple[tuple[float, float], ...] = ()
    boot: int = 0

    @property
    def source(self) -> int:
        """The number under which it writes."""
        return source_of(self.name, self.boot)

    def fastest(self, now_s: float, speed_m_s: float) -> float:
        """The most that it flies now: what it promised, or after that what anybody can."""
        return min(self.flies(now_s, speed_m_s).fastest_m_s, speed_m_s)

    def flies(self, now_s: float, speed_m_s: float) -> Promise:
        """What it keeps to now: its promise, or after that what anybody can."""
        if self.promise is None or now_s - self.at_s > PROMISE_S - 1e-6:
            return Promise(veer_m_s=speed_m_s)
        return self.promise


class Neighbours:
    """The last words of all others; an older word never replaces a newer one.

    Clocks may differ. By one that is behind a word is older than it is, which makes careful only.
    By one that is ahead it would be younger, and its promise believed for too long; but no word was
    said after it was heard, so what is left of that error is at most how long it was on its way.
    """

    def __init__(self, fresh_s: float) -> None:
        self.fresh_s = fresh_s
        self._known: dict[int, Neighbour] = {}
        self._said_s: dict[int, float] = {}

    def hear(self, neighbour: Neighbour, now_s: float) -> None:
        """Take in a word that is heard now; idempotent, in any order."""
        name, said_s = neighbour.name, neighbour.at_s
        if said_s > self._said_s.get(name, -inf):
            self._said_s[name] = said_s
            ahead = said_s > now_s
            self._known[name] = replace(neighbour, at_s=now_s) if ahead else neighbour

    def heard(self, name: int) -> Neighbour | None:
        """The last word of a drone."""
        return self._known.get(name)

    def alive(self, now_s: float) -> list[Neighbour]:
        """Those that spoke of late and fly."""
        least_s = now_s - self.fresh_s
        return [n for n in self._known.values() if n.at_s >= least_s and not n.landed]

    def gone(self, now_s: float) -> set[int]:
        """Those that fell silent, or landed."""
        least_s = now_s - self.fresh_s
        return {n.name for n in self._known.values() if n.landed or n.at_s < least_s}


def nearest_m(position_2: Floats, others: Iterable[Neighbour]) -> float:
    """How far off the nearest says that it is; infinite if there is nobody."""
    x, y = position_2.tolist()
    places = (other.position_2.tolist() for other in others)
    return min((hypot(ox - x, oy - y) for ox, oy in places), default=inf)
