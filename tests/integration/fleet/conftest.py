"""One local fleet for the module's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sextant.fleet import Fleet
from tests.local_fleet import local_fleet

# Members are imported by name in their own processes, which take over this path.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="package")
def fleet() -> Iterator[Fleet]:
    with local_fleet() as fleet:
        yield fleet
