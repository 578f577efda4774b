"""Going on with fewer ranks when a place is lost, and with all again when it is back.

The batch of a step stays the same: fewer ranks take more sequences each. So the model learned is
the same, to the order of its sums, whatever was lost when. Only ways of data are given up; a
model's own split (pp, tp, ep) needs all of its ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from sextant.decoder.mesh import Degrees
from sextant.errors import InputError
from sextant.systems.pretraining.job import Job


@dataclass(frozen=True, kw_only=True, slots=True)
class Elastic:
    """The bounds of shrinking.

    Attributes:
        least: ranks below which a run waits for its places rather than go on.
        probation_s: for how long a place that lost its rank is left alone.
    """

    least: int = 1
    probation_s: float = 60.0


def fitted(job: Job, ranks: int) -> Job | None:
    """The job split over at most so many ranks, as many as its batch and model divide by.

    None if not even one way of data fits.
    """
    layout = job.layout
    group = layout.pp * layout.tp * layout.ep
    for ways in range(min(layout.dp * layout.fsdp, ranks // group), 0, -1):
        smaller = _with_ways(layout, ways)
        if job.batch % smaller.data:
            continue
        micro_batch = math.gcd(job.batch // smaller.data, job.micro_batch)
        try:
            smaller.check(
                job.model, batch=job.batch, micro_batch=micro_batch, sequence=job.sequence
            )
        except InputError:
            continue
        return replace(job, layout=smaller, micro_batch=micro_batch)
    return None


def _with_ways(layout: Degrees, ways: int) -> Degrees:
    """The same layout with so many ways of data; shards stay as small as they were, if they can."""
    if layout.fsdp == 1:
        return replace(layout, dp=ways)
    if ways % layout.fsdp == 0:
        return replace(layout, dp=ways // layout.fsdp)
    return replace(layout, dp=1, fsdp=ways)


class Places:
    """The places of ranks on this computer: which may be used now.

    Args:
        count: how many there are.
        elastic: the bounds; None uses all of them always.
        clock: seconds.
    """

    def __init__(self, count: int, elastic: Elastic | None, clock: Callable[[], float]) -> None:
        self._count, self._elastic, self._clock = count, elastic, clock
        self._until_s: dict[int, float] = {}

    def lose(self, place: int) -> None:
        """Leaves a place alone for a while."""
        if self._elastic is not None:
            self._until_s[place] = self._clock() + self._elastic.probation_s

    def free(self) -> list[int]:
        """The places that may be used now."""
        now_s = self._clock()
        return [p for p in range(self._count) if self._until_s.get(p, 0.0) <= now_s]

    def job_on(self, job: Job) -> tuple[Job, list[int]]:
        """The job as the free places can take it, and a place for each of its ranks.

        Too few of them, or a batch that none divides: on all places, as if none had been lost.
        """
        free = self.free()
        least = 1 if self._elastic is None else self._elastic.least
        smaller = fitted(job, len(free))
        if smaller is None or smaller.layout.ranks < least:
            return job, list(range(self._count))
        if smaller.layout.ranks == job.layout.ranks:
            return job, free
        return smaller, free[: smaller.layout.ranks]
