"""Who is connected to a door, and what they wait for."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from sextant.search.together import alike_in_time


@dataclass(eq=False, slots=True)
class Caller:
    """One connection: what has come and is no whole frame yet, and what it has not taken yet."""

    socket: socket.socket
    known: bool = False
    came: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Query:
    """One query that waits; times in seconds since the epoch, `vector` is D float32."""

    caller: Caller
    number: int
    k: int
    deadline_s: float
    vector: bytes
    came_s: float

    def may_share(self, other: Query, now_s: float) -> bool:
        """Whether another wants equally many hits, and at about the same time."""
        left_s = self.deadline_s - now_s, other.deadline_s - now_s
        return other.k == self.k and alike_in_time(*left_s)
