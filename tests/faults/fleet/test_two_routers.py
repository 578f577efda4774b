"""Two replicas, two routers: whichever process is killed, no query fails and all comes back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import two_routers

from sextant.fleet import janitor
from tests.local_fleet import need

PARTIAL_S, FULL_S = 0.5, 20.0


def mark_of(pid: int) -> str:
    """The mark of the fleet that a process belongs to."""
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return next(v.partition("=")[2] for v in variables if v.startswith(f"{janitor.MARK}="))


def test_no_query_fails_whichever_process_is_killed(
    until: Callable[[Callable[[], bool], float], bool],
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    need()
    with two_routers.service() as running:
        clients = two_routers.Clients(running.ports, 2)
        try:
            time.sleep(2.0)
            mark = mark_of(running.pid("shard/0.0"))
            # What a member prints goes to a log in the fleet's directory.
            office = Path(f"/proc/{running.pid('shard/0.0')}/fd/2").readlink().parents[1]
            assert office.name.startswith("sextant-")
            assert running.keeper() is None, "the launcher keeps the fleet"
            seen = [
                two_routers.kill(running, clients, victim, after_s=0.5)
                for victim in ("shard/1.0", "router/0", "launcher")
            ]
            # One of the routers keeps the fleet now; when it goes the other one does.
            keeper = running.keeper()
            assert keeper is not None
            seen.append(two_routers.kill(running, clients, keeper, after_s=0.5))
            assert running.keeper() not in (None, keeper)
        finally:
            clients.close()
    # Its launcher is long gone; ended by a guest, the service leaves no process and no file.
    assert until(lambda: not janitor.members(mark, set()), 15)
    assert until(lambda: not office.exists(), 15)
    for one in seen:
        assert one.queries > 10, one
        assert one.failed == 0, one
        assert one.wrong == 0, one
        assert one.partial_s <= PARTIAL_S, one
        assert one.full_s < FULL_S, one
    assert clients.asked[-1].full
