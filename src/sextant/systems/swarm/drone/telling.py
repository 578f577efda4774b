"""What a drone tells whoever watches; nothing of it goes back to any drone."""

from __future__ import annotations

from typing import Any

from sextant.systems.swarm.drone.pilot import Pilot


def telling(pilot: Pilot, loop_s: float) -> dict[str, Any]:
    """What it is about, whom it hears, what it has won and found; `loop_s` is its last tick's."""
    return {
        "name": pilot.rule.name,
        "phase": str(pilot.phase),
        "goal": pilot.goal_point(),
        "tasks": pilot.task_points(),
        "hears": pilot.hears(),
        "loop_s": loop_s,
        "targets": [[round(x, 2), round(y, 2)] for x, y in pilot.targets.confirmed()],
    }
