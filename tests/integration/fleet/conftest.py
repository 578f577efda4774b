"""One local fleet for the module's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from sextant.fleet import Fleet

# Members are imported by name in their own processes, which take over this path.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    # Looked for, not imported: Ray reads its environment on import.
    for engine in ("ray", "zenoh", "msgpack", "psutil"):
        if find_spec(engine) is None:
            pytest.skip(f"{engine} is not installed")
    with Fleet.start(cpus=2) as fleet:
        yield fleet
