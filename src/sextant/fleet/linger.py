"""Keeps a link that was cut from holding up the others.

Zenoh has the system linger on every TCP link (SO_LINGER, 10 s, not to be configured): closing one
whose peer is cut off blocks one of its few threads for as long, and with it all links that the
thread serves. Two members on a host that is unplugged stop everybody else's answers too. So the
option is taken back from every link soon after it came.

A process may have thousands of files open. They are asked in C with the interpreter's lock held:
a microsecond each, where letting go of the lock for each would be waiting for it as often. For the
same reason the numbers are counted off, and no folder is read for them.
"""

from __future__ import annotations

import ctypes
import socket
from pathlib import Path

_STATUS = Path("/proc/self/status")
_SO_DOMAIN = 39
_INTERNET = (socket.AF_INET, socket.AF_INET6)


class Unlingering:
    """Takes the option back from links, now and again (Linux)."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._looked_s = -every_s
        self._libc = ctypes.PyDLL(None)
        # Of `struct linger` (on, seconds), and its length.
        self._found, self._length = (ctypes.c_int * 2)(), ctypes.c_uint(8)
        self._off = (ctypes.c_int * 2)(0, 0)

    def look(self, now_s: float) -> int:
        """Takes the option back from all internet sockets that have it; returns from how many."""
        if now_s - self._looked_s < self._every_s:
            return 0
        self._looked_s = now_s
        return sum(map(self._unlinger, range(_numbers())))

    def _unlinger(self, number: int) -> bool:
        if self._ask(number, socket.SO_LINGER) or not self._found[0]:
            return False
        if self._ask(number, _SO_DOMAIN) or self._found[0] not in _INTERNET:
            return False
        how = number, socket.SOL_SOCKET, socket.SO_LINGER
        return not self._libc.setsockopt(*how, self._off, 8)

    def _ask(self, number: int, option: int) -> int:
        self._length.value = 8
        length = ctypes.byref(self._length)
        failed: int = self._libc.getsockopt(number, socket.SOL_SOCKET, option, self._found, length)
        return failed


def _numbers() -> int:
    """How many numbers of files the system keeps for this process: no open one is larger."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("FDSize:"))
    except (OSError, StopIteration, ValueError):
        return 0
