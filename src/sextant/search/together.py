"""Queries that wait at the same time leave together: one message a shard for all of them.

Whoever comes while there is room asks at once, on its own thread, so a lone query waits for nobody.
Whoever comes while others are being searched waits until one of them is back, and then leaves with
all who wait and want the same; so batches grow by themselves with the load. Nobody waits long
behind a batch that is held up, by a shard that hangs for example: patience is bounded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sextant.fleet import Deadline

MOST_BATCH = 64
"""Queries of one message: beyond it a batch gains little and the first of it waits for the last."""
_AT_ONCE = 2
"""One batch is searched while the other is packed or merged."""
PATIENCE_S = 0.05
"""Nobody waits longer behind a batch that is not back yet."""
_PATIENCE_SHARE = 0.2
_ALIKE_SHARE = 0.8
_LOOK_AGAIN_S = 1.0

Query = TypeVar("Query")
Answer = TypeVar("Answer")
Run = Callable[[Sequence[Query], Deadline], Sequence[Answer]]


@dataclass(eq=False, slots=True)
class _Place(Generic[Query, Answer]):
    """One caller in the room."""

    alike: Hashable
    query: Query
    size: int
    deadline: Deadline
    until_s: float
    stirred: threading.Event = field(default_factory=threading.Event)
    taken: bool = False
    answers: Sequence[Answer] = ()
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return bool(self.answers) or self.error is not None


class Together(Generic[Query, Answer]):
    """A room where queries wait for one another; for many threads.

    Args:
        run: answers a batch by its deadline, an answer a query.
        at_once: batches on their way before others have to wait.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        run: Run[Query, Answer],
        *,
        at_once: int = _AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._at_once = at_once
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[_Place[Query, Answer]] = []
        self._away = 0

    def ask(self, query: Query, alike: Hashable, deadline: Deadline, size: int = 1) -> Answer:
        """The answer to a query.

        Args:
            query: what `run` gets.
            alike: queries for which this is equal may share a batch.
            deadline: of this query. A batch has that of its first who is due, and only takes
                queries to which that leaves most of their time.
            size: what it counts for in a batch.

        Raises:
            BaseException: what `run` raised for the batch.
        """
        left_s = max(0.0, deadline.left_s())
        until_s = self._clock() + min(PATIENCE_S, _PATIENCE_SHARE * left_s)
        place = _Place[Query, Answer](alike, query, size, deadline, until_s)
        with self._lock:
            self._waiting.append(place)
        while not place.done:
            place.stirred.clear()
            with self._lock:
                batch = self._taken(place)
                following = self._following() if batch else []
            for one in following:
                one.stirred.set()
            if batch:
                self._lead(batch)
            elif not place.done:
                wait_s = _LOOK_AGAIN_S if place.taken else place.until_s - self._clock()
                place.stirred.wait(max(0.0, wait_s))
        if place.error is not None:
            raise place.error
        return place.answers[0]

    def _taken(self, first: _Place[Query, Answer]) -> list[_Place[Query, Answer]]:
        """The batch that one leads now: itself and all who may come along; empty if it may not."""
        if first.taken or (self._away >= self._at_once and self._clock() < first.until_s):
            return []
        batch, room = [first], MOST_BATCH - first.size
        for place in self._waiting:
            if place is not first and place.size <= room and _may_share(first, place):
                batch.append(place)
                room -= place.size
        for place in batch:
            place.taken = True
        self._waiting = [place for place in self._waiting if not place.taken]
        self._away += 1
        return batch

    def _following(self) -> list[_Place[Query, Answer]]:
        """Who is to look next whether they may go: nobody, while there is no room.

        Who leaves wakes the next as well as who comes back: two that come back one right after the
        other may both have woken the same.
        """
        return self._waiting[:1] if self._away < self._at_once else []

    def _lead(self, batch: Sequence[_Place[Query, Answer]]) -> None:
        """Ask for a batch, tell everybody in it, and wake who is next."""
        first_due = min((place.deadline for place in batch), key=lambda one: one.at_s)
        try:
            answers = self._run([place.query for place in batch], first_due)
            for place, answer in zip(batch, answers, strict=True):
                place.answers = (answer,)
        except BaseException as error:  # noqa: BLE001 - each caller must hear of it, and nobody hang
            for place in batch:
                place.error = error
        with self._lock:
            self._away -= 1
            following = self._following()
        for place in (*batch, *following):
            place.stirred.set()


def alike_in_time(left_s: float, other_s: float) -> bool:
    """Whether the sooner of two deadlines leaves the other most of its time."""
    return min(left_s, other_s) >= _ALIKE_SHARE * max(left_s, other_s)


def _may_share(first: _Place[Query, Answer], other: _Place[Query, Answer]) -> bool:
    """Whether two want the same, and neither loses much time by the other's deadline."""
    return other.alike == first.alike and alike_in_time(
        first.deadline.left_s(), other.deadline.left_s()
    )
