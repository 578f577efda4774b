"""Runs `python -m sextant` as a user does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def object(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        found = json.loads(self.out, parse_constant=_refuse)
        assert isinstance(found, dict)
        return found

    def failed(self, code: int) -> tuple[str, str]:
        """What stands after `error:` and after `hint:` on stderr, and nothing else anywhere."""
        assert (self.code, self.out) == (code, ""), self.err
        error, _, hint = self.err.rstrip("\n").partition("\nhint: ")
        assert error.startswith("error: "), self.err
        assert "\n" not in hint
        return error.removeprefix("error: "), hint


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@cache
def _run(arguments: tuple[str, ...]) -> Ended:
    done = subprocess.run(
        [sys.executable, "-m", "sextant", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture
def sextant() -> Callable[..., Ended]:
    """Runs a command to its end; the same command is run once."""
    return lambda *arguments: _run(arguments)
