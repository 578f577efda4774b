"""Threads that ask the service, and what they say while they are at it, heard in the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from sextant.fleet import Deadline
from sextant.systems.rag.serve.gate import Gate
from sextant.systems.rag.serve.refusal import Refusal
from sextant.systems.rag.service import Result, Watch

LATE = "the deadline came before the answer did"
_GRACE_S = 0.005

Work = Callable[[Watch, float], Result]
"""Asks the service, given who watches and the seconds that are left."""


class Unheard(Exception):  # noqa: N818
    """Nobody waits for the answer any more; raised in the thread that works on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sofar:
    """A result on its way: what there is of it, and whether that is all."""

    result: Result
    final: bool
    queue_s: float


class Crew:
    """Daemon threads with one queue: a question that hangs does not keep the process from ending.

    Their number is the gate's: whoever is let in finds one free.
    """

    def __init__(self, size: int) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._size = size
        for number in range(size):
            threading.Thread(target=self._work, name=f"question-{number}", daemon=True).start()

    def submit(self, job: Callable[[], None]) -> None:
        """Has a thread do the job, which must not raise."""
        self._jobs.put(job)

    def close(self) -> None:
        """Let the threads go once they are free."""
        for _ in range(self._size):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


async def follow(
    gate: Gate, crew: Crew, work: Work, deadline: Deadline
) -> AsyncGenerator[Sofar, None]:
    """The result of some work as it grows; the last one is final, and there by the deadline.

    Where the deadline comes first, what is there by then is the result, and its note says so. When
    whoever listens stops, the work is given up at its next word.

    Raises:
        Refusal: it was not let in, or nothing was there by the deadline.
        SextantError: as the service raised it.
    """
    start_s = time.monotonic()
    await gate.enter(deadline)
    queue_s = time.monotonic() - start_s
    news: asyncio.Queue[Sofar | BaseException] = asyncio.Queue()
    over = threading.Event()
    crew.submit(_job(gate, work, deadline, queue_s, news, over))
    last: Sofar | None = None
    try:
        while last is None or not last.final:
            try:
                left_s = max(0.0, deadline.left_s()) + _GRACE_S
                said = await asyncio.wait_for(news.get(), left_s)
            except TimeoutError:
                said = _cut(last)
            if isinstance(said, BaseException):
                raise said
            yield (last := said)
    finally:
        over.set()


def _cut(last: Sofar | None) -> Sofar | Refusal:
    """What the deadline makes of a result that is not whole."""
    if last is None:
        hint = "a longer deadline"
        return Refusal(504, "the deadline passed before any shard answered", hint=hint, why="late")
    result = last.result
    return replace(last, result=replace(result, note=result.note or LATE), final=True)


def _job(
    gate: Gate,
    work: Work,
    deadline: Deadline,
    queue_s: float,
    news: asyncio.Queue[Sofar | BaseException],
    over: threading.Event,
) -> Callable[[], None]:
    """The work as a job for a thread; it hands every word over to the loop, and its place back."""
    loop = asyncio.get_running_loop()

    def say(call: Callable[..., None], *arguments: object) -> None:
        # A loop that is closed was told to stop and has waited long enough.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(call, *arguments)

    def watch(result: Result) -> None:
        if over.is_set():
            raise Unheard
        say(news.put_nowait, Sofar(result=result, final=False, queue_s=queue_s))

    def job() -> None:
        start_s = time.monotonic()
        try:
            if not over.is_set():
                result = work(watch, max(deadline.left_s(), 1e-6))
                say(news.put_nowait, Sofar(result=result, final=True, queue_s=queue_s))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
            say(news.put_nowait, error)
        finally:
            say(gate.leave, time.monotonic() - start_s)

    return job
