"""One local fleet for the module's tests, with short bounds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sextant.fleet import Fleet, HealthPolicy
from tests.local_fleet import local_fleet

MEMBERS = Path(__file__).parents[2] / "integration" / "fleet"

# Members are imported by name in their own processes, which take over this path.
sys.path[:0] = [str(MEMBERS), str(Path(__file__).parent), str(Path(__file__).parents[3])]


@pytest.fixture(scope="package")
def fleet() -> Iterator[Fleet]:
    with local_fleet(HealthPolicy(kill_after_s=3.0, max_failures=2)) as fleet:
        yield fleet


@pytest.fixture
def until() -> Callable[[Callable[[], bool], float], bool]:
    """Polls until something is so, for a bounded time."""

    def poll(so: Callable[[], bool], timeout_s: float) -> bool:
        until_s = time.monotonic() + timeout_s
        while not so():
            if time.monotonic() > until_s:
                return False
            time.sleep(0.02)
        return True

    return poll
