"""An index is made in a folder of its own, and clears nothing of others away."""

from __future__ import annotations

from pathlib import Path

import pytest

from sextant.errors import InputError
from sextant.search.generations import BUILDING
from sextant.search.manifest import MANIFEST
from sextant.search.workshop import workshop


@pytest.mark.parametrize(
    "name", ["notes.txt", "building/a.txt", "manifests/c.json", "manifest.json"]
)
def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path, name: str) -> None:
    kept = tmp_path / name
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    with pytest.raises(InputError, match="something else"), workshop(tmp_path):
        pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]


def test_a_file_is_no_folder_for_an_index(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match="a file, not a folder"), workshop(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


def test_what_a_kill_left_is_gone_on_from(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        end_there(tmp_path, KeyboardInterrupt())
    with workshop(tmp_path) as folder:
        assert (folder / "vectors").read_text() == "many"


def end_there(folder: Path, error: BaseException) -> None:
    with workshop(folder) as building:
        (building / "vectors").write_text("many")
        raise error


def test_refused_input_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text"):
        end_there(tmp_path, InputError("no text"))
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    (tmp_path / MANIFEST).write_text('{"format": "sextant-index/1"}')
    with pytest.raises(InputError, match="no text"):
        end_there(tmp_path, InputError("no text"))
    assert (tmp_path / BUILDING / "vectors").exists()
