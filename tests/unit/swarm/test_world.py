"""The physics: maps, rays, bodies, sensors, and that it is the same again under a seed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sextant.errors import InputError
from sextant.systems.swarm.world.body import BodyRule
from sextant.systems.swarm.world.grid import ROOT_2, Grid
from sextant.systems.swarm.world.ground import CameraRule, Ground, texture
from sextant.systems.swarm.world.maps import read_map
from sextant.systems.swarm.world.rays import cast, fan
from sextant.systems.swarm.world.sensors import SensorRule
from sextant.systems.swarm.world.world import World, WorldRule

ROOM = ["#########", "#.......#", "#..##...#", "#.......#", "#########"]


def grid(rows: list[str] = ROOM, cell_m: float = 1.0) -> Grid:
    heights = np.array([[np.inf if c == "#" else 0.0 for c in row] for row in rows[::-1]])
    return Grid(heights_RC=heights, cell_m=cell_m)


def slow_cast(layer, start, way, reach: float) -> float:
    for far in np.arange(0.0, reach, 1e-3):
        if layer.is_blocked(start + far * way):
            return float(far)
    return float("inf")


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_rays_end_where_small_steps_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heights = np.where(rng.random((12, 9)) < 0.2, np.inf, 0.0)
    layer = Grid(heights_RC=heights, cell_m=0.5, origin_m=(-1.0, 2.0)).layer(1.0)
    start = np.array([-1.0, 2.0]) + rng.random(2) * [4.5, 6.0]
    ways = fan(16)
    ranges = cast(layer, np.broadcast_to(start, (16, 2)), ways, 3.0)
    for found, way in zip(ranges, ways, strict=True):
        slow = slow_cast(layer, start, way, 3.0)
        # Small steps may miss a corner that the ray clips by less than a step.
        assert found <= slow + 1e-6
        if np.isfinite(found):
            assert layer.is_blocked(start + (found + 1e-6) * way)
            assert found >= slow - 2e-3 or slow_cast(layer, start, way, found - 2e-3) == np.inf


def test_a_ray_along_a_border_between_cells_ends() -> None:
    # Straight up by the cosine of a right angle, which is not quite 0.
    ways = fan(4)[[1, 3]]
    assert (ways[:, 0] != 0.0).all()
    starts = np.array([[2.0, 1.5], [7.0, 3.5]])
    np.testing.assert_allclose(cast(grid().layer(1.0), starts, ways, 9.0), 2.5, atol=1e-6)


@given(x=st.floats(0.1, 8.9), y=st.floats(0.1, 4.9))
@settings(max_examples=60, deadline=None)
def test_clearance_never_promises_too_much(x: float, y: float) -> None:
    layer = grid().layer(1.0)
    point = np.array([x, y])
    row, column = layer.cells(point)
    promised = layer.clearance_RC[row, column] - ROOT_2 * layer.cell_m
    assert promised <= layer.distance(point, 20.0) + 1e-9


def test_distance_is_to_the_square_and_not_its_middle() -> None:
    layer = grid().layer(1.0)
    assert layer.distance(np.array([1.25, 1.5]), 1.0) == pytest.approx(0.25)
    assert layer.distance(np.array([2.6, 3.3]), 1.0) == pytest.approx(np.hypot(0.4, 0.3))
    assert layer.distance(np.array([2.9, 1.5]), 0.1) == np.inf


def test_a_body_reaches_its_speed_and_breaks_no_limit() -> None:
    rule = BodyRule(wind_m_s=0.0)
    world = World(
        grid(["." * 60] * 9), WorldRule(body=rule), np.array([[3.0, 4.0]]), np.empty((0, 2))
    )
    speeds = [0.0]
    for _ in range(40):
        world.step(np.array([[9.0, 0.0]]), 0.05)
        speeds.append(float(world.bodies.velocities_N2[0, 0]))
    assert speeds[-1] == pytest.approx(rule.speed_m_s, rel=1e-3)
    assert np.diff(speeds).max() <= rule.acceleration_m_s2 * 0.05 + 1e-9
    assert max(speeds) <= rule.speed_m_s + 1e-9


def test_walls_and_neighbours_are_hit_once_a_touch() -> None:
    rule = WorldRule(body=BodyRule(wind_m_s=0.0))
    world = World(grid(), rule, np.array([[1.5, 1.5], [6.5, 1.5]]), np.empty((0, 2)))
    for _ in range(60):
        world.step(np.array([[1.0, 0.0], [-1.0, 0.0]]), 0.05)
    assert [(c.drone, c.other) for c in world.collisions] == [(0, 1)]
    assert world.least_gap_m < 0.6
    world.land(1)
    for _ in range(120):
        world.step(np.array([[-1.0, 0.0], [0.0, 0.0]]), 0.05)
    assert [(c.drone, c.other) for c in world.collisions] == [(0, 1), (0, None)]


def flight(seed: int) -> np.ndarray:
    world = World(
        grid(), WorldRule(seed=seed), np.array([[2.5, 1.5], [6.5, 3.5]]), np.empty((0, 2))
    )
    seen = []
    for _ in range(20):
        world.step(np.array([[0.5, 0.0], [0.0, -0.3]]), 0.05)
        for reading in world.sense([0, 1]):
            seen += [*reading.position_2, *reading.ranges_R, reading.patch_PP.sum()]
    return np.array(seen)


def test_the_same_seed_flies_the_same_flight() -> None:
    np.testing.assert_array_equal(flight(3), flight(3))
    assert not np.array_equal(flight(3), flight(4), equal_nan=True)


def test_what_one_drone_senses_does_not_depend_on_whether_another_did() -> None:
    def second(ask_first: bool) -> np.ndarray:
        world = World(grid(), WorldRule(), np.array([[2.5, 1.5], [6.5, 3.5]]), np.empty((0, 2)))
        world.step(np.zeros((2, 2)), 0.05)
        if ask_first:
            world.sense([0])
        return world.sense([1])[0].ranges_R

    np.testing.assert_array_equal(second(True), second(False))


def test_errors_of_the_sensors_are_bounded_as_stated() -> None:
    rule = WorldRule(sensors=SensorRule(drift_s=0.5))
    world = World(grid(), rule, np.array([[4.5, 1.5]]), np.empty((0, 2)))
    errors, dropped = [], []
    for _ in range(400):
        world.step(np.zeros((1, 2)), 0.05)
        world.bodies.positions_N2[:] = [4.5, 1.5]
        (reading,) = world.sense([0], frame=False)
        errors.append(np.abs(reading.position_2 - [4.5, 1.5]).max())
        dropped.append(np.isnan(reading.ranges_R).mean())
    assert 0.05 < max(errors) <= rule.sensors.position_error_m
    assert 0.01 < np.mean(dropped) < 0.03


def test_a_target_stands_out_where_it_lies() -> None:
    stream = np.random.default_rng(0)
    rule = CameraRule(contrast=6.0)
    ground = Ground(rule, texture(stream), np.array([[11.0, 9.5]]))
    patch = ground.patch(np.array([10.0, 10.0]), stream)
    without = Ground(rule, ground._tile, np.empty((0, 2))).patch(np.array([10.0, 10.0]), stream)
    row, column = np.unravel_index((patch - without).argmax(), patch.shape)
    x = 10.0 + (column - 15.5) * rule.pixel_m
    y = 10.0 + (row - 15.5) * rule.pixel_m
    assert np.hypot(x - 11.0, y - 9.5) < 0.5


def test_moving_ai_maps(tmp_path: Path) -> None:
    path = tmp_path / "m.map"
    path.write_text("type octile\nheight 2\nwidth 3\nmap\n.T@\n...\n")
    read = read_map(path, cell_m=0.5)
    assert read.size_m == (1.5, 1.0)
    assert read.layer(1.5).blocked_RC.tolist() == [[False] * 3, [False, True, True]]
    assert read.layer(5.0).blocked_RC.tolist() == [[False] * 3, [False, False, True]]


def test_ros_maps_and_their_unknown_cells(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 205, 254], [254, 254, 254]], np.uint8)).save(tmp_path / "m.pgm")
    (tmp_path / "m.yaml").write_text(
        "image: old_name.pgm\nresolution: 0.05\norigin: [-1.0, -2.0, 0.0]\nnegate: 0\n"
        "occupied_thresh: 0.65\nfree_thresh: 0.196\n"
    )
    read = read_map(tmp_path / "m.yaml")
    assert read.layer(1.0).blocked_RC.tolist() == [[False] * 3, [True, True, False]]
    assert read.origin_m == (-1.0, -2.0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.map", "type octile\nheight 2\nwidth 3\nmap\n...\n", "1 rows, not 2"),
        ("a.map", "type octile\nheight 1\nwidth 3\nmap\n..\n", "2 columns, not 3"),
        ("a.map", "type octile\nheight 1\nwidth 3\nmap\n..x\n", "no kind of cell"),
        ("a.map", "\0\1\2", "not a MovingAI map"),
        ("a.map", "\xff\xfe", "a binary file"),
        ("a.map", "", "an empty file"),
        ("a.map", "type octile\nheight 9999999\nwidth 9999999\nmap\n", "cells"),
        ("a.yaml", "image: [", "not YAML"),
        ("a.yaml", "- 1", "not a map_server file"),
        ("a.yaml", "image: no.pgm\nresolution: 0.05\norigin: [0, 0, 0]", "no readable image"),
        ("a.yaml", "image: no.pgm\nresolution: -1\norigin: [0, 0, 0]", "in metres"),
        ("a.txt", "", "not a map"),
    ],
)
def test_maps_that_do_not_parse(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_map(tmp_path / name)


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ([[0.5, 0.5]], "inside a wall"),
        ([[1.2, 1.5]], "inside a wall"),
        ([[2.5, 1.5], [2.9, 1.5]], "near"),
    ],
)
def test_bad_starts(starts: list[list[float]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        World(grid(), WorldRule(), np.array(starts), np.empty((0, 2)))
