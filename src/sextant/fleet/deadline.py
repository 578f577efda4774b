"""An absolute time by which an answer is worth having; it travels inside every message."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Deadline:
    """An absolute time in seconds since the epoch, so that it means the same in every process.

    Hosts of one fleet must keep their clocks together (NTP): an error of the clock is an error of
    the deadline.
    """

    at_s: float
    clock: Callable[[], float] = field(default=time.time, compare=False, repr=False)

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.time) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(clock() + seconds, clock)

    def left_s(self) -> float:
        """Seconds left; negative once it has passed."""
        return self.at_s - self.clock()

    def expired(self) -> bool:
        """Whether it has passed."""
        return self.left_s() <= 0.0

    def stage(self, share: float) -> Deadline:
        """The deadline of a stage that may take `share` of what is left; unspent time flows on.

        Raises:
            ValueError: `share` is not in (0, 1].
        """
        if not 0.0 < share <= 1.0:
            raise ValueError(f"a stage takes a share in (0, 1], not {share}")
        now_s = self.clock()
        return Deadline(now_s + share * max(0.0, self.at_s - now_s), self.clock)
