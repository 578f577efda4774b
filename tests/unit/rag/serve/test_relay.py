"""The log's pipe: lines come through whole, and a killed reader's pipe does not stay for ever."""

from __future__ import annotations

import os
import tempfile
from io import StringIO
from pathlib import Path

import pytest

from sextant.systems.rag.serve.relay import PipeEnd, relay


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left(folder: Path, name: str, age_s: float) -> Path:
    """A folder as a killed command leaves it, so long ago."""
    found = folder / f"sextant-log-{name}"
    found.mkdir()
    os.mkfifo(found / "log")
    then_s = found.stat().st_mtime - age_s
    os.utime(found, (then_s, then_s))
    return found


def test_what_is_written_is_read_and_nothing_is_left(folder: Path) -> None:
    stream = StringIO()
    with relay(stream) as path:
        PipeEnd(str(path)).write("one\n")
    assert stream.getvalue() == "one\n"
    assert list(folder.iterdir()) == []


def test_a_killed_readers_pipe_goes_and_a_live_or_a_young_one_stays(folder: Path) -> None:
    dead, young = left(folder, "dead", 120), left(folder, "young", 0)
    with relay(StringIO()) as alive:
        then_s = alive.parent.stat().st_mtime - 120
        os.utime(alive.parent, (then_s, then_s))
        with relay(StringIO()):
            assert alive.exists()
            assert young.exists()
            assert not dead.exists()
