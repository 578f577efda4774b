"""Every command in `docs/exercises.md` prints what stands beneath it.

`python tests/published/test_exercises.py` writes the outputs anew.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from sextant.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "exercises.md"
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
PROMPT = "$ sextant "


def commands(text: str) -> list[tuple[str, str]]:
    """Each command of the page's console blocks, with the output beneath it."""
    found = []
    for block in BLOCK.findall(text):
        for part in re.split(r"^(?=\$ )", block, flags=re.MULTILINE):
            if part:
                line, _, output = part.partition("\n")
                found.append((line, output))
    return found


def run(line: str) -> str:
    """What the command prints."""
    assert line.startswith(PROMPT), line
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(shlex.split(line.removeprefix(PROMPT))) == 0
    return printed.getvalue()


def test_the_page_answers_all_three_exercises() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")]
    names = {line.split()[2] for line, _ in commands(text)}
    assert {"map", "budget"} <= names


@pytest.mark.parametrize(
    ("line", "output"),
    [pytest.param(*pair, id=pair[0][2:]) for pair in commands(PAGE.read_text(encoding="utf-8"))],
)
def test_the_output_is_what_the_command_prints(line: str, output: str) -> None:
    assert run(line).rstrip() == output.rstrip()


def _rewritten(block: re.Match[str]) -> str:
    lines = [line for line in block[0].splitlines() if line.startswith("$ ")]
    return "\n".join(f"{line}\n{run(line).rstrip()}\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(
        BLOCK.sub(_rewritten, PAGE.read_text(encoding="utf-8")), encoding="utf-8", newline="\n"
    )
