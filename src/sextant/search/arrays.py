"""Arrays on disk, read by one thread at a time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_READING = threading.Lock()


def read_array(path: Path, *, mapped: bool = True) -> npt.NDArray[Any]:
    """The array of an `.npy` file.

    NumPy parses the header as Python, and CPython up to 3.12 fails at random where two threads
    parse at once and the collector runs between (SystemError, python/cpython#106905).

    Args:
        path: what `np.save` left.
        mapped: read its pages when they are looked at, rather than now.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is not an array.
    """
    try:
        with _READING:
            found: npt.NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None)
    except EOFError as error:
        raise ValueError(f"{path.name} is empty") from error
    return found
