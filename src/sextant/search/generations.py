"""The generations of an index on disk: who serves which, and what may be removed.

Whoever serves a generation holds a shared lock on its copy of the manifest. What no manifest names
that is current or locked is removed: by the writer that replaces it, or by the last reader as it
lets go. The kernel drops the locks of a process that is killed, so nothing is kept for ever.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sextant.errors import InputError
from sextant.search.manifest import MANIFESTS, Manifest, sync_directory

BUILDING = "building"
GENERATIONS = "generations"
_TRIES = 200
_BETWEEN_TRIES_S = 0.005


class Lease:
    """A generation that is served: its files stay until `close`, whatever is published meanwhile.

    Made by `lease`.
    """

    def __init__(self, index_dir: Path, manifest: Manifest, descriptor: int | None) -> None:
        self.manifest = manifest
        self.index_dir = index_dir
        self._descriptor = descriptor

    def close(self) -> None:
        """Let go; the last to do so removes what only this generation needed."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _retire(self.index_dir, self.manifest)


def lease(index_dir: Path, generation: str | None = None) -> Lease:
    """Hold the current generation of an index, or another that is still there.

    Raises:
        InputError: there is no index, its manifest is damaged, or the generation is gone.
    """
    for _ in range(_TRIES):
        manifest = Manifest.read(index_dir, generation)
        path = index_dir / MANIFESTS / f"{manifest.generation}.json"
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            # Replaced between the two reads; or the index was copied without its manifests.
            if generation is None and Manifest.read(index_dir) == manifest:
                return Lease(index_dir, manifest, None)
            continue
        # A file that was removed while it was being locked holds nothing.
        if _locked(descriptor, fcntl.LOCK_SH) and os.fstat(descriptor).st_nlink:
            return Lease(index_dir, manifest, descriptor)
        os.close(descriptor)
        time.sleep(_BETWEEN_TRIES_S)
    raise InputError("the index is replaced quicker than it opens", where=str(index_dir))


def unused_generation(index_dir: Path, key: str) -> str:
    """A name that no generation has: the current one may have the same key and be damaged."""
    attempt, name = 1, key[:16]
    while (index_dir / GENERATIONS / name).exists() or (
        index_dir / MANIFESTS / f"{name}.json"
    ).exists():
        attempt += 1
        name = f"{key[:16]}-{attempt}"
    return name


def publish(index_dir: Path, building: Path, manifest: Manifest) -> None:
    """Move a generation's files into place, make its manifest the current one, and sweep.

    Everything in `building` is durable but for its names. Only one writer may be at work here.
    """
    home = index_dir / GENERATIONS / manifest.generation
    home.parent.mkdir(exist_ok=True)
    sync_directory(building)
    building.rename(home)
    sync_directory(home.parent)
    manifest.write(index_dir)
    sweep(index_dir, manifest)


def sweep(index_dir: Path, current: Manifest) -> None:
    """Remove the generations that nobody serves, and what no generation needs; for the writer."""
    for path in (index_dir / MANIFESTS).glob("*.json"):
        if path.stem != current.generation:
            _unlink_unserved(path)
    needed = _needed(index_dir)
    for generation in _inside(index_dir / GENERATIONS):
        for path in _inside(generation):
            if str(path.relative_to(index_dir)) not in needed:
                _remove(path)
        _remove_if_empty(generation)


def _retire(index_dir: Path, manifest: Manifest) -> None:
    """Remove what only this generation needed, unless it is current or served by others."""
    path = index_dir / MANIFESTS / f"{manifest.generation}.json"
    try:
        if Manifest.read(index_dir).generation == manifest.generation:
            return
        if not _unlink_unserved(path):
            return
        needed = _needed(index_dir)
    except (InputError, OSError):
        # A reader's housekeeping is no duty: the next writer sweeps.
        return
    for name in sorted(manifest.paths() - needed):
        _remove(index_dir / name)
        _remove_if_empty((index_dir / name).parent)


def _needed(index_dir: Path) -> set[str]:
    """What the generations that are current or served need, as paths under the index."""
    needed = Manifest.read(index_dir).paths()
    for manifest in _others(index_dir):
        needed |= manifest.paths()
    return needed


def _others(index_dir: Path) -> Iterator[Manifest]:
    for path in (index_dir / MANIFESTS).glob("*.json"):
        try:
            yield Manifest.read(index_dir, path.stem)
        except InputError:
            # Gone meanwhile, or damaged: nobody can open it any more.
            continue


def _unlink_unserved(path: Path) -> bool:
    """Remove a generation's manifest if nobody holds a lease on it; whether that was so."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        if unserved := _locked(descriptor, fcntl.LOCK_EX):
            # While it is locked: who waits for the lock then sees that the file is gone.
            path.unlink(missing_ok=True)
        return unserved
    finally:
        os.close(descriptor)


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _inside(folder: Path) -> list[Path]:
    """What a folder holds: nothing, if a reader that let go has removed it meanwhile."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
