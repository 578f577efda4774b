"""Where a workload is on the map: its coordinates, derived from its ceilings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sextant.axes import AXES, Axis, Coordinates
from sextant.facts import Facts
from sextant.plan.ceilings import custody_binds, find_ceilings
from sextant.plan.quantity import Ceiling, Mark, Nearest
from sextant.units import show_ratio
from sextant.workload import Workload

_WHOLE = {
    Axis.DATA: "one machine holds what must be read",
    Axis.TRAINING: "one machine trains it in time, or nothing is trained",
    Axis.MODEL: "every model fits one accelerator",
    Axis.INFERENCE: "one replica in one place answers",
    Axis.INTELLIGENCE: "a centre can decide in time",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """A point on the map, with what put it there."""

    coordinates: Coordinates
    marks: tuple[Mark, ...]
    ceilings: tuple[Ceiling, ...]
    """Those that bind, the furthest exceeded first."""
    headroom: tuple[Ceiling, ...]
    """Limits looked at that one machine meets."""

    @property
    def binding(self) -> str:
        """The name of the ceiling that binds most, or `none`."""
        return self.ceilings[0].name if self.ceilings else "none"


def locate(workload: Workload, facts: Facts, machine: str | None = None) -> Position:
    """Derives a workload's coordinates.

    An axis is spread when one of its ceilings binds; data that may not leave its sites refuses to
    be spread, whatever its size; coordination is spread when, and only when, any other axis is.

    Raises:
        InputError: the machine is not in the facts.
    """
    reference = facts.machine(machine or workload.fleet.machine)
    found = find_ceilings(workload, reference, facts)
    refused = frozenset({Axis.DATA} if custody_binds(workload) else ())
    found = [c for c in found if c.axis not in refused]
    binding = tuple(c for c in found if c.binds)
    spread = {c.axis for c in binding}
    if spread:
        spread.add(Axis.COORDINATION)
    coordinates = Coordinates(spread=frozenset(spread), refused=refused)
    return Position(
        coordinates=coordinates,
        marks=tuple(_mark(axis, coordinates, found) for axis in AXES),
        ceilings=binding,
        headroom=tuple(c for c in found if not c.binds),
    )


def _mark(axis: Axis, coordinates: Coordinates, found: Sequence[Ceiling]) -> Mark:
    if axis in coordinates.refused:
        because = "refused: the records may not leave the sites that hold them"
        return Mark(axis=axis, state="refused", ratio=None, because=because)
    if axis is Axis.COORDINATION:
        return _coordination(coordinates)
    worst = max((c for c in found if c.axis is axis), key=lambda c: c.ratio, default=None)
    if worst is None:
        return Mark(axis=axis, state="whole", ratio=None, because=_WHOLE[axis])
    state = "spread" if worst.binds else "whole"
    return Mark(axis=axis, state=state, ratio=worst.ratio, because=worst.because)


def _coordination(coordinates: Coordinates) -> Mark:
    others = [axis.value for axis in coordinates.axes if axis is not Axis.COORDINATION]
    if not others:
        because = "nothing is spread, so nothing must be made to agree"
        return Mark(axis=Axis.COORDINATION, state="whole", ratio=None, because=because)
    because = f"{', '.join(others)} spread over machines, whose parts must agree: "
    because += show_ratio(len(others) + 1)
    ratio = float(len(others) + 1)
    return Mark(axis=Axis.COORDINATION, state="spread", ratio=ratio, because=because)


def find_nearest(
    workload: Workload, position: Position, atlas: Mapping[str, Position]
) -> Nearest | None:
    """The atlas system at the smallest distance, itself left out.

    Ties are broken by the ceilings that bind in both, then by the atlas's order; none if no axis
    is spread.
    """
    if not position.coordinates.spread:
        return None
    mine = {(c.name, c.axis) for c in position.ceilings}

    def closeness(item: tuple[str, Position]) -> tuple[int, int]:
        theirs = {(c.name, c.axis) for c in item[1].ceilings}
        return position.coordinates.distance(item[1].coordinates), len(mine ^ theirs)

    others = [(name, at) for name, at in atlas.items() if name != workload.name]
    if not others:
        return None
    name, at = min(others, key=closeness)
    return Nearest(name=name, distance=position.coordinates.distance(at.coordinates))
