"""Who spent how long, and moved how many bytes, on which axis."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sextant.axes import AXES, Axis


@dataclass(slots=True)
class _Entry:
    busy_s: float = 0.0
    waiting_s: float = 0.0
    num_bytes: int = 0


class Ledger:
    """Charges of processor time, waiting time and bytes to the axes; safe to use from any thread.

    Args:
        cpu_clock: processor seconds. The default counts the calling thread; pass
            `time.process_time` where the work runs on threads of an engine.
        wall_clock: seconds of any monotonic clock.
    """

    def __init__(
        self,
        cpu_clock: Callable[[], float] = time.thread_time,
        wall_clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._cpu_clock = cpu_clock
        self._wall_clock = wall_clock
        self._entries = {axis: _Entry() for axis in AXES}
        self._lock = threading.Lock()

    def charge(
        self,
        axis: Axis,
        *,
        busy_s: float = 0.0,
        waiting_s: float = 0.0,
        bytes: int = 0,  # noqa: A002
    ) -> None:
        """Adds to one axis."""
        with self._lock:
            entry = self._entries[axis]
            entry.busy_s += busy_s
            entry.waiting_s += waiting_s
            entry.num_bytes += bytes

    @contextmanager
    def busy(self, axis: Axis) -> Iterator[None]:
        """Charges the processor time of the block; time spent waiting for a core is not charged."""
        start_s = self._cpu_clock()
        try:
            yield
        finally:
            self.charge(axis, busy_s=max(0.0, self._cpu_clock() - start_s))

    @contextmanager
    def waiting(self, axis: Axis) -> Iterator[None]:
        """Charges the block's wall time less its processor time as waiting, the latter as busy."""
        cpu_s, wall_s = self._cpu_clock(), self._wall_clock()
        try:
            yield
        finally:
            busy_s = max(0.0, self._cpu_clock() - cpu_s)
            waited_s = max(0.0, self._wall_clock() - wall_s - busy_s)
            self.charge(axis, busy_s=busy_s, waiting_s=waited_s)

    def snapshot(self) -> dict[str, dict[str, float]]:
        """What was charged, as plain data: `{axis: {"busy_s", "waiting_s", "bytes"}}`."""
        with self._lock:
            return {
                axis.value: {
                    "busy_s": entry.busy_s,
                    "waiting_s": entry.waiting_s,
                    "bytes": entry.num_bytes,
                }
                for axis, entry in self._entries.items()
                if entry.busy_s or entry.waiting_s or entry.num_bytes
            }

    def merge(self, other: Ledger | Mapping[str, Mapping[str, Any]]) -> None:
        """Adds another ledger, or a snapshot of one.

        Raises:
            ValueError: the snapshot names something that is not an axis.
        """
        snapshot = other.snapshot() if isinstance(other, Ledger) else other
        for name, entry in snapshot.items():
            self.charge(
                Axis(name),
                busy_s=float(entry.get("busy_s", 0.0)),
                waiting_s=float(entry.get("waiting_s", 0.0)),
                bytes=int(entry.get("bytes", 0)),
            )

    def lean(self) -> dict[str, dict[str, float]]:
        """The share of each charged axis in busy time and, apart, in waiting time."""
        charges = self.snapshot()
        return {
            "busy": _shares({axis: entry["busy_s"] for axis, entry in charges.items()}),
            "waiting": _shares({axis: entry["waiting_s"] for axis, entry in charges.items()}),
        }


def _shares(amounts: Mapping[str, float]) -> dict[str, float]:
    total = sum(amounts.values())
    return {name: amount / total for name, amount in amounts.items() if amount} if total else {}
