"""What the tests of flights in real time share: a field, and waiting for what must come."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

WITHIN_S = 150.0


def field(folder: Path, side: int) -> Path:
    """An open field of so many metres."""
    rows = "\n".join(["." * side] * side)
    path = folder / "field.map"
    path.write_text(f"type octile\nheight {side}\nwidth {side}\nmap\n{rows}\n")
    return path


def until(there: Callable[[], bool], what: str) -> None:
    """Waits; a busy machine has minutes."""
    end_s = time.monotonic() + WITHIN_S
    while not there():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
