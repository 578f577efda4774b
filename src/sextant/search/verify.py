"""Files held to their cards: sizes always, checksums where that is quick, the rest in time.

A shard may be larger than memory, so opening one must not read all of it. Sizes are compared at
once, and the checksums of files up to `QUICK_BYTES`. A larger file is read through behind the
serving, at a bounded rate; `sextant rag check` reads everything.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from pathlib import Path

from sextant.errors import InputError
from sextant.search.cards import ExtraCard, FileCard, SegmentCard
from sextant.search.resident import finds_room

QUICK_BYTES = 64 << 20
"""What a second core hashes in a twentieth of a second or so."""
BEHIND_BYTES_PER_S = 64 << 20
"""How quickly large files are read behind the serving: a fraction of any local disk's rate, and a
fifteenth of what a core hashes."""
MEND = "sextant rag index with the same corpus builds what is damaged again"
_READ_BYTES = 4 << 20


def verify_at_open(folder: Path, card: SegmentCard, only: Collection[str] | None = None) -> None:
    """Compare every file's size with its card, and the checksums of those that are quick to read.

    Args:
        folder: the segment's folder.
        card: its card.
        only: the files to compare; None is all.

    Raises:
        InputError: a file is missing, of another size, or its checksum differs.
    """
    for name, expected in card.files.items():
        if only is not None and name not in only:
            continue
        _check_size(folder / name, expected)
        if expected.bytes <= QUICK_BYTES:
            _check_sum(folder / name, expected, None)


def verify_behind(folder: Path, card: SegmentCard, ended: Callable[[float], bool]) -> None:
    """Compare the checksums of the files that `verify_at_open` left out, at a bounded rate.

    Args:
        folder: the segment's folder.
        card: its card.
        ended: waits so many seconds; whether the reading shall end there.

    Raises:
        InputError: a checksum differs, or a file is gone.
    """
    for name, expected in card.files.items():
        if expected.bytes > QUICK_BYTES:
            _check_sum(folder / name, expected, ended)


def verify(index_dir: Path, card: SegmentCard) -> None:
    """Compare every file of a segment, and its tombstones, with the card.

    Raises:
        InputError: a file is missing, of another size, or its checksum differs.
    """
    for name, expected in card.files.items():
        path = index_dir / card.folder / name
        _check_size(path, expected)
        _check_sum(path, expected, None)
    verify_tombstones(index_dir, card)


def verify_extra(index_dir: Path, card: ExtraCard) -> None:
    """Compare the owner's own files with their cards.

    Raises:
        InputError: a file is missing, of another size, or its checksum differs.
    """
    for name, expected in card.files.items():
        path = index_dir / card.folder / name
        _check_size(path, expected)
        _check_sum(path, expected, None)


def verify_tombstones(index_dir: Path, card: SegmentCard) -> None:
    """Compare a segment's tombstones with their card.

    Raises:
        InputError: the file is missing, of another size, or its checksum differs.
    """
    if card.dead is not None:
        path = index_dir / card.dead.file
        _check_size(path, card.dead.card)
        _check_sum(path, card.dead.card, None)


def _check_size(path: Path, expected: FileCard) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise _damage(path, f"torn: {path.name}: {error.strerror}") from error
    if found != expected.bytes:
        raise _damage(path, f"torn: {path.name} has {found} bytes, not {expected.bytes}")


def _check_sum(path: Path, expected: FileCard, ended: Callable[[float], bool] | None) -> None:
    digest = hashlib.sha256()
    # Searches read these files at random: where there is room for all of one, it had better stay.
    keep = finds_room(expected.bytes)
    try:
        with path.open("rb") as stream:
            while block := stream.read(_READ_BYTES):
                digest.update(block)
                if ended is not None:
                    if not keep:
                        # Read once: what no search has mapped must not drive out what others need.
                        os.posix_fadvise(stream.fileno(), 0, stream.tell(), os.POSIX_FADV_DONTNEED)
                    if ended(len(block) / BEHIND_BYTES_PER_S):
                        return
    except OSError as error:
        raise _damage(path, f"torn: {path.name}: {error.strerror}") from error
    if digest.hexdigest() != expected.sha256:
        raise _damage(path, f"corrupt: {path.name} does not match its checksum")


def _damage(path: Path, what: str) -> InputError:
    return InputError(what, where=str(path.parent), hint=MEND)
