"""The table of a checkpoint is read, and a table that would run something is not."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import torch.distributed.checkpoint as dcp  # noqa: E402

from sextant.errors import InputError  # noqa: E402
from sextant.systems.pretraining import checkpoint  # noqa: E402


class _Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self._path,))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_come_back_and_nothing_runs(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    made = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    dcp.save(made, checkpoint_id=str(folder), no_dist=True)
    empty = {name: torch.zeros_like(tensor) for name, tensor in made.items()}
    checkpoint.load(empty, folder, distributed=False)
    assert all(torch.equal(made[name], empty[name]) for name in made)

    sprung = tmp_path / "sprung"
    (folder / ".metadata").write_bytes(pickle.dumps(_Trap(sprung)))
    with pytest.raises(InputError, match="not the table"):
        checkpoint.load(empty, folder, distributed=False)
    assert not sprung.exists()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_value_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    dcp.save({"a": {"n": object}}, checkpoint_id=str(tmp_path), no_dist=True)
    with pytest.raises(InputError, match="not the table"):
        checkpoint.load({"a": torch.zeros(1)}, tmp_path, distributed=False)
