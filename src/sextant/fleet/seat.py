"""Where one member of a gang sits: its present incarnation, and what is known of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sextant.fleet.answers import Missing
from sextant.fleet.health import HealthPolicy, MemberState, Process, Signs
from sextant.fleet.member import MemberSpec
from sextant.fleet.messages import Beat


class Seat:
    """What a gang knows of one member. The gang's lock guards every change.

    Attributes:
        member: the member's logical name; several seats share it where it has replicas.
    """

    def __init__(
        self, spec: MemberSpec, member: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self.spec = spec
        self.member = member or spec.name
        self.epoch = 0
        self.pid: int | None = None
        self.node: str | None = None
        self.state = MemberState.DOWN
        self.said = MemberState.STARTING
        self.linked = True
        self.since_s = self.heard_s = self.pinged_s = clock()
        self.not_before_s = 0.0
        self.failures = 0
        self.handled = 0
        self.reason = "not heard of yet"
        self.ask_key: Any = None
        self.control_key: Any = None

    @property
    def name(self) -> str:
        """The name of its process: the member's, or that of one of its replicas."""
        return self.spec.name

    def begin(self, epoch: int, ask_key: Any, control_key: Any, node: str | None = None) -> None:
        """Another incarnation sits here; whatever was known of the last one is void."""
        self.epoch, self.ask_key, self.control_key = epoch, ask_key, control_key
        self.pid, self.node = None, node
        self.said = MemberState.STARTING
        self.linked = True
        self.handled = 0
        self.heard_s = self._clock()

    def hear(self, beat: Beat) -> None:
        """Takes in what the present incarnation says of itself."""
        self.heard_s = self._clock()
        self.linked = True
        self.pid, self.node, self.handled = beat.pid, beat.node, beat.handled
        # Beats and pings come by two ways, so an older one may come later: it never un-warms.
        if self.said is not MemberState.UP:
            self.said = MemberState(beat.said)

    def forgive(self) -> None:
        """Its silence so far does not count: whoever should have listened was away."""
        self.heard_s = self._clock()

    def move(self, state: MemberState) -> MemberState:
        """Comes to a state; returns the one before."""
        before = self.state
        if state is not before:
            self.state = state
            self.since_s = self._clock()
        return before

    def fail(self, reason: str, policy: HealthPolicy) -> None:
        """Counts a failure; one after a healthy spell is the first."""
        was_up = self.state is MemberState.UP
        if was_up and self._clock() - self.since_s >= policy.healthy_after_s:
            self.failures = 0
        self.failures += 1
        self.reason = reason

    def signs(self, process: Process) -> Signs:
        """What is known at this moment."""
        now_s = self._clock()
        return Signs(
            state=self.state,
            said=self.said,
            quiet_s=now_s - self.heard_s,
            in_state_s=now_s - self.since_s,
            process=process,
            linked=self.linked,
            failures=self.failures,
            reason=self.reason,
        )

    @property
    def quiet_s(self) -> float:
        """Seconds since it was last heard."""
        return self._clock() - self.heard_s

    def why(self) -> str:
        """Why it does not answer now, in the words of a report."""
        now_s = self._clock()
        match self.state:
            case MemberState.UP:
                return "deadline"
            case MemberState.SILENT:
                lost = "" if self.linked else ", its link is lost"
                return f"silent for {self.quiet_s:.1f} s{lost}"
            case MemberState.STOPPED:
                return f"silent for {self.quiet_s:.1f} s, its process is stopped"
            case MemberState.STARTING | MemberState.WARMING:
                after = f", after: {self.reason}" if self.reason else ""
                return f"{self.state} for {now_s - self.since_s:.1f} s{after}"
            case _:
                return f"{self.state}: {self.reason}"

    def missing(self) -> Missing:
        """The same, with its name."""
        return Missing(member=self.name, why=self.why())
