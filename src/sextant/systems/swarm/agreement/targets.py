"""Targets: estimates that grow surer, shared by merging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from sextant.systems.swarm.world.grid import Floats

_SAME_M = 1.2
CONFIRMED = 3
"""Sightings from which a target is reported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A drone's own estimate of a target: the mean of its sightings."""

    position_2: Floats
    sightings: int


class Targets:
    """Everybody's estimates. A drone changes its own only, and they only grow: merging is a maximum
    by sightings, in any order.
    """

    def __init__(self, own: int) -> None:
        self._own = own
        self._known: dict[tuple[int, int], Estimate] = {}
        self._count = 0

    def see(self, position_2: Floats) -> None:
        """Take in a sighting of one's own."""
        for key, known in self._known.items():
            near = float(np.hypot(*(known.position_2 - position_2))) < _SAME_M
            if key[0] == self._own and near:
                weight = 1.0 / (known.sightings + 1)
                mean_2 = known.position_2 + weight * (position_2 - known.position_2)
                self._known[key] = Estimate(position_2=mean_2, sightings=known.sightings + 1)
                return
        self._known[self._own, self._count] = Estimate(position_2=position_2, sightings=1)
        self._count += 1

    def take(self, estimates: Mapping[tuple[int, int], Estimate]) -> None:
        """Take in another's estimates."""
        for key, told in estimates.items():
            known = self._known.get(key)
            if key[0] != self._own and (known is None or told.sightings > known.sightings):
                self._known[key] = told

    def estimates(self) -> Mapping[tuple[int, int], Estimate]:
        """All that is known."""
        return dict(self._known)

    def confirmed(self) -> list[Floats]:
        """Where targets are: estimates of all drones that lie together, seen often enough."""
        return clusters(self._known.values())


def clusters(estimates: Iterable[Estimate]) -> list[Floats]:
    """The middles of groups of estimates with enough sightings between them."""
    groups: list[list[Estimate]] = []
    for one in sorted(estimates, key=lambda e: -e.sightings):
        for group in groups:
            if np.hypot(*(group[0].position_2 - one.position_2)) < _SAME_M:
                group.append(one)
                break
        else:
            groups.append([one])
    return [
        np.average([e.position_2 for e in g], axis=0, weights=[e.sightings for e in g])
        for g in groups
        if sum(e.sightings for e in g) >= CONFIRMED
    ]
