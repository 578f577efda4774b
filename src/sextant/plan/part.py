"""What one system's planner contributes to a plan.

A workload may hold several systems (moderation is streams over an index with a model behind), so
each planner looks only at its own tables and gives a part; `compose` makes one plan of the parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sextant.axes import Axis
from sextant.plan.quantity import Budget, Hardest, Quantity, Striking


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """Machines that are paid for: always on (`hours` is None), or for so many hours."""

    what: str
    machine: str
    count: float
    usd_per_hour: float
    hours: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One planner's share of a plan.

    `busy` and `waiting` are seconds by axis over the same stretch of time (a second of service,
    a step, a control period, a round) added over machines; `compose` turns them into shares.
    """

    name: str
    quantities: tuple[Quantity, ...]
    layout: Mapping[str, object]
    striking: Striking
    hardest: Hardest
    busy: Mapping[Axis, float]
    waiting: Mapping[Axis, float]
    bills: tuple[Bill, ...] = ()
    budget: Budget | None = None
    risks: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = field(default=())
    costs: Mapping[Axis, str] = field(default_factory=dict)
    """What spreading an axis costs, in a phrase with its number, for the order of the axes."""


def within(
    name: str, value: float, unit: str, spread: float, because: str, source: str
) -> Quantity:
    """A quantity whose 80% interval is the value divided and multiplied by `spread` (>= 1)."""
    low, high = value / spread, value * spread
    return Quantity(
        name=name, value=value, unit=unit, low=low, high=high, because=because, source=source
    )


def exact(name: str, value: float, unit: str, because: str, source: str) -> Quantity:
    """A quantity of closed form: its interval is the value itself."""
    return within(name, value, unit, 1.0, because, source)
