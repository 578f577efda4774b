"""Where a number lies on a logarithmic scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sextant.plan.quantity import Ceiling


@dataclass(frozen=True, kw_only=True, slots=True)
class LogScale:
    """A logarithmic scale from `low` to `high`, both above zero."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value lies, from 0 (low) to 1 (high); what is beyond an end is put there."""
        if math.isnan(value) or value <= self.low:
            return 0.0
        if value >= self.high:
            return 1.0
        return math.log(value / self.low) / math.log(self.high / self.low)

    def decades(self) -> tuple[float, ...]:
        """The powers of ten on the scale, thinned to at most nine."""
        first = math.ceil(math.log10(self.low) - 1e-9)
        last = math.floor(math.log10(self.high) + 1e-9)
        step = max(1, math.ceil((last - first + 1) / 9))
        return tuple(10.0**e for e in range(first, last + 1) if e % step == 0)


def ratio_of(ceiling: Ceiling) -> float:
    """A ceiling's ratio; what one machine cannot give at all is an infinite one."""
    if ceiling.capacity == 0:
        return math.inf if ceiling.demand > 0 else 0.0
    return ceiling.ratio


def ratio_scale(ratios: list[float]) -> LogScale:
    """A scale of whole decades around 1 that holds the finite ratios down to a hundredth."""
    finite = [r for r in ratios if math.isfinite(r) and r > 0]
    low = min([0.1, *(max(r, 0.01) for r in finite)])
    high = max([10.0, *(min(r, 1e15) for r in finite)])
    return LogScale(
        low=10.0 ** math.floor(math.log10(low) + 1e-9),
        high=10.0 ** math.ceil(math.log10(high) - 1e-9),
    )


def sight_scale(ratios: list[float]) -> LogScale:
    """A scale that lies evenly about 1, from a half to double at the least, and a 32nd at most."""
    finite = [abs(math.log2(r)) for r in ratios if math.isfinite(r) and r > 0]
    reach = min(5.0, max([1.0, *finite]) * 1.08)
    return LogScale(low=2.0**-reach, high=2.0**reach)
