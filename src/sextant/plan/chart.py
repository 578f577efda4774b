"""The map: systems as rows, axes as columns, and how alike each pair is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from sextant.axes import AXES, Axis, Coordinates
from sextant.plan.position import Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One system of the map."""

    name: str
    title: str
    position: Position

    @property
    def coordinates(self) -> Coordinates:
        """The axes that it spreads and refuses."""
        return self.position.coordinates


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two systems and how alike they are."""

    a: str
    b: str
    overlap: int
    distance: int


def per_axis(rows: Sequence[Row]) -> dict[Axis, int]:
    """How many of the rows spread each axis."""
    return {axis: sum(axis in row.coordinates.spread for row in rows) for axis in AXES}


def all_pairs(rows: Sequence[Row]) -> list[Pair]:
    """Every pair of rows, in the map's order."""
    return [
        Pair(
            a=one.name,
            b=two.name,
            overlap=one.coordinates.overlap(two.coordinates),
            distance=one.coordinates.distance(two.coordinates),
        )
        for one, two in combinations(rows, 2)
    ]


def most_similar(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with the largest overlap, all ties."""
    top = max((pair.overlap for pair in pairs), default=0)
    return [pair for pair in pairs if pair.overlap == top]


def least_similar(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with the smallest overlap, all ties."""
    bottom = min((pair.overlap for pair in pairs), default=0)
    return [pair for pair in pairs if pair.overlap == bottom]
