"""The values that a plan is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sextant.axes import Axis, Coordinates


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """A named number with its unit, the arithmetic behind it, and its source.

    `value`, `low` and `high` are in the SI base unit that `unit` names; `low` and `high` bound
    an 80% interval. The name carries the unit too: `index_bytes`, `query_p99_s`.
    """

    name: str
    value: float
    unit: str
    low: float
    high: float
    because: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """A limit of one machine, and how many times over the workload asks for it.

    `name` is one of data, model, compute, throughput, latency, autonomy, custody.
    """

    name: str
    axis: Axis
    demand: float
    capacity: float
    unit: str
    because: str

    @property
    def ratio(self) -> float:
        """Demand over what one machine has."""
        return self.demand / self.capacity

    @property
    def binds(self) -> bool:
        """Whether one machine is not enough."""
        return self.ratio > 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What the map shows in one cell, and why."""

    axis: Axis
    state: str
    """`spread`, `refused` or `whole`."""
    ratio: float | None
    because: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One part of a latency budget."""

    name: str
    axis: Axis
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Stages in order against what is allowed (a deadline or a control period), in seconds."""

    allowed_s: float
    stages: tuple[Stage, ...]
    what: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """An axis to spread, why at this place in the order, and what it costs."""

    axis: Axis
    because: str
    cost: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Striking:
    """The one number to remember."""

    number: str
    because: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardest:
    """The hardest part of the system."""

    what: str
    axis: Axis
    because: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearest:
    """The atlas system at the smallest distance."""

    name: str
    distance: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Lean:
    """The share of busy time, and of waiting time, that each axis takes; each sums to 1 or 0."""

    busy: Mapping[Axis, float]
    waiting: Mapping[Axis, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The answer: where a workload is on the map, what it takes, and what will be hard."""

    workload: str
    does: str
    machine: str
    coordinates: Coordinates
    marks: tuple[Mark, ...]
    ceilings: tuple[Ceiling, ...]
    headroom: tuple[Ceiling, ...]
    order: tuple[Step, ...]
    striking: Striking
    nearest: Nearest | None
    hardest: Hardest
    layout: Mapping[str, object]
    quantities: Mapping[str, Quantity]
    lean: Lean
    budget: Budget | None
    risks: tuple[str, ...]
    assumptions: tuple[str, ...] = field(default=())
