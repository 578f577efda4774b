"""Who is near and alive, by the freshness of their last word."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.systems.swarm.world.grid import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbour:
    """The last word of a drone; `at_s` is when it said so."""

    name: int
    at_s: float
    position_2: Floats
    velocity_2: Floats
    landed: bool = False


class Neighbours:
    """The last words of all others; an older word never replaces a newer one."""

    def __init__(self, fresh_s: float) -> None:
        self.fresh_s = fresh_s
        self._known: dict[int, Neighbour] = {}

    def hear(self, neighbour: Neighbour) -> None:
        """Take in a word; idempotent, in any order."""
        known = self._known.get(neighbour.name)
        if known is None or neighbour.at_s > known.at_s:
            self._known[neighbour.name] = neighbour

    def heard(self, name: int) -> Neighbour | None:
        """The last word of a drone."""
        return self._known.get(name)

    def alive(self, now_s: float) -> list[Neighbour]:
        """Those that spoke of late and fly."""
        return [n for n in self._known.values() if self._fresh(n, now_s) and not n.landed]

    def gone(self, now_s: float) -> set[int]:
        """Those that fell silent, or landed."""
        return {n.name for n in self._known.values() if n.landed or not self._fresh(n, now_s)}

    def _fresh(self, neighbour: Neighbour, now_s: float) -> bool:
        return now_s - neighbour.at_s <= self.fresh_s
