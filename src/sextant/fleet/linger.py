"""Keeps a link that was cut from holding up the others.

Zenoh has the system linger on every TCP link (SO_LINGER, 10 s, not to be configured): closing one
whose peer is cut off blocks one of its few threads for as long, and with it all links that the
thread serves. Two members on a host that is unplugged stop everybody else's answers too. So the
option is taken back from every link soon after it came.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path

_FDS = Path("/proc/self/fd")
_OFF = struct.pack("ii", 0, 0)


class Unlingering:
    """Remembers the sockets that it has seen, so that looking again costs little (Linux)."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._looked_s = -every_s
        self._seen: set[str] = set()

    def look(self, now_s: float) -> int:
        """Takes the option back from the TCP sockets that are new; returns from how many."""
        if now_s - self._looked_s < self._every_s:
            return 0
        self._looked_s = now_s
        present, changed = set(), 0
        with contextlib.suppress(OSError):
            for entry in _FDS.iterdir():
                with contextlib.suppress(OSError):
                    name = str(entry.readlink())
                    if name.startswith("socket:"):
                        present.add(name)
                        changed += name not in self._seen and _unlinger(int(entry.name))
        self._seen = present
        return changed


def _unlinger(number: int) -> bool:
    with socket.socket(fileno=os.dup(number)) as same:
        if same.type != socket.SOCK_STREAM or same.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        lingers, _ = struct.unpack("ii", same.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        if lingers:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _OFF)
        return bool(lingers)
