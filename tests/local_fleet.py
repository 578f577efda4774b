"""A fleet on this machine, for the tests of one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

from sextant.fleet import Fleet, HealthPolicy

ENGINES = ("ray", "zenoh", "msgpack", "psutil")


def need(*more: str) -> None:
    """Skips the test where an engine of the fleet, or one of more packages, is not installed."""
    # Looked for, not imported: Ray reads its environment on import.
    for engine in (*ENGINES, *more):
        if find_spec(engine) is None:
            pytest.skip(f"{engine} is not installed")


@contextmanager
def local_fleet(policy: HealthPolicy | None = None) -> Iterator[Fleet]:
    """Two processors of this machine; skips where an engine of the fleet is not installed."""
    need()
    with Fleet.start(cpus=2, policy=policy or HealthPolicy()) as fleet:
        yield fleet
