"""One fault of a drill: what is noted while it runs, and what the record says of it.

Nothing here reads a clock: times are `time.monotonic` of whoever calls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sextant.fleet.answers import Gather
from sextant.fleet.fault import Fault, FaultKind
from sextant.fleet.health import MemberState
from sextant.fleet.inject import Landing
from sextant.fleet.roster import Change

_SERVING_WITHIN_S = 1.0
"""A member serves at a moment if it answered a request no longer before than this."""
_NOTICED_SHARE = 0.5
"""A slow member is noticed once a request takes this share of the delay longer than it used to."""
_HERE = (MemberState.WARMING, MemberState.UP)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """Seconds from a fault to each step back; `None` is a step that was not seen.

    Attributes:
        detect_s: the fleet, or somebody who asked, noticed.
        restart_s: the member's process was there again.
        warm_s: it was loaded again.
        full_s: an ask begun after the fault was answered in full; and where other replicas of the
            member were spared, so that all were, the one that was hit served again.
    """

    detect_s: float | None = None
    restart_s: float | None = None
    warm_s: float | None = None
    full_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """What the record says of one fault.

    Attributes:
        fault: what was to happen.
        fired_at_s: seconds after the drill began; `None` if its time never came.
        landed: whether it hit what it was aimed at, in the phase aimed at.
        why: what was seen.
        recovery: the four times.
        lost: how many asks, begun after the fault and before it was full again, lacked the member.
    """

    fault: Fault
    fired_at_s: float | None
    landed: bool
    why: str
    recovery: Recovery
    lost: int

    @property
    def recovered(self) -> bool:
        """Whether it landed and a full answer was seen after it."""
        return self.landed and self.recovery.full_s is not None

    def to_json(self) -> dict[str, Any]:
        """The shot as plain data."""
        return {
            "spec": str(self.fault),
            "fired_at_s": self.fired_at_s,
            "landed": self.landed,
            "why": self.why,
            "detect_s": self.recovery.detect_s,
            "restart_s": self.recovery.restart_s,
            "warm_s": self.recovery.warm_s,
            "full_s": self.recovery.full_s,
            "lost": self.lost,
        }


class Track:
    """The notes on one fault while the drill runs."""

    def __init__(
        self, fault: Fault, member: str = "", aims: tuple[str, ...] = (), *, spared: bool = False
    ) -> None:
        """Notes on a fault.

        Args:
            fault: what is to happen.
            member: whom an ask will miss if it comes to that; the fault's own by default.
            aims: the replicas that are hit; the member itself by default.
            spared: whether other replicas of the member are not hit.
        """
        self.fault = fault
        self.aims = aims or (fault.member,)
        self._member = member or fault.member
        self._spared = spared
        self._away: set[str] = set()
        self._at_s: float | None = None
        self._hit_s: float | None = None
        self._idle_s = self._usual_s = 0.0
        self._landed = False
        self._why = "its time never came"
        self._steps: dict[str, float] = {}
        self._lost = 0

    def fire(self, at_s: float, *, idle_s: float, usual_s: float) -> None:
        """It is about to be sent, `idle_s` after the member's last answer, which took `usual_s`."""
        self._at_s, self._idle_s, self._usual_s = at_s, idle_s, usual_s
        self._why = "it is not known whether it landed"

    def land(self, landing: Landing, now_s: float) -> None:
        """It was sent, and this is what was seen of it."""
        self._hit_s = now_s
        self._landed, self._why = landing.landed, landing.why
        aim = MemberState(self.fault.phase) if self.fault.phase else MemberState.UP
        if landing.landed and landing.state is not aim:
            self._landed = False
            self._why = f"aimed at {aim}, but it was {landing.state}: {landing.why}"
        elif landing.landed and aim is MemberState.UP and self._idle_s > _SERVING_WITHIN_S:
            self._landed = False
            self._why = f"it had served nothing for {self._idle_s:.1f} s: {landing.why}"

    def see_change(self, change: Change) -> None:
        """A member came to another state."""
        if self._at_s is None or change.member not in self.aims or change.at_s < self._at_s:
            return
        after_s = change.at_s - self._at_s
        if change.after is MemberState.UP:
            self._away.discard(change.member)
        else:
            self._away.add(change.member)
        if change.after not in _HERE and change.after is not MemberState.STARTING:
            self._steps.setdefault("detect_s", after_s)
            self._steps.setdefault("away_s", after_s)
        elif change.after in _HERE and "away_s" in self._steps:
            self._steps.setdefault("restart_s", after_s)
            if change.after is MemberState.UP:
                self._steps.setdefault("warm_s", after_s)

    def see_gather(self, begun_s: float, now_s: float, gather: Gather) -> None:
        """An ask came to its end."""
        if self._at_s is None or begun_s < self._at_s:
            return
        if any(missing.member == self._member for missing in gather.missing):
            self._steps.setdefault("detect_s", now_s - self._at_s)
            self._lost += "full_s" not in self._steps
        elif answer := gather.answers.get(self._member):
            if self.fault.kind is FaultKind.SLOW and self.fault.delay_s is not None:
                slow_s = self._usual_s + _NOTICED_SHARE * self.fault.delay_s
                if answer.handle_s >= slow_s:
                    self._steps.setdefault("detect_s", now_s - self._at_s)
            # Only what was begun after the hit was seen cannot have been answered before it.
            hit = self._hit_s is not None and begun_s >= self._hit_s
            if gather.full and hit and (not self._spared or self._is_over(begun_s - self._at_s)):
                self._steps.setdefault("full_s", now_s - self._at_s)

    def _is_over(self, after_s: float) -> bool:
        """Whether the replica that was hit is well again; answers do not show it."""
        if self._away:
            return False
        fault = self.fault
        if fault.kind is FaultKind.SLOW:
            return after_s >= (fault.lasts_s or 0.0)
        return "warm_s" in self._steps or after_s >= (fault.lasts_s or math.inf)

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come."""
        return self._hit_s is not None and (not self._landed or "full_s" in self._steps)

    def shot(self, begun_s: float) -> Shot:
        """What is known so far."""
        steps = {name: self._steps.get(name) for name in Recovery.__dataclass_fields__}
        return Shot(
            fault=self.fault,
            fired_at_s=None if self._at_s is None else self._at_s - begun_s,
            landed=self._landed,
            why=self._why,
            recovery=Recovery(**steps),
            lost=self._lost,
        )
