"""Planners under test: the machine and facts that ship."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sextant.facts import Facts, Machine, load_facts


@pytest.fixture(scope="session")
def facts() -> Facts:
    return load_facts()


@pytest.fixture(scope="session")
def h100(facts: Facts) -> Machine:
    return facts.machine("h100-80gb-sxm")


@pytest.fixture(scope="session")
def drone(facts: Facts) -> Machine:
    return facts.machine("edge-drone")


Spec = Mapping[str, Any]
