"""A local fleet, and a small model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sextant.fleet import Fleet
from tests.local_fleet import local_fleet

sys.path.insert(0, str(Path(__file__).parents[2] / "integration" / "decoder"))

from small_model import write_small_model


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights, tokenizer and chat template."""
    return write_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="package")
def fleet() -> Iterator[Fleet]:
    with local_fleet() as fleet:
        yield fleet
