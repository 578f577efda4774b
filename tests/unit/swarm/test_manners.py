"""Right of way: a total order, going aside, and promised disks of velocities."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.systems.swarm.agreement.neighbours import PROMISE_S, Neighbour, Promise
from sextant.systems.swarm.agreement.shared_map import SharedMap
from sextant.systems.swarm.drone.chart import Chart
from sextant.systems.swarm.drone.manners import Manners
from sextant.systems.swarm.drone.planner import Planner
from sextant.systems.swarm.drone.promises import Promises
from sextant.systems.swarm.drone.safety import Bounds, SafetyRule, kept, nearest_allowed
from sextant.systems.swarm.world.rays import fan

RULE = SafetyRule()
CHART = Chart(rows=3, columns=12, cell_m=1.0, origin_m=(0.0, 0.0))
AT = np.array([5.5, 0.5])
WAY = ((6.5, 0.5), (5.5, 0.5), (4.5, 0.5))


def asker(name: int) -> Neighbour:
    """A drone to the east that wants to pass to the west."""
    return Neighbour(
        name=name,
        at_s=0.0,
        position_2=np.array([7.5, 0.5]),
        velocity_2=np.zeros(2),
        rank=float(name),
        way_2=WAY,
    )


def corridor(*bays: int) -> Planner:
    """A corridor of one row, with bays on its north side."""
    shared = SharedMap(0, CHART.num_cells)
    free = [*range(12), *(12 + bay for bay in bays)]
    walls = sorted(set(range(36)) - set(free))
    for _ in range(3):
        shared.observe(np.array(free), np.array(walls), np.empty(0, np.int64))
    return Planner(CHART, shared, 0.4)


def test_the_lower_in_rank_goes_aside_into_a_bay_and_inherits_the_rank() -> None:
    ways = corridor(3).ways(AT, np.empty((0, 2)), 0.5)
    manners = Manners(2, CHART, 0.95)
    standing = manners.settle(0.0, AT, None, ways, [asker(1)])
    assert standing.aside is not None
    assert np.hypot(*(CHART.centres(np.array(standing.aside)) - np.array(WAY)).T).min() >= 0.95
    assert 1.0 < standing.rank < 2.0


def test_who_stands_at_the_post_of_a_way_goes_well_aside() -> None:
    shared = SharedMap(0, CHART.num_cells)
    shared.observe(np.arange(36), np.empty(0, np.int64), np.empty(0, np.int64))
    at = np.array([5.5, 1.5])
    ways = Planner(CHART, shared, 0.4).ways(at, np.empty((0, 2)), 0.5)
    aside = Manners(2, CHART, 0.95).settle(0.0, at, None, ways, [asker(1)]).aside
    assert aside is not None
    assert np.hypot(*(CHART.centres(np.array(aside)) - np.array(WAY)).T).min() >= 1.4


def test_who_only_helps_lets_pass_who_has_work() -> None:
    ways = corridor(3).ways(AT, np.empty((0, 2)), 0.5)
    manners = Manners(0, CHART, 0.95)
    assert manners.settle(0.0, AT, None, ways, [asker(1)], helps=True).aside is not None


def test_the_higher_in_rank_stays() -> None:
    ways = corridor(3).ways(AT, np.empty((0, 2)), 0.5)
    standing = Manners(0, CHART, 0.95).settle(0.0, AT, None, ways, [asker(1)])
    assert standing.aside is None
    assert standing.rank == 0.0


def test_a_place_aside_that_can_no_longer_be_reached_is_given_up() -> None:
    manners = Manners(2, CHART, 0.95)
    standing = manners.settle(
        0.0, AT, None, corridor(3).ways(AT, np.empty((0, 2)), 0.5), [asker(1)]
    )
    assert standing.aside is not None
    closed = corridor().ways(AT, np.empty((0, 2)), 0.5)
    closed.metres_C[standing.aside] = np.inf
    assert manners.settle(0.4, AT, None, closed, []).aside is None


@pytest.mark.parametrize(
    ("rank", "heeded"), [(1.0, True), (1.001, True), (1.004, False), (2.001, False)]
)
def test_a_rank_that_was_lent_to_and_fro_is_not_heeded(rank: float, heeded: bool) -> None:
    """Among three no two lend it on; and nobody heeds the rank that was its own."""
    ways = corridor(3).ways(AT, np.empty((0, 2)), 0.5)
    far = replace(asker(0), position_2=np.array([0.5, 0.5]), way_2=())
    others = [far, replace(asker(1), rank=rank)]
    manners = Manners(2, CHART, 0.95)
    manners.settle(0.0, AT, 0, ways, [])
    # It has waited long, so all others may pass.
    manners.settle(5.0, AT, 0, ways, [])
    assert manners.settle(5.2, AT, 0, ways, []).rank == 1002.0
    assert (manners.settle(5.4, AT, 0, ways, others).aside is not None) is heeded


def test_who_has_waited_long_takes_the_last_place() -> None:
    ways = corridor(3).ways(AT, np.empty((0, 2)), 0.5)
    manners = Manners(0, CHART, 0.95)
    standings = [manners.settle(t * 0.4, AT, 0, ways, []) for t in range(14)]
    assert not standings[0].blocked
    assert any(s.blocked for s in standings)
    assert max(s.rank for s in standings) >= 1000.0


def in_promise(promise: Promise, velocity: np.ndarray) -> bool:
    """Whether it is a part of a velocity in the disk, by trying many."""
    course = np.array(promise.course)
    if np.hypot(*velocity) < 1e-6:
        return True
    longer = velocity * np.linspace(1.0, 6.0 / np.hypot(*velocity), 4001)[:, None]
    return bool(np.hypot(*(longer - course).T).min() <= promise.veer_m_s + 2e-3)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_a_drone_keeps_to_every_promise_that_still_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    none = np.empty((0, 2))
    free = Bounds(
        points_M2=none, hulls_M=np.empty(0), ways_L2=none, gaps_L=np.empty(0), push_2=np.zeros(2)
    )
    promises = Promises(RULE)
    given_at: list[tuple[float, Promise]] = []
    velocity, moves = np.zeros(2), 0.0
    for tick in range(16):
        now_s = 0.05 * tick
        wish = rng.uniform(-3.0, 3.0, 2)
        promised = promises.given(now_s)
        setpoint = nearest_allowed(wish, free, RULE, promised=promised)
        binding = [p for at, p in given_at if now_s < at + PROMISE_S - 1e-6]
        assert all(in_promise(p, setpoint) for p in binding)
        velocity = velocity + 0.3 * (setpoint - velocity)
        assert all(in_promise(p, velocity) for p in binding)
        moves += float(np.hypot(*velocity))
        other = Neighbour(
            name=1, at_s=now_s, position_2=rng.uniform(-4.0, 4.0, 2), velocity_2=np.zeros(2)
        )
        promise = promises.give(now_s, np.zeros(2), (velocity, setpoint, wish), [other])
        assert in_promise(promise, velocity)
        assert in_promise(promise, setpoint)
        given_at.append((now_s, promise))
    assert moves > 0.5


@given(
    seed=st.integers(0, 10_000),
    course=st.tuples(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0)),
    veer=st.floats(0.0, 1.5),
)
@settings(max_examples=100, deadline=None)
def test_who_keeps_a_promise_comes_no_nearer_than_is_feared(
    seed: int, course: tuple[float, float], veer: float
) -> None:
    rng = np.random.default_rng(seed)
    promise = Promise(course=course, veer_m_s=veer)
    inside = np.array(course) + veer * np.sqrt(rng.random((200, 1))) * fan(200)
    flown = inside * np.where(rng.random((200, 1)) < 0.5, 1.0, rng.random((200, 1)))
    assert kept(flown, [promise]).all()
    flown = flown[np.hypot(*flown.T) <= RULE.speed_m_s]
    ways = fan(12, turn=rng.random())
    feared = RULE.reach_m(np.tile(course, (12, 1)), np.full(12, veer), ways)
    assert (RULE.extents_m(flown, ways).max(axis=0, initial=0.0) <= feared + 1e-9).all()


def test_who_flies_away_or_beside_is_hardly_feared() -> None:
    courses, veers = np.tile([2.0, 0.0], (3, 1)), np.full(3, 0.4)
    ahead, beside, behind = RULE.reach_m(courses, veers, np.array([[1, 0], [0, 1], [-1, 0.0]]))
    assert behind == 0.0
    assert beside < 0.2 * ahead
    outside = np.array([[0.0, 1.0], [-0.5, 0.0], [2.5, 0.0], [2.0, 0.5]])
    assert not kept(outside, [Promise(course=(2.0, 0.0), veer_m_s=0.4)]).any()


@given(
    gap=st.floats(0.0, 4.0),
    one=st.floats(0.0, 1.2),
    two=st.floats(0.0, 1.2),
    spare=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
)
@settings(max_examples=300, deadline=None)
def test_the_rule_of_the_gap_keeps_two_apart(
    gap: float, one: float, two: float, spare: tuple[float, float]
) -> None:
    """Whatever each chooses, as long as the sum of what is left to stop was within the gap."""
    if one + two > gap:
        return
    bounds = one + spare[0], two + spare[1]  # what the other believes of it, at least what is so

    def most(own: float, believed: float) -> float:
        return own if own + believed > gap else 0.5 * (gap + own - believed)

    assert max(one, most(one, bounds[1])) + max(two, most(two, bounds[0])) <= gap + 1e-9


def test_the_rule_is_the_one_of_the_proof() -> None:
    from sextant.systems.swarm.drone.obstacles import Obstacles
    from sextant.systems.swarm.world.sensors import SensorRule

    eyes = Obstacles(RULE, SensorRule())
    word = Neighbour(
        name=1,
        at_s=0.0,
        position_2=np.array([4.0, 0.0]),
        velocity_2=np.zeros(2),
        promise=Promise(veer_m_s=1.0),
    )
    going = np.array([[1.0, 0.0]])
    bounds = eyes.bounds(np.zeros(2), going, [word], 0.0)
    gap = 4.0 - 2.0 * (0.4 + SensorRule().position_error_m)
    stop = float(RULE.stopping_m(np.array(1.0)))
    assert bounds.gaps_L[0] == pytest.approx(0.5 * (gap + stop - stop))
    assert bounds.over_m == pytest.approx(2 * stop - gap)
