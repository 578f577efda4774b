"""A rank that is killed or stopped: a clear error in time, then a new group, the same text."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sextant.decoder import Finish, Generation, Generator, open_generator
from sextant.decoder.desks import GangDesk
from sextant.errors import EngineError
from sextant.fleet import Deadline, Fleet

PROMPT = "the cat sat on the mat and"
NAMED = re.compile(r"writer/[01]")


@pytest.fixture(scope="module")
def generator(fleet: Fleet, small: Path) -> Iterator[Generator]:
    with open_generator(small, fleet=fleet, ranks=2, role="writer", stall_s=2.0) as opened:
        yield opened


@pytest.fixture
def pid(generator: Generator) -> Callable[[str], int]:
    desk = generator._desk  # type: ignore[attr-defined]
    assert isinstance(desk, GangDesk)

    def of(name: str) -> int:
        found = desk._gang.pid(name)
        assert found is not None
        return found

    return of


def write(generator: Generator, seconds: float) -> Generation | str:
    """What it writes, or the error that it tells."""
    try:
        (one,) = generator.generate([PROMPT], max_new_tokens=60, deadline=Deadline.after(seconds))
    except EngineError as error:
        return str(error)
    return one


def until_it_writes(generator: Generator, seconds: float) -> tuple[Generation, int]:
    """What it writes once it can, and how often it told an error before."""
    until_s, errors = time.monotonic() + seconds, 0
    while isinstance(told := write(generator, 20.0), str):
        assert NAMED.search(told), told
        assert time.monotonic() < until_s, told
        errors += 1
        time.sleep(0.1)
    return told, errors


@pytest.mark.parametrize("rank", ["writer/1", "writer/0"])
def test_a_killed_rank(generator: Generator, pid: Callable[[str], int], rank: str) -> None:
    before, _ = until_it_writes(generator, 60)
    pieces = generator.stream(PROMPT, max_new_tokens=60, deadline=Deadline.after(60))
    next(pieces)
    begun_s = time.monotonic()
    os.kill(pid(rank), signal.SIGKILL)
    # Should the text have ended before the signal landed, the next one meets the gap.
    told: list[str] = []
    try:
        list(pieces)
    except EngineError as error:
        told.append(str(error))
    if not told:
        told.append(str(write(generator, 60.0)))
    assert NAMED.search(told[0])
    assert time.monotonic() - begun_s < 10.0
    after, errors = until_it_writes(generator, 60)
    assert after.tokens == before.tokens
    assert errors > 0


def test_a_stopped_rank(generator: Generator, pid: Callable[[str], int]) -> None:
    before, _ = until_it_writes(generator, 60)
    os.kill(pid("writer/1"), signal.SIGSTOP)
    begun_s = time.monotonic()
    late = write(generator, 1.0)
    assert time.monotonic() - begun_s < 2.0
    assert NAMED.search(late) if isinstance(late, str) else late.finish is Finish.DEADLINE
    after, _ = until_it_writes(generator, 60)
    assert after.tokens == before.tokens
