"""What an ask brings back: answers, and for each one missing the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sextant.errors import EngineError


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One member's answer, and where its time went.

    Attributes:
        member: who answered.
        replica: which of its replicas it was; the member itself where it has one only.
        body: what it answered.
        wire_s: on the wire and in the engines under it: the total less the two below.
        queue_s: waiting in the member's queue, measured by the member.
        handle_s: in the member's `handle`, measured by the member.
        total_s: from the start of the ask to the arrival, measured by the asker.
    """

    member: str
    body: bytes
    wire_s: float
    queue_s: float
    handle_s: float
    total_s: float
    replica: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """A member that did not answer, and why (`deadline`, `silent for 0.8 s`, `down: killed`...)."""

    member: str
    why: str

    def __str__(self) -> str:
        return f"{self.member} ({self.why})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gather:
    """What came by the deadline.

    Attributes:
        answers: by member, in the order of the gang.
        missing: everybody else who was asked, in the order of the gang.
        seconds: how long the ask took.
    """

    answers: Mapping[str, Answer]
    missing: tuple[Missing, ...]
    seconds: float

    @property
    def full(self) -> bool:
        """Whether everybody who was asked answered."""
        return not self.missing


class BarrierError(EngineError):
    """Not everybody was there in time; `missing` names who, and why."""

    def __init__(self, what: str, missing: tuple[Missing, ...], *, hint: str | None = None) -> None:
        super().__init__(what, hint=hint)
        self.missing = missing
