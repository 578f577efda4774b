"""Going on with fewer ranks when a place is lost, and with all again when it is back.

The batch of a step stays the same: fewer ranks take more sequences each. So the model learned is
the same, to the order of its sums, whatever was lost when. Only ways of data are given up; a
model's own split (pp, tp, ep) needs all of its ranks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from sextant.decoder.mesh import Degrees
from sextant.errors import InputError
from sextant.systems.pretraining.job import Job

_MOST_DOUBLINGS = 20
"""Of a probation; after so many it is years."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Elastic:
    """The bounds of shrinking.

    Attributes:
        least: ranks below which a run waits for its places rather than go on.
        probation_s: for how long a place that lost its rank is left alone; each further loss of
            the same place doubles it, so that a place that stays bad is tried ever more rarely.
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
    """The places of ranks, on this computer or in a fleet: which may be used now.

    Args:
        count: how many there are.
        elastic: the bounds; None uses all of them always.
        clock: seconds.
        serves: whether a place could take a rank at all now, where that is not always so.
    """

    def __init__(
        self,
        count: int,
        elastic: Elastic | None,
        clock: Callable[[], float],
        serves: Callable[[int], bool] = lambda _place: True,
    ) -> None:
        self._count, self._elastic, self._clock = count, elastic, clock
        self._serves = serves
        self._until_s: dict[int, float] = {}
        self._lost: Counter[int] = Counter()

    def lose(self, place: int) -> None:
        """Leaves a place alone for a while, each time for twice as long."""
        if self._elastic is None:
            return
        doubled = 2.0 ** min(self._lost[place], _MOST_DOUBLINGS)
        self._until_s[place] = self._clock() + doubled * self._elastic.probation_s
        self._lost[place] += 1

    def can_spare(self, place: int, job: Job) -> bool:
        """Whether the job would go on elsewhere if this place were lost now."""
        if self._elastic is None:
            return False
        smaller = fitted(job, len(set(self.free()) - {place}))
        return smaller is not None and smaller.layout.ranks >= self._elastic.least

    def free(self) -> list[int]:
        """The places that may be used now."""
        if self._elastic is None:
            return list(range(self._count))
        now_s = self._clock()
        kept = (p for p in range(self._count) if self._until_s.get(p, 0.0) <= now_s)
        return [place for place in kept if self._serves(place)]

    def job_on(self, job: Job) -> tuple[Job, list[int]]:
        """The job as the free places can take it, and a place for each of its ranks.

        Too few of them, or a batch that none divides: on all places, as if none had been lost.
        """
        free = self.free()
        least = 1 if self._elastic is None else self._elastic.least
        smaller = fitted(job, len(free)) if free else None
        if smaller is None or smaller.layout.ranks < least:
            return job, list(range(self._count))
        if smaller.layout.ranks == job.layout.ranks:
            return job, free
        return smaller, free[: smaller.layout.ranks]
