"""The safety filter alone: a drone stops in time, and two that meet stay apart."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sextant.systems.swarm.agreement.neighbours import Neighbour, Promise
from sextant.systems.swarm.drone.obstacles import Obstacles
from sextant.systems.swarm.drone.promises import Promises
from sextant.systems.swarm.drone.safety import Bounds, Going, SafetyRule, nearest_allowed
from sextant.systems.swarm.drone.trim import Trim
from sextant.systems.swarm.world.body import Bodies, BodyRule
from sextant.systems.swarm.world.grid import Grid
from sextant.systems.swarm.world.rays import fan
from sextant.systems.swarm.world.sensors import Readings, SensorRule
from sextant.systems.swarm.world.world import World, WorldRule

RULE = SafetyRule()
TICK_S = 0.05


@given(speed=st.floats(0.0, 3.0))
@settings(max_examples=30, deadline=None)
def test_a_body_stops_within_the_stopping_distance(speed: float) -> None:
    body = BodyRule(wind_m_s=0.0)
    bodies = Bodies.at(np.zeros((1, 2)), [np.random.default_rng(0)])
    bodies.velocities_N2[0, 0] = speed
    going = np.array([[speed, 0.0]])
    bodies.step(going, body, RULE.react_s)
    for _ in range(40):
        bodies.step(np.zeros((1, 2)), body, TICK_S)
    assert bodies.positions_N2[0, 0] <= RULE.stopping_m(np.array([speed]))[0] + 1e-3


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_what_is_chosen_stops_before_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-3, 3, (12, 2))
    hulls = np.minimum(0.46, np.hypot(*points.T) - 1e-3)
    ways = fan(3, turn=rng.random())
    gaps = rng.random(3)
    bounds = Bounds(points_M2=points, hulls_M=hulls, ways_L2=ways, gaps_L=gaps, push_2=np.zeros(2))
    wanted = rng.uniform(-2, 2, 2)
    chosen = nearest_allowed(wanted, bounds, RULE)
    stop = RULE.stopping_m(np.hypot(*chosen)) * chosen / max(np.hypot(*chosen), 1e-9)
    for step in np.linspace(0.0, 1.0, 50):
        assert (np.hypot(*(points - step * stop).T) >= hulls - 1e-6).all()
    assert (ways @ stop <= gaps + 1e-6).all()


@given(seed=st.integers(0, 10_000), speed=st.floats(0.0, 3.0), near=st.floats(0.5, 1.6))
@settings(max_examples=80, deadline=None)
def test_a_swerve_that_is_allowed_ends_before_the_wall_in_any_wind(
    seed: int, speed: float, near: float
) -> None:
    """A turn at full speed takes from the brake what it needs to turn."""
    rng = np.random.default_rng(seed)
    points = np.stack([np.full(41, near), np.linspace(-4.0, 4.0, 41)], axis=-1)
    hulls = np.full(41, RULE.radius_m + RULE.margin_m + 0.06)
    none = np.empty((0, 2))
    bounds = Bounds(
        points_M2=points, hulls_M=hulls, ways_L2=none, gaps_L=np.empty(0), push_2=np.zeros(2)
    )
    velocity = speed * fan(1, turn=rng.uniform(-np.pi, np.pi))[0]
    going = Going(velocity_2=velocity, setpoint_2=velocity)
    setpoint = nearest_allowed(rng.uniform(-3, 3, 2), bounds, RULE, going=going)
    # Else it is too late for anything, and no earlier choice would have led here.
    assume(bounds.excess_m(setpoint[None], RULE, going)[0] <= 0)
    bodies = Bodies.at(np.zeros((1, 2)), [rng])
    bodies.velocities_N2[0] = velocity
    bodies.wind_N2 = np.array([[1.5, 0.0]])
    for tick in range(24):
        bodies.step(setpoint[None] if tick < 2 else np.zeros((1, 2)), BodyRule(), TICK_S)
        gap = near - bodies.positions_N2[0, 0]
        assert gap > RULE.radius_m


def test_without_bounds_the_wish_is_the_answer() -> None:
    none = np.empty((0, 2))
    free = Bounds(
        points_M2=none, hulls_M=np.empty(0), ways_L2=none, gaps_L=np.empty(0), push_2=np.zeros(2)
    )
    wanted = np.array([1.0, -2.0])
    np.testing.assert_array_equal(nearest_allowed(wanted, free, RULE), wanted)


def fly(world: World, goals: np.ndarray, seconds: float, *, words: bool, seed: int) -> None:
    """All drones want straight to their goals; 20% of the words are lost."""
    count, rng = len(goals), np.random.default_rng(seed)
    eyes = [Obstacles(RULE, world.rule.sensors) for _ in range(count)]
    heard: list[dict[int, Neighbour]] = [{} for _ in range(count)]
    promises = [Promises(RULE) for _ in range(count)]
    setpoints = np.zeros((count, 2))
    for _ in range(int(seconds / TICK_S)):
        seen = world.sense(range(count), frame=False)
        for i, reading in enumerate(seen):
            words_of = list(heard[i].values())
            eyes[i].take(reading, words_of)
            going = np.stack([reading.velocity_2, setpoints[i]])
            bounds = eyes[i].bounds(reading.position_2, going, words_of, reading.at_s)
            way = goals[i] - reading.position_2
            wanted = way / max(1.0, float(np.hypot(*way))) * RULE.speed_m_s
            setpoints[i] = nearest_allowed(
                wanted,
                bounds,
                RULE,
                going=Going(velocity_2=reading.velocity_2, setpoint_2=setpoints[i]),
                promised=promises[i].given(reading.at_s),
            )
        world.step(setpoints, TICK_S)
        for i, reading in enumerate(seen):
            flies = reading.velocity_2, setpoints[i], goals[i] - reading.position_2
            others = list(heard[i].values())
            given = promises[i].give(reading.at_s, reading.position_2, flies, others)
            for j in range(count):
                if words and i != j and rng.random() > 0.2:
                    heard[j][i] = Neighbour(
                        name=i,
                        at_s=reading.at_s,
                        position_2=reading.position_2,
                        velocity_2=reading.velocity_2,
                        promise=given,
                    )


def test_a_ring_of_drones_that_swap_places_never_touch() -> None:
    field = Grid(heights_RC=np.zeros((40, 40)), cell_m=1.0)
    angles = np.arange(8) * np.pi / 4
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    for seed in range(3):
        world = World(field, WorldRule(seed=seed), 20 + 8 * ring, np.empty((0, 2)))
        fly(world, 20 - 8 * ring, 12.0, words=True, seed=seed)
        assert not world.collisions
        assert world.least_gap_m > 2 * RULE.radius_m


def test_drones_among_walls_never_touch_them() -> None:
    rng = np.random.default_rng(5)
    heights = np.where(rng.random((30, 30)) < 0.15, np.inf, 0.0)
    grid = Grid(heights_RC=heights, cell_m=1.0)
    layer = grid.layer(1.5)
    rows, columns = np.nonzero(layer.clearance_RC > 1.3)
    picked = rng.permutation(len(rows))[::9][:6]
    starts = layer.centres(rows[picked], columns[picked])
    world = World(grid, WorldRule(seed=1), starts, np.empty((0, 2)))
    fly(world, rng.uniform(2, 28, (len(starts), 2)), 15.0, words=True, seed=1)
    assert not world.collisions


def test_thin_poles_are_seen_in_time() -> None:
    heights = np.zeros((200, 400))
    heights[95:105:3, 240] = np.inf
    grid = Grid(heights_RC=heights, cell_m=0.05)
    world = World(grid, WorldRule(seed=2), np.array([[2.0, 5.0]]), np.empty((0, 2)))
    fly(world, np.array([[18.0, 5.0]]), 8.0, words=False, seed=2)
    assert not world.collisions


@pytest.mark.parametrize("stood", [True, False])
def test_the_post_beside_a_drone_is_not_taken_for_it_if_it_stood_before(stood: bool) -> None:
    """A drone stands at the post of a door; past the post, away from the drone, is free."""
    eyes = Obstacles(RULE, SensorRule())
    other = Neighbour(name=1, at_s=2.0, position_2=np.array([0.8, -0.8]), velocity_2=np.zeros(2))
    count = SensorRule().rays
    angles = np.arctan2(*fan(count, 0.0).T[::-1])
    post_R = np.where(np.abs(angles - np.radians(-15)) < 0.1, 0.9, np.inf)
    drone_R = np.where(np.abs(angles - np.radians(-45)) < 0.2, 0.83, np.inf)
    for tick in range(41):
        now_s = 0.05 * tick
        seen_R = np.minimum(
            post_R if stood or tick == 40 else np.inf, drone_R if tick == 40 else np.inf
        )
        eyes.take(
            Readings(
                at_s=now_s,
                position_2=np.zeros(2),
                velocity_2=np.zeros(2),
                turn=0.0,
                ranges_R=seen_R * np.ones(count),
                patch_PP=None,
                battery=1.0,
            ),
            [other] if tick == 40 else [],
        )
    bounds = eyes.bounds(np.zeros(2), np.zeros((1, 2)), [other], 2.0)
    past_2 = 0.5 * np.array([np.cos(np.radians(60)), np.sin(np.radians(60))])
    assert (bounds.excess_m(past_2[None], RULE)[0] <= 0.0) is np.bool_(stood)


def test_an_old_word_is_heeded_as_far_as_its_speaker_may_have_come() -> None:
    eyes = Obstacles(RULE, SensorRule())
    word = Neighbour(
        name=1, at_s=0.0, position_2=np.array([4.0, 0.0]), velocity_2=np.array([-3.0, 0.0])
    )
    for at_s in (0.0, 0.3):
        eyes.take(
            Readings(
                at_s=at_s,
                position_2=np.zeros(2),
                velocity_2=np.zeros(2),
                turn=0.0,
                ranges_R=np.full(48, np.inf),
                patch_PP=None,
                battery=1.0,
            )
        )
    still = np.zeros((1, 2))
    early = eyes.bounds(np.zeros(2), still, [word], 0.0).gaps_L[0]
    late = eyes.bounds(np.zeros(2), still, [word], 0.3).gaps_L[0]
    assert late < early


def test_who_promised_to_come_is_feared_the_more_the_older_its_word() -> None:
    eyes, still = Obstacles(RULE, SensorRule()), np.zeros((1, 2))

    def gap_m(course: tuple[float, float], age_s: float) -> float:
        word = Neighbour(
            name=1,
            at_s=1.0 - age_s,
            position_2=np.array([4.0, 0.0]),
            velocity_2=np.array(course),
            promise=Promise(course=course, veer_m_s=0.5),
        )
        bounds = eyes.bounds(np.zeros(2), still, [word], 1.0)
        return float(np.hypot(*bounds.ways_L2[0]) * bounds.gaps_L[0])

    assert gap_m((-1.0, 0.0), 0.3) < gap_m((-1.0, 0.0), 0.0)
    assert gap_m((1.0, 0.0), 0.3) == gap_m((1.0, 0.0), 0.0)


def test_a_drone_that_must_stand_does_not_drift_through_its_margin() -> None:
    def drifted_m(trims: list[Trim] | None) -> float:
        world = World(
            Grid(heights_RC=np.zeros((40, 40)), cell_m=1.0),
            WorldRule(seed=3),
            np.array([[10.0 + 5.0 * i, 20.0] for i in range(4)]),
            np.empty((0, 2)),
        )
        for _ in range(300):
            flown = np.zeros((4, 2))
            for i, reading in enumerate(world.sense(range(4), frame=False) if trims else ()):
                flown[i] = trims[i].flown(flown[i], reading.velocity_2)
            world.step(flown, TICK_S)
        gone = world.bodies.positions_N2 - [[10.0 + 5.0 * i, 20.0] for i in range(4)]
        return float(np.hypot(*gone.T).max())

    trimmed_m = drifted_m([Trim(TICK_S) for _ in range(4)])
    assert trimmed_m < RULE.margin_m < drifted_m(None)
