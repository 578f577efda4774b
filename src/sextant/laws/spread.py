"""How far off a prediction may be: the factors of an 80% interval."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sextant.laws.job import Column
    from sextant.laws.step import Parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Relative half widths of an 80% interval, of the parts of a step and of memory.

    Set from held-out errors; see facts.
    """

    compute: float = 0.10
    communication: float = 0.30
    bubble: float = 0.30
    memory: float = 0.08

    def step_factor(self, parts: Parts) -> Column:
        """The factor that the step's time is divided and multiplied by.

        Errors of computing, of communication and of the rest are independent: their squares add,
        weighted by their shares of the step. Source: propagation of relative errors.
        """
        total = parts.total
        moved = parts.tensor + parts.context + parts.expert + parts.pipeline + parts.data
        waits = parts.bubble + parts.overhead
        done = total - moved - waits
        squares = (self.compute * done / total) ** 2
        squares = squares + (self.communication * moved / total) ** 2
        factor: Column = 1.0 + np.sqrt(squares + (self.bubble * waits / total) ** 2)
        return factor

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the widths."""
        return tuple(f.name for f in fields(self))
