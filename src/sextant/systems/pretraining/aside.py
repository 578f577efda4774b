"""Something long beside the main thread, which must not keep the process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def aside(work: Callable[[], T]) -> Future[T]:
    """Does the work in a thread of its own; a process that is told to end does not wait for it."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for it
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer
