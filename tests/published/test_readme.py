"""Every command of the README runs, and its example is the file that ships."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]
SEXTANT = [line for line in CONSOLE if line.startswith("sextant ")]
BUDGET = "sextant budget --period 50ms --round-trip 8ms"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's commands read, so that they write nothing into the tree."""
    place = tmp_path_factory.mktemp("readme")
    for name in ("examples", "docs"):
        (place / name).symlink_to(ROOT / name)
    return place


def test_commands_run_in_order(workplace: Path) -> None:
    pytest.importorskip("faiss", reason="the README's rag commands need the extra rag")
    assert len(SEXTANT) >= 6
    for command in [*SEXTANT, BUDGET]:
        words = [sys.executable, "-m", "sextant", *shlex.split(command)[1:]]
        env = {**os.environ, "SEXTANT_HOME": str(workplace / "home"), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            words, cwd=workplace, env=env, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert (workplace / "plan.html").stat().st_size > 10_000
    assert BUDGET in TEXT


def test_the_other_commands_are_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in set(CONSOLE) - set(SEXTANT):
        program, target = command.split()
        assert program == "make"
        assert f"\n{target}:" in makefile


def test_the_example_is_the_file_that_ships() -> None:
    example = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert example is not None
    assert (ROOT / "examples" / "product.toml").read_text(encoding="utf-8") == example[1]


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
