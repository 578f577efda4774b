"""What the tests of flights in real time share: a field, and waiting for what must come."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sextant.systems.swarm.mission.launch import Flight

WITHIN_S = 150.0


def field(folder: Path, side: int) -> Path:
    """An open field of so many metres."""
    rows = "\n".join(["." * side] * side)
    path = folder / "field.map"
    path.write_text(f"type octile\nheight {side}\nwidth {side}\nmap\n{rows}\n")
    return path


def flight_over(folder: Path, side: int, *, drones: int, most_s: float, **rest: Any) -> Flight:
    """A flight over such a field, one target in it; by default no word is lost."""
    from sextant.systems.swarm.mission.launch import Flight

    wish = {"targets": 1, "loss": 0.0, "seed": 1, **rest}
    return Flight(field(folder, side), folder, cell_m=1.0, drones=drones, most_s=most_s, **wish)


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
