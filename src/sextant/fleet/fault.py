"""Faults as data: what to do to whom, and when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sextant import units
from sextant.errors import InputError

_HINT = (
    "such as kill:shard/3@2s, stop:shard/1@2s+3s, cut:shard/1@2s+3s, slow:shard/2=50ms@step=40 or "
    "kill:shard/0@warming"
)
_PHASES = ("warming", "up")
_TEXT = re.compile(
    r"(?P<kind>[a-z]+):(?P<member>[^=@\s]+)(?:=(?P<delay>[^@]+))?@(?P<when>[^+]+)(?:\+(?P<lasts>.+))?"
)


class FaultKind(StrEnum):
    """What is done to a process."""

    KILL = "kill"
    """SIGKILL."""
    STOP = "stop"
    """SIGSTOP; SIGCONT after `lasts_s`, if given."""
    CUT = "cut"
    """Cut off from the wire, both directions, for `lasts_s`; its process goes on."""
    SLOW = "slow"
    """Every request takes `delay_s` longer; for `lasts_s`, if given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault. Exactly one of `at_s`, `step` and `phase` says when.

    Attributes:
        kind: what is done.
        member: to whom: one replica (`shard/3.1`), or all of a member's (`shard/3`).
        at_s: seconds after the drill began.
        step: when the load comes to this step.
        phase: when the member is in this phase (`warming` or `up`).
        delay_s: how much longer each request takes (slow only).
        lasts_s: undone after this long (stop, cut and slow).
    """

    kind: FaultKind
    member: str
    at_s: float | None = None
    step: int | None = None
    phase: str | None = None
    delay_s: float | None = None
    lasts_s: float | None = None

    def __post_init__(self) -> None:
        if sum(when is not None for when in (self.at_s, self.step, self.phase)) != 1:
            raise InputError("a fault needs one time, step or phase", hint=_HINT)
        if (self.kind is FaultKind.SLOW) != (self.delay_s is not None):
            raise InputError("a delay goes with slow, and slow with a delay", hint=_HINT)
        if self.kind is FaultKind.KILL and self.lasts_s is not None:
            raise InputError("a kill cannot be undone", hint=_HINT)
        if self.kind is FaultKind.CUT and self.lasts_s is None:
            # Nobody could tell it to come back.
            raise InputError("a cut needs to say how long", hint=_HINT)
        if self.phase is not None and self.phase not in _PHASES:
            raise InputError(f"no phase {self.phase!r}", hint=f"one of {', '.join(_PHASES)}")
        if any(value is not None and value < 0 for value in (self.at_s, self.step)):
            raise InputError("a fault cannot fire before the start", hint=_HINT)
        if any(value is not None and value <= 0 for value in (self.delay_s, self.lasts_s)):
            raise InputError("a delay or duration must be more than nothing", hint=_HINT)

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Reads `kill:shard/3@2s`, `stop:shard/1@2s+3s`, `slow:shard/2=50ms@step=40`.

        Raises:
            InputError: it is none of these.
        """
        match = _TEXT.fullmatch(text.strip())
        if not match:
            raise InputError(f"{text[:80]!r} is not a fault", hint=_HINT)
        try:
            kind = FaultKind(match["kind"])
        except ValueError:
            known = ", ".join(FaultKind)
            raise InputError(f"no fault {match['kind']!r}", hint=f"one of {known}") from None
        when = match["when"].strip()
        try:
            return cls(
                kind=kind,
                member=match["member"],
                at_s=_seconds(when) if when[0].isdigit() or when[0] == "." else None,
                step=int(when.removeprefix("step=")) if when.startswith("step=") else None,
                phase=when if when[0].isalpha() and not when.startswith("step=") else None,
                delay_s=_seconds(match["delay"]),
                lasts_s=_seconds(match["lasts"]),
            )
        except (ValueError, IndexError) as error:
            raise InputError(f"{text[:80]!r}: {error}", hint=_HINT) from None

    def __str__(self) -> str:
        delay = "" if self.delay_s is None else f"={_show(self.delay_s)}"
        lasts = "" if self.lasts_s is None else f"+{_show(self.lasts_s)}"
        if self.at_s is not None:
            when = _show(self.at_s)
        else:
            when = f"step={self.step}" if self.step is not None else f"{self.phase}"
        return f"{self.kind}:{self.member}{delay}@{when}{lasts}"


def _seconds(text: str | None) -> float | None:
    return None if text is None else units.parse(text, units.SECONDS)


def _show(seconds: float) -> str:
    """Seconds such that they are read back as the same number."""
    milliseconds = seconds * 1000
    if 0 < seconds < 1 and milliseconds == int(milliseconds):
        return f"{int(milliseconds)}ms"
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{seconds!r}s"
