"""Large files brought into the system's cache before they are searched at random.

A search touches a mapped file in thousands of places. From a cold disk each touch is a read of its
own, and with a generous read-ahead a large one: the first queries would wait for seconds. Read from
end to end it is there at the disk's full rate, and a replica beside finds it there.
"""

from __future__ import annotations

import os
from pathlib import Path

_READ_BYTES = 4 << 20
_ROOMY_SHARE = 0.25
"""A file that takes no more of the memory that is free finds room in the system's cache."""


def finds_room(num_bytes: int) -> bool:
    """Whether the system's cache can keep so much without driving out what others need."""
    return num_bytes <= _ROOMY_SHARE * _available_bytes()


def read_in(path: Path) -> None:
    """Read a file from end to end, if the cache has room for it; a file that is not there is none.

    Raises:
        OSError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not finds_room(os.fstat(descriptor).st_size):
            return
        block = bytearray(_READ_BYTES)
        while os.readv(descriptor, [block]):
            pass
    finally:
        os.close(descriptor)


def _available_bytes() -> int:
    """Memory that could be had without driving anything out (Linux); 0 where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kib = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, IndexError):
        return 0
    return int(kib) << 10
