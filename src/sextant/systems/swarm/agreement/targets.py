"""Targets: estimates that grow surer, shared by merging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import hypot
from typing import NamedTuple

import numpy as np

from sextant.systems.swarm.world.grid import Floats

_SAME_M = 1.2
CONFIRMED = 3
"""Sightings from which a target is reported."""


class Estimate(NamedTuple):
    """A drone's own estimate of a target: the mean of its sightings, in metres.

    A tuple, because each word that tells of targets brings all that its speaker knows.
    """

    x_m: float
    y_m: float
    sightings: int

    def is_near(self, other: Estimate) -> bool:
        """Whether both are of the same target."""
        return hypot(self.x_m - other.x_m, self.y_m - other.y_m) < _SAME_M


class Targets:
    """Everybody's estimates. A drone changes its own only, and they only grow: merging is a maximum
    by sightings, in any order.
    """

    def __init__(self, own: int) -> None:
        self._own = own
        self._known: dict[tuple[int, int], Estimate] = {}
        self._count = 0
        self._confirmed: list[Floats] | None = None

    def see(self, position_2: Floats) -> None:
        """Take in a sighting of one's own."""
        self._confirmed = None
        x_m, y_m = position_2.tolist()
        seen = Estimate(x_m, y_m, 1)
        for key, known in self._known.items():
            if key[0] == self._own and known.is_near(seen):
                weight = 1.0 / (known.sightings + 1)
                self._known[key] = Estimate(
                    known.x_m + weight * (x_m - known.x_m),
                    known.y_m + weight * (y_m - known.y_m),
                    known.sightings + 1,
                )
                return
        self._known[self._own, self._count] = seen
        self._count += 1

    def take(self, estimates: Mapping[tuple[int, int], Estimate]) -> None:
        """Take in another's estimates."""
        for key, told in estimates.items():
            known = self._known.get(key)
            if key[0] != self._own and (known is None or told.sightings > known.sightings):
                self._known[key] = told
                self._confirmed = None

    def estimates(self) -> Mapping[tuple[int, int], Estimate]:
        """All that is known."""
        return dict(self._known)

    def confirmed(self) -> list[Floats]:
        """Where targets are: estimates of all drones that lie together, seen often enough."""
        if self._confirmed is None:
            self._confirmed = clusters(self._known.values())
        return list(self._confirmed)


def clusters(estimates: Iterable[Estimate]) -> list[Floats]:
    """The middles of groups of estimates with enough sightings between them."""
    groups: list[list[Estimate]] = []
    for one in sorted(estimates, key=lambda e: -e.sightings):
        for group in groups:
            if group[0].is_near(one):
                group.append(one)
                break
        else:
            groups.append([one])
    return [
        np.average([(e.x_m, e.y_m) for e in g], axis=0, weights=[e.sightings for e in g])
        for g in groups
        if sum(e.sightings for e in g) >= CONFIRMED
    ]
