"""The six axes of distribution, and the point that a system is on them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Axis(StrEnum):
    """One of the six ways in which a system may be spread over machines, in the map's order."""

    DATA = "data"
    TRAINING = "training"
    MODEL = "model"
    INFERENCE = "inference"
    COORDINATION = "coordination"
    INTELLIGENCE = "intelligence"


AXES: tuple[Axis, ...] = tuple(Axis)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coordinates:
    """The axes that a system spreads over machines, and those that it refuses to spread."""

    spread: frozenset[Axis] = frozenset()
    refused: frozenset[Axis] = frozenset()

    def __post_init__(self) -> None:
        if both := self.spread & self.refused:
            raise ValueError(f"an axis is spread or refused, not both: {sorted(both)}")

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The spread axes, in the map's order."""
        return tuple(axis for axis in AXES if axis in self.spread)

    def overlap(self, other: Coordinates) -> int:
        """How many axes both systems spread."""
        return len(self.spread & other.spread)

    def distance(self, other: Coordinates) -> int:
        """How many axes exactly one of the two spreads (the size of the symmetric difference)."""
        return len(self.spread ^ other.spread)
