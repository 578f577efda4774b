"""A local fleet, and a small model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from sextant.fleet import Fleet, HealthPolicy

sys.path.insert(0, str(Path(__file__).parents[2] / "integration" / "decoder"))

from small_model import write_small_model


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights, tokenizer and chat template."""
    return write_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    # Looked for, not imported: Ray reads its environment on import.
    for engine in ("ray", "zenoh", "msgpack", "psutil"):
        if find_spec(engine) is None:
            pytest.skip(f"{engine} is not installed")
    with Fleet.start(cpus=2, policy=HealthPolicy(kill_after_s=3.0)) as fleet:
        yield fleet
