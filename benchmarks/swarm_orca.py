"""RVO2's Circle and Blocks, flown by the drones and by RVO2's own agents (ORCA, through pyrvo).

Scaled so that an agent has a drone's radius and speed; with fewer agents, as far apart, for the
drones' sensors are cast. RVO2's are told all places and speeds without error, and need no time to
change their velocity. The drones have inertia, wind, noise, and words; they know the map.
Source: snape/RVO2, examples/Circle.cc and examples/Blocks.cc.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import Figure, Skipped
from benchmarks.peers import PYTHON
from sextant.systems.swarm.drone.perception import MatchedFilter
from sextant.systems.swarm.drone.pilot import Pilot
from sextant.systems.swarm.mission.stepped import Mission, MissionRule
from sextant.systems.swarm.world.grid import Grid
from sextant.systems.swarm.world.sensors import Readings
from sextant.systems.swarm.world.world import WorldRule

_PEER = Path(__file__).parent / "peers" / "orca.py"
_RING, _SIDE = 40, 3
_LONGER, _UNEVEN_M = 1.1, 0.1
_CIRCLE, _BLOCKS = 0.2, 0.15
"""Metres in a unit of either example."""
_RADIUS_M = 200.0 * _CIRCLE * _RING / 250

Points = list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """Who flies where; `near_m`, `most_near`, `horizon_s` and `tick_s` are ORCA's."""

    name: str
    side_m: float
    cell_m: float
    starts: Points
    goals: Points
    walls: list[Points]
    reach_m: float
    near_m: float
    horizon_s: float
    tick_s: float
    most_near: int = 10
    radius_m: float = 0.3
    speed_m_s: float = 3.0
    most_s: float = 90.0

    def grid(self) -> Grid:
        """The walls as a map whose middle is the origin."""
        count = round(self.side_m / self.cell_m)
        at = (np.arange(count) + 0.5) * self.cell_m - self.side_m / 2
        heights_RC = np.zeros((count, count))
        for corners in self.walls:
            (left, low), (right, high) = np.min(corners, axis=0), np.max(corners, axis=0)
            rows, columns = (at > low) & (at < high), (at > left) & (at < right)
            heights_RC[np.ix_(rows, columns)] = np.inf
        middle = -self.side_m / 2
        return Grid(heights_RC=heights_RC, cell_m=self.cell_m, origin_m=(middle, middle))


def circle(agents: int = _RING, radius_m: float = _RADIUS_M) -> Scenario:
    """Everybody on a ring wants to the opposite side.

    On a true circle ORCA's agents, if they are few, all stop in the middle for ever.
    """
    angles = 2.0 * np.pi * np.arange(agents) / agents
    ring_N2 = radius_m * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    ring_N2 += np.random.default_rng(0).uniform(-_UNEVEN_M, _UNEVEN_M, ring_N2.shape)
    return Scenario(
        name="circle",
        side_m=2.0 * np.ceil(radius_m + 2.0),
        cell_m=0.25,
        starts=_points(ring_N2),
        goals=_snapped(-ring_N2, 0.25),
        walls=[],
        reach_m=1.5 * _CIRCLE,
        near_m=15.0 * _CIRCLE,
        horizon_s=10.0 * 2.0 * _CIRCLE / 3.0,
        tick_s=0.25 * 2.0 * _CIRCLE / 3.0,
    )


def blocks() -> Scenario:
    """Four groups want to the opposite corner, past four blocks with a cross of streets."""
    ways = [(1, 1), (-1, 1), (1, -1), (-1, -1)]
    places = [(55.0 + 10.0 * i, 55.0 + 10.0 * j) for i in range(_SIDE) for j in range(_SIDE)]
    starts = np.array([(p * x, q * y) for p, q in ways for x, y in places]) * _BLOCKS
    goals = np.array([(-75.0 * p, -75.0 * q) for p, q in ways for _ in places]) * _BLOCKS
    near, far = 10.0 * _BLOCKS, 40.0 * _BLOCKS
    square = [(near, near), (far, near), (far, far), (near, far)]
    return Scenario(
        name="blocks",
        side_m=32.0,
        cell_m=0.5,
        starts=_points(starts),
        goals=_snapped(goals, 0.5),
        # Corners go round against the clock, so a mirrored block is told backwards.
        walls=[[(p * x, q * y) for x, y in square][:: p * q] for p, q in ways],
        reach_m=20.0 * _BLOCKS,
        near_m=15.0 * _BLOCKS,
        horizon_s=5.0 * 2.0 * _BLOCKS / 3.0,
        tick_s=0.25 * 2.0 * _BLOCKS / 3.0,
    )


