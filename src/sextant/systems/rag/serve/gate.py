"""Back-pressure: so many questions at once, so many waiting for their turn, the rest refused.

A queue without a bound answers everybody late. This one refuses as soon as the wait would be longer
than the asker's deadline, or the queue is full, and says when it will have been worked off.
"""

from __future__ import annotations

import asyncio
from collections import deque

from sextant.fleet import Deadline
from sextant.systems.rag.serve.refusal import Refusal

_NEW_SHARE = 0.2
"""What the latest question weighs in the pace."""


class Gate:
    """Lets questions in, in the order of their coming. Used from one event loop.

    Args:
        at_once: questions inside at the same time.
        waiting: questions that may wait.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._at_once = at_once
        self._most_waiting = waiting
        self._inside = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._inside_s = 0.0

    @property
    def inside(self) -> int:
        """Questions that are worked on."""
        return self._inside

    @property
    def waiting(self) -> int:
        """Questions that wait for their turn."""
        return len(self._queue)

    def wait_s(self) -> float:
        """How long one more question would wait, by the time that the latest ones took.

        While all places are taken one frees every `_inside_s / at_once` on average, and whoever
        comes now is served after everybody who waits.
        """
        if self._inside < self._at_once:
            return 0.0
        return (self.waiting + 1) * self._inside_s / self._at_once

    def refusal(self) -> Refusal | None:
        """Why one more is refused, whatever its deadline; None if it is not.

        Cheap enough to be asked of everybody who comes.
        """
        if self.waiting < self._most_waiting:
            return None
        return _busy(f"{self.waiting} questions wait already", self.wait_s(), "full")

    def check_room(self) -> None:
        """Refuse one more, if as many wait already as may.

        Raises:
            Refusal: 429.
        """
        if (refusal := self.refusal()) is not None:
            raise refusal

    async def enter(self, deadline: Deadline) -> None:
        """Wait for a place; `leave` gives it back.

        Raises:
            Refusal: 429, nobody else may wait, or an answer would come too late; 504, the deadline
                passed while it waited.
        """
        if self._inside < self._at_once:
            self._inside += 1
            return
        wait_s = self.wait_s()
        self.check_room()
        if wait_s >= deadline.left_s():
            raise _busy("the deadline would pass before its turn", wait_s, "deadline")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await asyncio.wait((turn,), timeout=max(0.0, deadline.left_s()))
        except asyncio.CancelledError:
            # Its turn may have come in the same moment; somebody else must have it then.
            if turn.done():
                self._pass_on()
            raise
        finally:
            if not turn.done():
                self._queue.remove(turn)
        if not turn.done():
            hint = "a longer deadline"
            raise Refusal(504, "the deadline passed before its turn", hint=hint, why="deadline")

    def leave(self, inside_s: float) -> None:
        """Give the place to the next who waits for it, after so many seconds inside."""
        self._inside_s += _NEW_SHARE * (inside_s - self._inside_s)
        self._pass_on()

    def _pass_on(self) -> None:
        if self._queue:
            self._queue.popleft().set_result(None)
        else:
            self._inside -= 1


def _busy(what: str, wait_s: float, why: str) -> Refusal:
    return Refusal(
        429,
        what,
        hint="ask again after Retry-After seconds",
        retry_after_s=max(wait_s, 0.05),
        why=why,
    )
