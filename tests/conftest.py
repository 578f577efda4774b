"""What every test stands on: a home of its own, no hub, and the atlas with a fact changed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
from hypothesis import HealthCheck, Verbosity, settings

from sextant.atlas import atlas_text
from sextant.facts import Facts, load_facts
from sextant.plan.position import Position, locate
from sextant.workload import Workload, parse_workload

# A busy machine must not fail a test, so no example has a wall-clock deadline. `fixed` tries the
# same examples on every run; `pytest --hypothesis-profile=wide` looks further.
settings.register_profile(
    "fixed",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "wide",
    deadline=None,
    max_examples=10_000,
    verbosity=Verbosity.normal,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def _own_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Keeps the user's own facts and records out of the tests, and the tests out of them."""
    monkeypatch.setenv("SEXTANT_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    load_facts.cache_clear()
    yield
    load_facts.cache_clear()


@pytest.fixture
def facts() -> Facts:
    """The rows that ship."""
    return load_facts()


def atlas_with(name: str, changes: Mapping[str, object]) -> Workload:
    """A system of the atlas with facts (`table.field`) of its TOML text changed."""
    text = atlas_text(name)
    for dotted, value in changes.items():
        table, field = dotted.rsplit(".", 1)
        head, body = text.split(f"\n[{table}]\n")
        before, line, after = re.split(rf"^({field} = .*)$", body, maxsplit=1, flags=re.M)
        assert "\n[" not in before, f"{name} does not state {dotted}"
        assert line != f"{field} = {json.dumps(value)}", f"{dotted} is so already"
        text = f"{head}\n[{table}]\n{before}{field} = {json.dumps(value)}{after}"
    return parse_workload(text, where=f"atlas:{name}")


@pytest.fixture
def place(facts: Facts) -> Callable[..., Position]:
    """Where a system of the atlas is on the map once facts of its text are changed."""

    def at(name: str, changes: Mapping[str, object] | None = None) -> Position:
        return locate(atlas_with(name, changes or {}), facts)

    return at


@pytest.fixture
def place_text(facts: Facts) -> Callable[..., Position]:
    """Where a workload in TOML text is on the map."""

    def at(text: str, machine: str | None = None) -> Position:
        return locate(parse_workload(text, where="test"), facts, machine)

    return at


@pytest.fixture
def spec(tmp_path: Path) -> Callable[[str], str]:
    """Writes TOML text to a file and gives its path."""

    def write(text: str, name: str = "product.toml") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write
