"""How far off a prediction may be: the factors of an 80% interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sextant.laws.job import Column, Job
    from sextant.laws.step import Parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Relative half widths of an 80% interval.

    The first four are of parts of a step and of memory, set by held-out errors; the others are
    added (in squares) where a job has what no row of ours has yet measured.
    """

    compute: float = 0.10
    communication: float = 0.30
    bubble: float = 0.30
    memory: float = 0.08
    unproven_stack: float = 0.12
    """A current 3D stack, or fully sharded training of SwiGLU models."""
    unproven_chip: float = 0.08
    """Blackwell."""
    unproven_age: float = 0.20
    """A stack of 2020 to 2023 that is guessed, and that bf16 speaks against."""
    experts: float = 0.35
    context: float = 0.15
    """Context parallelism."""
    low_precision: float = 0.06
    unproven_memory: float = 0.15

    def step_factor(self, parts: Parts, job: Job) -> Column:
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
        squares = squares + (self.bubble * waits / total) ** 2
        proven = np.maximum(job.unfused, job.early)
        squares = squares + (self.unproven_stack * (1.0 - proven)) ** 2
        squares = squares + (self.unproven_chip * job.recent) ** 2
        squares = squares + (self.unproven_age * job.doubtful) ** 2
        squares = squares + np.where(job.experts > 0, self.experts, 0.0) ** 2
        squares = squares + np.where(job.cp > 1.0, self.context, 0.0) ** 2
        factor: Column = 1.0 + np.sqrt(squares + (self.low_precision * job.low_precision) ** 2)
        return factor

    def memory_factor(self, job: Job) -> Column:
        """The same of memory: wider for stacks whose memory no row of ours has measured.

        Source: held-out errors of the rows that state memory.
        """
        unseen = self.unproven_memory * (1.0 - job.unfused)
        factor: Column = 1.0 + np.sqrt(self.memory**2 + unseen**2)
        return factor
