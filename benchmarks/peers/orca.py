"""RVO2's own agents, through pyrvo: a scenario as JSON comes in, what became of it goes out.

They know each other's true places and speeds, and take on any velocity at once. Each wants straight
to its goal, as in RVO2's examples, turned a little at random so that no symmetry lasts.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from typing import Any

import pyrvo

_TURN = 1e-3


def flown(told: dict[str, Any]) -> dict[str, Any]:
    """Fly until everyone has been at its goal, or the time is up."""
    radius_m, reach_m, tick_s = told["radius_m"], told["reach_m"], told["tick_s"]
    agents = pyrvo.RVOSimulator()
    agents.set_time_step(tick_s)
    horizon_s = told["horizon_s"]
    agents.set_agent_defaults(
        told["near_m"], told["most_near"], horizon_s, horizon_s, radius_m, told["speed_m_s"]
    )
    for start in told["starts"]:
        agents.add_agent(tuple(start))
    for corners in told["walls"]:
        agents.add_obstacle([tuple(corner) for corner in corners])
    agents.process_obstacles()
    goals, chance = told["goals"], random.Random(1)
    arrived_s: list[float | None] = [None] * len(goals)
    touching: set[tuple[int, int]] = set()
    touches, steps, spent_s, now_s = 0, 0, 0.0, 0.0
    while None in arrived_s and now_s < told["most_s"]:
        begun_s = time.process_time()
        for agent, goal in enumerate(goals):
            agents.set_agent_pref_velocity(agent, _wish(agents, agent, goal, told, chance))
        agents.do_step()
        spent_s += time.process_time() - begun_s
        steps, now_s = steps + 1, now_s + tick_s
        at = [_at(agents, agent) for agent in range(len(goals))]
        for agent, goal in enumerate(goals):
            if arrived_s[agent] is None and math.dist(at[agent], goal) < reach_m:
                arrived_s[agent] = now_s
        now = _touching(at, radius_m, told["walls"])
        touches, touching = touches + len(now - touching), now
    return {
        "arrived_s": arrived_s,
        "touches": touches,
        "step_s": spent_s / max(1, steps * len(goals)),
    }


def _at(agents: pyrvo.RVOSimulator, agent: int) -> tuple[float, float]:
    place = agents.get_agent_position(agent)
    return place.x, place.y


def _wish(
    agents: pyrvo.RVOSimulator,
    agent: int,
    goal: list[float],
    told: dict[str, Any],
    chance: random.Random,
) -> tuple[float, float]:
    x, y = _at(agents, agent)
    across, up = goal[0] - x, goal[1] - y
    # As in the examples: at full speed, slower over the last stretch.
    share = told["speed_m_s"] / max(math.hypot(across, up), told["speed_m_s"] * told["tick_s"])
    angle, far = chance.random() * 2.0 * math.pi, chance.random() * _TURN
    return across * share + far * math.cos(angle), up * share + far * math.sin(angle)


def _touching(
    at: list[tuple[float, float]], radius_m: float, walls: list[Any]
) -> set[tuple[int, int]]:
    """Pairs that overlap, by more than rounding, and agents in a wall (-1)."""
    least_m = radius_m * (1.0 - 1e-2)
    found = {
        (one, two)
        for one in range(len(at))
        for two in range(one + 1, len(at))
        if math.dist(at[one], at[two]) < 2.0 * least_m
    }
    for agent, (x, y) in enumerate(at):
        for corners in walls:
            across, up = [corner[0] for corner in corners], [corner[1] for corner in corners]
            near = min(max(x, min(across)), max(across)), min(max(y, min(up)), max(up))
            if math.dist((x, y), near) < least_m:
                found.add((agent, -1))
    return found


if __name__ == "__main__":
    print(json.dumps(flown(json.load(sys.stdin))))
