"""The folder of work in progress: one owner, one wish, one rename at the end."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sextant.errors import InputError


@contextmanager
def workshop(out: Path, key: str) -> Iterator[Path]:
    """The folder for work in progress on this wish, held by this process alone.

    What a kill leaves is gone on from; what the input itself ends is cleared away, for a mended
    input is another wish.
    """
    folder = out.resolve().with_name(out.resolve().name + ".building")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("another run is at work here", where=str(folder)) from None
        _begin(folder, key)
        try:
            yield folder
        except InputError:
            shutil.rmtree(folder)
            raise


def _begin(folder: Path, key: str) -> None:
    """Clear away what a killed run of another wish left."""
    wish = folder / "wish"
    others = [path for path in folder.iterdir() if path.name != ".lock"]
    if wish.exists() and wish.read_text(encoding="utf-8") == key:
        return
    if others and not wish.exists():
        hint = "move it away, or another --out"
        raise InputError("is in the way of the work in progress", where=str(folder), hint=hint)
    for path in others:
        path.unlink()
    wish.write_text(key, encoding="utf-8")


def publish(folder: Path, out: Path) -> None:
    """Make the folder's files durable, then give it its name."""
    for path in folder.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    if out.exists():
        out.rmdir()
    folder.rename(out)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    # Only now: a run that is killed before the rename must still find them.
    for scrap in ("state.json", "tokenizer.ready", "wish", ".lock"):
        (out / scrap).unlink(missing_ok=True)
