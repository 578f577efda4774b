"""When a member is silent, when to start it again, when to give up: decisions, no actions.

Nothing here reads a clock or touches a process. The watch feeds in `Signs` and acts on the
`Verdict`, so every rule can be tested without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class MemberState(StrEnum):
    """How a member stands, as its gang sees it."""

    STARTING = "starting"
    """Its process is being made."""
    WARMING = "warming"
    """Its process is there and loads."""
    UP = "up"
    """It serves."""
    SILENT = "silent"
    """Nothing was heard from it for too long, and nobody knows why."""
    STOPPED = "stopped"
    """It is silent, and its process is seen to be stopped (SIGSTOP)."""
    DOWN = "down"
    """Its process is gone; it will be started again after a pause."""
    REFUSED = "refused"
    """It said why it cannot serve; starting it again would not help."""
    LOST = "lost"
    """It failed so often that the fleet gave it up."""

    @property
    def final(self) -> bool:
        """Whether the fleet will do nothing more about it."""
        return self in (MemberState.REFUSED, MemberState.LOST)


class Process(StrEnum):
    """What the operating system says of a process."""

    RUNNING = "running"
    STOPPED = "stopped"
    GONE = "gone"
    UNKNOWN = "unknown"
    """It lives on another host, or has not been named yet."""


class Action(StrEnum):
    """What the watch should do next about a member."""

    NOTHING = "nothing"
    PING = "ping"
    KILL = "kill"
    """End the process; it is started again once it is down."""
    START = "start"


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthPolicy:
    """The bounds. All in seconds; the defaults suit members on one host or one rack.

    Attributes:
        beat_s: how often a member speaks without being asked.
        ping_after_s: quiet for this long, it is pinged.
        silent_after_s: quiet for this long, it is silent (sooner if its process is seen stopped).
        busy_silent_after_s: the same, for a process that is seen to be running: a long call that
            holds Python's lock is no death.
        warm_silent_after_s: the same while it loads.
        kill_after_s: silent for this long, its process is ended and started again.
        warm_within_s: loading for this long, its process is ended and started again.
        start_within_s: no sign of its process for this long after the start.
        pauses_s: pauses before the first, second, ... start in a row; the last one repeats.
        max_failures: after so many failures in a row it is given up.
        healthy_after_s: up for this long, earlier failures are forgotten.
    """

    beat_s: float = 0.25
    ping_after_s: float = 0.4
    silent_after_s: float = 0.7
    busy_silent_after_s: float = 2.0
    warm_silent_after_s: float = 30.0
    kill_after_s: float = 10.0
    warm_within_s: float = 600.0
    start_within_s: float = 60.0
    pauses_s: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
    max_failures: int = 6
    healthy_after_s: float = 30.0

    def pause_s(self, failures: int) -> float:
        """The pause before a start after that many failures in a row (at least one)."""
        return self.pauses_s[min(max(failures, 1), len(self.pauses_s)) - 1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Signs:
    """What is known of a member at one moment.

    Attributes:
        state: how it stood.
        said: how it stands by its own word (`warming` or `up`); `starting` before it spoke.
        quiet_s: since it was last heard (or, before that, since it was started).
        in_state_s: since it came to this state.
        process: what the operating system says.
        linked: whether its liveliness token is there; without it nothing can reach it.
        failures: how often in a row it failed.
        reason: why it went down, refused or was given up, where known.
    """

    state: MemberState
    said: MemberState
    quiet_s: float
    in_state_s: float
    process: Process = Process.UNKNOWN
    linked: bool = True
    failures: int = 0
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How the member stands now, why, and what to do."""

    state: MemberState
    why: str = ""
    action: Action = Action.NOTHING


def judge(signs: Signs, policy: HealthPolicy) -> Verdict:
    """The verdict on one member."""
    if signs.state.final:
        return Verdict(state=signs.state, why=signs.reason)
    if signs.state is MemberState.DOWN:
        return _judge_down(signs, policy)
    if signs.said is MemberState.STARTING:
        return _judge_unheard(signs, policy)
    if signs.state is MemberState.WARMING and signs.in_state_s >= policy.warm_within_s:
        why = f"still warming after {signs.in_state_s:.0f} s"
        return Verdict(state=signs.state, why=why, action=Action.KILL)
    return _judge_quiet(signs, policy)


def _judge_down(signs: Signs, policy: HealthPolicy) -> Verdict:
    if signs.failures > policy.max_failures:
        why = f"given up after {signs.failures} failures: {signs.reason}"
        return Verdict(state=MemberState.LOST, why=why)
    due = signs.in_state_s >= policy.pause_s(signs.failures)
    action = Action.START if due else Action.NOTHING
    return Verdict(state=MemberState.DOWN, why=signs.reason, action=action)


def _judge_unheard(signs: Signs, policy: HealthPolicy) -> Verdict:
    why = f"no sign of its process for {signs.quiet_s:.1f} s"
    late = signs.quiet_s >= policy.start_within_s
    return Verdict(state=signs.state, why=why, action=Action.KILL if late else Action.NOTHING)


def _judge_quiet(signs: Signs, policy: HealthPolicy) -> Verdict:
    quiet_s = signs.quiet_s
    if signs.process is Process.GONE:
        return Verdict(state=MemberState.DOWN, why="its process is gone")
    if signs.linked and quiet_s < _patience_s(signs, policy):
        ping = quiet_s >= policy.ping_after_s
        return Verdict(state=signs.said, action=Action.PING if ping else Action.NOTHING)
    why = f"silent for {quiet_s:.1f} s"
    if not signs.linked:
        why += ", its link is lost"
    state = MemberState.SILENT
    if signs.process is Process.STOPPED:
        state, why = MemberState.STOPPED, f"{why}, its process is stopped"
    action = Action.KILL if quiet_s >= policy.kill_after_s else Action.PING
    return Verdict(state=state, why=why, action=action)


def _patience_s(signs: Signs, policy: HealthPolicy) -> float:
    """How long this member may be quiet before it counts as silent."""
    if signs.process is Process.STOPPED:
        return policy.ping_after_s
    if signs.state in (MemberState.SILENT, MemberState.STOPPED):
        # Only its own word brings it back.
        return policy.ping_after_s
    if signs.said is MemberState.WARMING:
        return policy.warm_silent_after_s
    if signs.process is Process.RUNNING:
        return policy.busy_silent_after_s
    return policy.silent_after_s
