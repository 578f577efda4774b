"""A checkpoint that takes another's place: killed at any point, one of them is there."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from sextant.errors import EngineError  # noqa: E402
from sextant.systems.pretraining import checkpoint  # noqa: E402


class Killed(BaseException):
    """Stands for the signal."""


@pytest.mark.parametrize("at", ["first rename", "second rename", "clearing"])
def test_a_kill_while_one_is_replaced_loses_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    save(tmp_path, 1.0)
    renames = 0
    rename = Path.rename

    def renamed(path: Path, target: Path) -> Path:
        nonlocal renames
        renames += ".distcp" not in path.name and path.parent.name == checkpoint.FOLDER
        if renames == {"first rename": 1, "second rename": 2}.get(at):
            raise Killed("killed")
        return rename(path, target)

    def cleared(path: Path, **_: object) -> None:
        if path.name.endswith(".replaced"):
            raise Killed("killed")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", renamed)
        # What a killed process would clear away after it failed stays, too. The module's own name
        # for it: garbage of other tests is cleared by `shutil` itself, at any time.
        patched.setattr(checkpoint, "shutil", SimpleNamespace(rmtree=cleared))
        with pytest.raises(Exception, match="could not be written: killed"):
            save(tmp_path, 2.0)
    value = 2.0 if at == "clearing" else 1.0
    (seen,) = checkpoint.found(tmp_path)
    assert loaded(seen) == value
    # The next run puts it in order.
    checkpoint.Writer(tmp_path, identity="same", layout="1", keep=1, distributed=False)
    (settled,) = checkpoint.found(tmp_path)
    assert settled.name == checkpoint.name_of(7)
    assert loaded(settled) == value
    assert [path.name for path in settled.parent.iterdir()] == [settled.name]
    save(tmp_path, 3.0)
    assert loaded(*checkpoint.found(tmp_path)) == 3.0


def test_one_is_written_whatever_became_of_the_filters_of_warnings(tmp_path: Path) -> None:
    """They are the process's: another thread may have put those of before back."""
    with warnings.catch_warnings():
        writer = checkpoint.Writer(tmp_path, identity="a", layout="1", keep=1, distributed=False)
    writer.save({"weight": torch.ones(8)}, step=7, updates=7, wait=True)
    assert loaded(*checkpoint.found(tmp_path)) == 1.0


def test_what_is_not_finite_takes_no_place(tmp_path: Path) -> None:
    """A run could never go on from it, and the last good one would make room for it."""
    save(tmp_path, 1.0)
    with pytest.raises(EngineError, match="not finite"):
        save(tmp_path, float("nan"))
    assert loaded(*checkpoint.found(tmp_path)) == 1.0
    assert not list((tmp_path / checkpoint.FOLDER).glob("*.building"))


def test_who_saves_beside_steps_hears_of_a_flaw_with_the_next(tmp_path: Path) -> None:
    """And is not to go on: what follows it could never be saved."""
    writer = checkpoint.Writer(tmp_path, identity="same", layout="1", keep=1, distributed=False)
    writer.save({"weight": torch.full((8,), float("inf"))}, step=1, updates=1)
    with pytest.raises(checkpoint.FlawedError, match="after 1 steps"):
        writer.save({"weight": torch.ones(8)}, step=2, updates=2)


def save(out: Path, value: float) -> None:
    writer = checkpoint.Writer(out, identity="same", layout="1", keep=1, distributed=False)
    writer.save({"weight": torch.full((8,), value)}, step=7, updates=7, wait=True)


def loaded(folder: Path) -> float:
    state = {"weight": torch.zeros(8)}
    assert checkpoint.verify(folder).step == 7
    checkpoint.load(state, folder, distributed=False)
    return float(state["weight"][0])
