"""Asking N members that do nothing: what the fleet itself costs a query."""

from __future__ import annotations

import statistics
import time

from benchmarks.bench import Figure
from sextant.fleet import Deadline, Fleet, Member, MemberSpec

_ASKS = 2000


class Idle(Member):
    """Answers with nothing."""

    def warm(self) -> None:
        """Has nothing to load."""

    def handle(self, body: bytes, deadline: Deadline) -> bytes:  # noqa: ARG002
        """Answers at once."""
        return b""


def run() -> list[Figure]:
    """Median and p99 of asking 4, 8 and 16 processes and hearing from all."""
    figures = []
    with Fleet.start() as fleet:
        for count in (4, 8, 16):
            specs = [
                MemberSpec(name=f"idle/{n}", factory="benchmarks.fan_out:Idle")
                for n in range(count)
            ]
            gang = fleet.gang("idle", specs)
            gang.ready(60)
            times = sorted(_ask_s(gang) for _ in range(_ASKS))
            gang.close()
            figures.append(
                Figure(
                    name=f"fan-out of {count}, p50",
                    measured=statistics.median(times),
                    unit="s",
                    beside={"p99": times[int(0.99 * len(times))]},
                )
            )
    return figures


def _ask_s(gang: object) -> float:
    start_s = time.perf_counter()
    gather = gang.ask(b"", Deadline.after(1.0))  # type: ignore[attr-defined]
    assert gather.full, gather.missing
    return time.perf_counter() - start_s
