"""Keeps a link that was cut from holding up the others.

Zenoh has the system linger on every TCP link (SO_LINGER, 10 s, not to be configured): closing one
whose peer is cut off blocks one of its few threads for as long, and with it all links that the
thread serves. Two members on a host that is unplugged stop everybody else's answers too. So the
option is taken back from every link soon after it came.

A process may have thousands of files open. They are asked in C with the interpreter's lock held:
a microsecond each, where letting go of the lock for each would be waiting for it as often.
"""

from __future__ import annotations

import ctypes
import socket
from pathlib import Path

_FDS = Path("/proc/self/fd")


class _Linger(ctypes.Structure):
    """`struct linger` of socket(7)."""

    _fields_ = (("on", ctypes.c_int), ("seconds", ctypes.c_int))


class Unlingering:
    """Takes the option back from links, now and again (Linux)."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._looked_s = -every_s
        self._libc = ctypes.PyDLL(None)

    def look(self, now_s: float) -> int:
        """Takes the option back from all TCP sockets that have it; returns from how many."""
        if now_s - self._looked_s < self._every_s:
            return 0
        self._looked_s = now_s
        try:
            numbers = [int(entry.name) for entry in _FDS.iterdir()]
        except OSError:
            return 0
        return sum(map(self._unlinger, numbers))

    def _unlinger(self, number: int) -> bool:
        asked = number, socket.SOL_SOCKET, socket.SO_LINGER
        found, length = _Linger(), ctypes.c_uint(ctypes.sizeof(_Linger))
        if self._libc.getsockopt(*asked, ctypes.byref(found), ctypes.byref(length)) or not found.on:
            return False
        off = _Linger()
        return not self._libc.setsockopt(*asked, ctypes.byref(off), length)
