"""How fast each rank computes, told beside its signs of life, so that a slow one is named.

In a step everyone waits for the slowest, so the step's time names nobody. Each rank therefore
times a small piece of work of its own every few seconds.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from sextant.errors import missing_engine

_KEPT = 5
_PIECES = 40
_WIDTH = 256


class Beat:
    """Tells that this rank moves, and how long its piece of work takes.

    Args:
        path: the file that is touched, and holds the times in seconds, the newest last.
        every_s: between two pieces of work; 0 does none.
        work: the piece; None is a chain of products that takes some milliseconds.
        clock: seconds.
    """

    def __init__(
        self,
        path: Path,
        every_s: float,
        work: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._every_s, self._clock = path, every_s, clock
        self._work = work or _products()
        self._times: deque[float] = deque(maxlen=_KEPT)
        self._due_s = clock() + every_s

    def __call__(self) -> None:
        """To be called after every step."""
        begun_s = self._clock()
        if self._every_s <= 0.0 or begun_s < self._due_s:
            self._path.touch()
            return
        self._work()
        self._times.append(self._clock() - begun_s)
        self._due_s = self._clock() + self._every_s
        self._path.touch()
        with contextlib.suppress(OSError):  # on a full disk nobody is told, and all go on
            self._path.write_text(" ".join(f"{t:.6f}" for t in self._times), encoding="ascii")


def read_pace(path: Path) -> tuple[float, ...]:
    """What a rank told last; nothing where it told nothing yet."""
    try:
        return tuple(float(word) for word in path.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return ()


def slowest(paces: Sequence[Sequence[float]], factor: float) -> tuple[int, float] | None:
    """The rank whose every late time is `factor` times the others' median, and how many times.

    One slow moment is a neighbour's noise; so all of the last few count, the best of them first.
    None while anybody has told too little, or where nobody stands out.
    """
    if len(paces) < 2 or any(len(pace) < _KEPT for pace in paces):
        return None
    rank = max(range(len(paces)), key=lambda n: min(paces[n]))
    usual = statistics.median(t for n, pace in enumerate(paces) if n != rank for t in pace)
    times = min(paces[rank]) / usual
    return (rank, times) if times >= factor else None


def _products() -> Callable[[], None]:
    try:
        import torch
    except ImportError:
        raise missing_engine("torch", "pretraining") from None
    matrix = torch.full((_WIDTH, _WIDTH), 1.0 / _WIDTH)
    if torch.cuda.is_available():
        matrix = matrix.to(torch.device("cuda", torch.cuda.current_device()))

    def work() -> None:
        out = matrix
        for _ in range(_PIECES):
            out = out @ matrix
        float(out[0, 0])

    return work
