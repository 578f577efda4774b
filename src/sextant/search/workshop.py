"""The one place where an index is written: held by one process at a time, and cleared after.

An index removes what it no longer needs, so it is never made among files of somebody else's.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sextant.errors import InputError
from sextant.search.generations import BUILDING, GENERATIONS
from sextant.search.manifest import FORMAT, MANIFEST, MANIFESTS


class OccupiedError(InputError):
    """Another process is writing the index; later it may be done."""


_LOCK = ".lock"
_OURS = {_LOCK, BUILDING, GENERATIONS, MANIFESTS, f"{MANIFEST}.new"}
_BETWEEN_TRIES_S = 0.1


@contextmanager
def workshop(index_dir: Path, wait_s: float = 0.0) -> Iterator[Path]:
    """The folder for work in progress, held by this process alone; made if absent.

    What a kill leaves is gone on from; input that is refused leaves only the lock in a folder that
    was empty.

    Args:
        index_dir: where the index lives; made if absent.
        wait_s: how long to wait for another process to finish.

    Raises:
        OccupiedError: another process is still writing here.
        InputError: the folder holds something else, or is none.
    """
    folder = index_dir / BUILDING
    is_new = _check(index_dir)
    index_dir.mkdir(parents=True, exist_ok=True)
    end_s = time.monotonic() + wait_s
    with (index_dir / _LOCK).open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end_s:
                    raise OccupiedError(
                        "another build is at work here",
                        where=str(index_dir),
                        hint="wait until it is done; what is published goes on being served",
                    ) from None
                time.sleep(_BETWEEN_TRIES_S)
        folder.mkdir(exist_ok=True)
        try:
            yield folder
        except InputError:
            if is_new:
                shutil.rmtree(folder)
            raise


def _check(index_dir: Path) -> bool:
    """Whether nothing is there yet; else it must be an index, or what a killed build left.

    Raises:
        InputError: it is neither.
    """
    try:
        names = {path.name for path in index_dir.iterdir()}
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        raise InputError("a file, not a folder for an index", where=str(index_dir)) from None
    began = _LOCK in names and names <= _OURS | {MANIFEST}
    if names and not began and not _is_index(index_dir):
        hint = "another folder for the index: it would clear away what it does not know"
        raise InputError("holds something else already", where=str(index_dir), hint=hint)
    return not names


def _is_index(index_dir: Path) -> bool:
    """Whether its manifest is of an index, and not of a web page, say, that has one too."""
    try:
        text = (index_dir / MANIFEST).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return f'"{FORMAT.split("/")[0]}/' in text
