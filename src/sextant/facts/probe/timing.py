"""Repeats a call for a stated time, and gives the seconds of each repetition."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def repeat_s(call: Callable[[], object], *, for_s: float, at_least: int = 5) -> list[float]:
    """Seconds of each of many calls, in rising order; two first calls are thrown away."""
    call()
    call()
    times: list[float] = []
    end = time.perf_counter() + for_s
    while len(times) < at_least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)


def median_s(call: Callable[[], object], *, for_s: float) -> float:
    """The median seconds of a call."""
    return statistics.median(repeat_s(call, for_s=for_s))
