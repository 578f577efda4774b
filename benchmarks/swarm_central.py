"""A chief for comparison: one map that every drone's sensors write at once, and one assignment.

It hears everything without loss or delay, and gives each drone the task that makes the sum of all
ways the shortest (Kuhn 1955). The drones fly, and keep clear of each other, as they always do.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from sextant.systems.swarm.agreement.shared_map import SharedMap
from sextant.systems.swarm.drone.pilot import Pilot
from sextant.systems.swarm.drone.planner import Planner, Ways
from sextant.systems.swarm.mission.stepped import Mission, MissionRule
from sextant.systems.swarm.world.grid import Grid
from sextant.systems.swarm.world.sensors import Readings

_FAR_M = 1e4


class Chief:
    """The one map, and where each drone could fly over it."""

    def __init__(self, num_cells: int) -> None:
        self.shared = SharedMap(0, num_cells)
        self._ways: dict[int, Ways] = {}

    def task(self, name: int, ways: Ways, cells: dict[int, int]) -> int | None:
        """The task of one drone, when all tasks are given out to all drones anew."""
        self._ways[name] = ways
        if not cells:
            return None
        names, tasks = sorted(self._ways), sorted(cells)
        goals = [cells[task] for task in tasks]
        metres_NT = np.array([self._ways[n].metres_C[goals] for n in names])
        # Where there are fewer tasks than drones, several share one rather than stand about.
        metres_NT = np.tile(np.minimum(metres_NT, _FAR_M), -(-len(names) // len(tasks)))
        rows, columns = linear_sum_assignment(metres_NT)
        column = int(columns[rows.tolist().index(names.index(name))])
        return tasks[column % len(tasks)]


class Led(Pilot):
    """A drone that does what the chief says."""

    def obey(self, chief: Chief) -> None:
        """From now on."""
        rule = self.rule
        self.shared, self._chief = chief.shared, chief
        clearance_m = rule.safety.radius_m + rule.safety.margin_m
        self._planner = Planner(rule.chart, chief.shared, clearance_m)

    def _choose(self, readings: Readings) -> None:
        assert self._ways is not None
        task = self._chief.task(self.rule.name, self._ways, self._cells)
        self._turn_home(readings)
        self._goal = None if task is None else self._cells[task]


class LedMission(Mission):
    """A mission with a chief."""

    def __init__(self, grid: Grid, rule: MissionRule) -> None:
        super().__init__(grid, rule)
        chief = Chief(self.chart.num_cells)
        led = [Led(pilot.rule) for pilot in self.pilots]
        for pilot in led:
            pilot.obey(chief)
        self.pilots = list[Pilot](led)