class Sent(Pilot):
    """A drone with one goal, on a map that it knows."""

    def send(self, goal: tuple[float, float], grid: Grid) -> None:
        """From now on."""
        chart = self.rule.chart
        self._to = int(chart.cells(np.array(goal)))
        layer, every = grid.layer(1.0), np.arange(chart.num_cells)
        taken = layer.blocked(*layer.cells(chart.centres(every)))
        for _ in range(3):
            self.shared.observe(every[~taken], every[taken], every)

    def _choose(self, _readings: Readings) -> None:
        assert self._ways is not None
        self._goal = self._to if np.isfinite(self._ways.metres_C[self._to]) else None


def fly(scenario: Scenario) -> tuple[list[float | None], int, float]:
    """The drones': when each was at its goal, touches, and the median cost of a tick."""
    grid = scenario.grid()
    rule = MissionRule(drones=len(scenario.starts), most_s=scenario.most_s, world=WorldRule(seed=1))
    blind = MatchedFilter(rule.world.camera, np.inf)
    mission = Mission(grid, rule, np.array(scenario.starts), blind)
    sent = [Sent(pilot.rule, blind) for pilot in mission.pilots]
    for pilot, goal in zip(sent, scenario.goals, strict=True):
        pilot.send(goal, grid)
    mission.pilots = list[Pilot](sent)
    goals_N2 = np.array(scenario.goals)
    arrived_s: list[float | None] = [None] * len(sent)
    while None in arrived_s and mission.world.now_s < scenario.most_s:
        mission.tick()
        far_N = np.hypot(*(mission.world.bodies.positions_N2 - goals_N2).T)
        for agent in np.flatnonzero(far_N < scenario.reach_m):
            if arrived_s[agent] is None:
                arrived_s[agent] = mission.world.now_s
    return arrived_s, len(mission.world.collisions), mission.loop_s(50)


def run() -> list[Figure]:
    """The figures.

    Raises:
        Skipped: pyrvo is not there.
    """
    return [figure for scenario in (circle(), blocks()) for figure in _figures(scenario)]


def _figures(scenario: Scenario) -> list[Figure]:
    theirs = _orca(scenario)
    arrived_s, touches, tick_s = fly(scenario)
    own_s, orca_s = _mean(arrived_s), _mean(theirs["arrived_s"])
    return [
        Figure(
            name=f"{scenario.name}: touches of {len(scenario.starts)}",
            measured=touches,
            unit="",
            bar="no more than ORCA's",
            held=touches <= theirs["touches"],
            beside={"ORCA": theirs["touches"]},
        ),
        Figure(
            name=f"{scenario.name}: time to goal over ORCA's, mean",
            measured=own_s / orca_s,
            unit="",
            bar=str(_LONGER),
            held=bool(np.isfinite(own_s) and own_s <= _LONGER * orca_s),
            beside={
                "own s": own_s,
                "ORCA's s": orca_s,
                "own last s": max(np.inf if s is None else s for s in arrived_s),
                "ORCA's last s": max(np.inf if s is None else s for s in theirs["arrived_s"]),
            },
        ),
        Figure(
            name=f"{scenario.name}: a drone's tick, median",
            measured=tick_s,
            unit="s",
            beside={"ORCA, a step of an agent": theirs["step_s"]},
        ),
    ]


def _orca(scenario: Scenario) -> dict[str, Any]:
    if not PYTHON.exists():
        raise Skipped(f"{PYTHON} is not there (make bench installs it)")
    done = subprocess.run(
        [str(PYTHON), str(_PEER)],
        input=json.dumps(asdict(scenario)).encode(),
        capture_output=True,
        timeout=600.0,
        check=False,
    )
    if done.returncode:
        raise Skipped(f"no ORCA: {done.stderr[-200:].decode(errors='replace')}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _mean(arrived_s: list[float | None]) -> float:
    return float(np.mean([np.inf if s is None else s for s in arrived_s]))


def _snapped(points_N2: np.ndarray, cell_m: float) -> Points:
    """To the middle of cells, which is where the drones' planner leads."""
    return _points((np.floor(points_N2 / cell_m) + 0.5) * cell_m)


def _points(points_N2: np.ndarray) -> Points:
    return [(float(x), float(y)) for x, y in points_N2]
