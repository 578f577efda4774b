"""What a scan says of the cells of a map."""

import numpy as np

from sextant.systems.swarm.agreement.shared_map import SharedMap
from sextant.systems.swarm.drone.chart import FREE, HIT, scan
from sextant.systems.swarm.mission.places import chart_of
from sextant.systems.swarm.world.grid import Grid
from sextant.systems.swarm.world.world import World, WorldRule

ROOMS = ["###########", *["#....#....#"] * 3, "#.........#", *["#....#....#"] * 3, "###########"]


def test_rays_that_graze_shut_no_door_and_open_no_wall() -> None:
    heights = np.array([[np.inf if c == "#" else 0.0 for c in row] for row in ROOMS])
    grid = Grid(heights_RC=heights, cell_m=1.0)
    chart, taken_C = chart_of(grid), np.isinf(heights).ravel()
    for seed in range(4):
        for start in ((4.4, 1.6), (4.4, 7.4), (6.6, 1.5), (1.5, 2.0)):
            world = World(grid, WorldRule(seed=seed), np.array([start]), np.empty((0, 2)))
            shared = SharedMap(0, chart.num_cells)
            for _ in range(30):
                (readings,) = world.sense([0], frame=False)
                free, hit = scan(chart, readings, world.rule.sensors)
                shared.observe(free, hit, np.empty(0, np.int64))
                world.step(np.zeros((1, 2)), 0.05)
            assert not (taken_C & (shared.evidence_C <= FREE)).any()
            assert not (~taken_C & (shared.evidence_C >= HIT)).any()
            assert (shared.evidence_C <= FREE).sum() > 20
