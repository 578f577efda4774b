"""Which replica of a member is asked, when another one is asked too, and who is on probation.

Decisions only, from what one asker saw: no clock, no thread, no wire. Times are in seconds of any
clock that only rises; the random generator is passed in.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sextant.fleet.health import MemberState
from sextant.fleet.seat import Seat

_RECENT, _RECKONED_EVERY = 64, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaPolicy:
    """The bounds.

    Attributes:
        hedge_quantile: of a member's own times; a request that takes longer goes to another too.
        known_after: times that a replica must have before its quantile means anything.
        unknown_s: when to hedge before anything is known.
        alike_within: replicas whose quantiles differ by no more than this factor are alike.
        beaten_of_16: of a replica's last 16 requests so many were answered sooner by another that
            was asked later: it goes on probation.
        probe_every_s: one on probation gets a copy of a request no more often than this.
        good_probes: so many answered in time in a row end the probation.
        good_within: a probe is in time within so many times the hedging time, and `good_floor_s`.
    """

    hedge_quantile: float = 0.95
    known_after: int = 16
    unknown_s: float = 0.05
    alike_within: float = 2.0
    beaten_of_16: int = 5
    probe_every_s: float = 0.1
    good_probes: int = 3
    good_within: float = 2.0
    good_floor_s: float = 0.005


class Standing:
    """How one replica has served of late."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.in_flight = 0
        self.on_probation = False
        self.probing = False
        self.probe_not_before_s = 0.0
        self._good_probes = 0
        self._beaten: deque[bool] = deque(maxlen=16)
        self._times: deque[float] = deque(maxlen=_RECENT)
        self._new = 0
        self._quantile_s = math.inf

    @property
    def up(self) -> bool:
        """Whether it serves."""
        return self.seat.state is MemberState.UP

    def took(self, seconds: float) -> None:
        """A request took it so long."""
        self._times.append(seconds)
        self._new += 1

    def quantile_s(self, policy: ReplicaPolicy) -> float:
        """The quantile of its times at which a request is late; infinite before it is known."""
        if len(self._times) < policy.known_after:
            return math.inf
        if self._new >= _RECKONED_EVERY or self._quantile_s == math.inf:
            self._new = 0
            ordered = sorted(self._times)
            self._quantile_s = ordered[int(policy.hedge_quantile * (len(ordered) - 1))]
        return self._quantile_s

    def raced(self, *, beaten: bool) -> int:
        """It was asked first; `beaten` if another one answered sooner. Returns how many of 16."""
        self._beaten.append(beaten)
        return sum(self._beaten)

    def suspend(self) -> None:
        """Puts it on probation."""
        self.on_probation, self._good_probes = True, 0

    def probed(self, *, good: bool, enough: int) -> None:
        """A probe came back; enough good ones in a row end the probation."""
        self._good_probes = self._good_probes + 1 if good else 0
        if self._good_probes >= enough:
            self.on_probation = False
            self._beaten.clear()
            # What it took while it was slow says nothing of it now.
            self._times.clear()
            self._quantile_s = math.inf


class Replicas:
    """The replicas of one member, and which of them to ask."""

    def __init__(
        self,
        seats: Sequence[Seat],
        rng: random.Random,
        policy: ReplicaPolicy | None = None,
    ) -> None:
        self.standings = tuple(Standing(seat) for seat in seats)
        self.alone = len(self.standings) == 1
        self._rng = rng
        self._policy = policy or ReplicaPolicy()

    def only(self, one: Standing) -> Replicas:
        """One of them by itself, to be asked whatever its siblings do."""
        alone = Replicas((), self._rng, self._policy)
        alone.standings, alone.alone = (one,), True
        return alone

    def first(self) -> Standing | None:
        """The one to ask: of two drawn from those who are well, the one with fewer requests."""
        if self.alone:
            return self.standings[0] if self.standings[0].up else None
        ready = [one for one in self.standings if one.up]
        well = [one for one in ready if not one.on_probation] or ready
        if len(well) < 2:
            return well[0] if well else None
        one, other = self._rng.sample(well, 2)
        return other if other.in_flight < one.in_flight else one

    def another(self, tried: Collection[Standing]) -> Standing | None:
        """One that was not tried yet; those on probation last."""
        left = [one for one in self.standings if one.up and one not in tried]
        return min(left, key=lambda one: (one.on_probation, one.in_flight), default=None)

    def hedge_after_s(self) -> float:
        """When a request is late: what a replica takes at the quantile, if all are much alike.

        Where one takes much longer than another it is hedged by what the quicker one takes: by its
        own times it would never be late.
        """
        if self.alone:
            return math.inf
        late_s = [one.quantile_s(self._policy) for one in self.standings if not one.on_probation]
        known_s = [one for one in late_s if one < math.inf]
        if not known_s:
            return self._policy.unknown_s
        return min(sum(known_s) / len(known_s), self._policy.alike_within * min(known_s))

    def raced(self, first: Standing, *, beaten: bool) -> None:
        """A request was answered; suspends the one asked first if it loses too often."""
        if first.raced(beaten=beaten) < self._policy.beaten_of_16 or first.on_probation:
            return
        if any(one.up and not one.on_probation for one in self.standings if one is not first):
            first.suspend()

    def probe(self, now_s: float) -> Standing | None:
        """The one on probation that is due for a copy of a request."""
        for one in self.standings:
            if one.on_probation and one.up and not one.probing and now_s >= one.probe_not_before_s:
                one.probing = True
                one.probe_not_before_s = now_s + self._policy.probe_every_s
                return one
        return None

    def probed(self, one: Standing, seconds: float) -> None:
        """A copy was answered after so long; `math.inf` if never."""
        policy = self._policy
        one.probing = False
        well = [other for other in self.standings if other is not one]
        late_s = min((other.quantile_s(policy) for other in well), default=math.inf)
        usual_s = policy.unknown_s if late_s == math.inf else late_s
        limit_s = max(policy.good_floor_s, policy.good_within * usual_s)
        one.probed(good=seconds <= limit_s, enough=policy.good_probes)
