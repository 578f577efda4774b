"""Who is asked, who else, and who is on probation: without a process, and with dice given."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.fleet import MemberSpec, MemberState
from sextant.fleet.replicas import ReplicaPolicy, Replicas, Standing
from sextant.fleet.seat import Seat

POLICY = ReplicaPolicy()


def replicas(*states: MemberState, seed: int = 1) -> Replicas:
    seats = []
    for number, state in enumerate(states):
        seat = Seat(MemberSpec(name=f"shard/0.{number}", factory="a:B"), "shard/0")
        seat.move(state)
        seats.append(seat)
    return Replicas(seats, random.Random(seed), POLICY)


UP, DOWN = MemberState.UP, MemberState.DOWN


def took(standing: Standing, seconds: float, times: int = 64) -> None:
    for _ in range(times):
        standing.took(seconds)


def test_a_member_with_one_replica_is_asked_there_and_never_hedged() -> None:
    alone = replicas(UP)
    took(alone.standings[0], 0.001)
    assert alone.first() is alone.standings[0]
    assert alone.hedge_after_s() == math.inf
    assert replicas(DOWN).first() is None


def test_the_less_loaded_of_two_is_asked() -> None:
    pair = replicas(UP, UP)
    pair.standings[0].in_flight = 2
    assert {pair.first() for _ in range(20)} == {pair.standings[1]}


def test_equals_share_the_work() -> None:
    pair = replicas(UP, UP)
    asked = [pair.first() for _ in range(400)]
    assert 120 < asked.count(pair.standings[0]) < 280


def test_of_many_two_are_drawn_so_that_the_emptiest_is_not_asked_by_everybody() -> None:
    many = replicas(*[UP] * 5)
    for number, standing in enumerate(many.standings):
        standing.in_flight = number
    asked = [many.first() for _ in range(1000)]
    shares = [asked.count(standing) / 1000 for standing in many.standings]
    # The k-th of n by load is the better of two drawn with probability 2 (n - k) / (n (n - 1)).
    assert shares == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.0], abs=0.06)


def test_only_those_that_serve_are_asked() -> None:
    pair = replicas(MemberState.WARMING, UP)
    assert pair.first() is pair.standings[1]
    assert pair.another([pair.standings[1]]) is None
    assert replicas(DOWN, MemberState.STOPPED).first() is None


def test_another_is_one_that_was_not_tried_those_on_probation_last() -> None:
    trio = replicas(UP, UP, UP)
    one, other, third = trio.standings
    other.suspend()
    assert trio.another([one]) is third
    assert trio.another([one, third]) is other
    assert trio.another([one, other, third]) is None


def test_a_request_is_late_at_the_quantile_of_what_its_member_took() -> None:
    pair = replicas(UP, UP)
    assert pair.hedge_after_s() == POLICY.unknown_s, "nothing is known yet"
    for standing in pair.standings:
        for step in range(60):
            standing.took(0.001 + 0.0001 * step)
    assert pair.hedge_after_s() == pytest.approx(0.001 + 0.0001 * 56)


def test_a_slow_replica_is_late_by_what_a_quick_one_takes() -> None:
    pair = replicas(UP, UP)
    took(pair.standings[0], 0.002)
    took(pair.standings[1], 0.050)
    assert pair.hedge_after_s() == pytest.approx(POLICY.alike_within * 0.002)


def lose(pair: Replicas, one: Standing, times: int) -> None:
    for _ in range(times):
        pair.raced(one, beaten=True)


def test_one_that_is_beaten_too_often_goes_on_probation_and_is_asked_no_more() -> None:
    pair = replicas(UP, UP)
    slow, quick = pair.standings
    lose(pair, slow, POLICY.beaten_of_16 - 1)
    assert not slow.on_probation
    lose(pair, slow, 1)
    assert slow.on_probation
    slow.in_flight, quick.in_flight = 0, 9
    assert {pair.first() for _ in range(20)} == {quick}


def test_being_late_now_and_then_is_no_cause() -> None:
    pair = replicas(UP, UP)
    one = pair.standings[0]
    for request in range(1000):
        pair.raced(one, beaten=request % 6 == 0)
        assert not one.on_probation


def test_the_last_that_is_well_stays_off_probation() -> None:
    pair = replicas(UP, UP)
    one, other = pair.standings
    lose(pair, one, 16)
    lose(pair, other, 16)
    assert one.on_probation
    assert not other.on_probation
    other.seat.move(DOWN)
    assert pair.first() is one, "better one on probation than none"


def test_one_on_probation_is_probed_now_and_then_and_comes_back_when_it_is_quick() -> None:
    pair = replicas(UP, UP)
    slow, quick = pair.standings
    took(quick, 0.002)
    assert pair.probe(0.0) is None
    lose(pair, slow, 16)
    assert pair.probe(10.0) is slow
    assert pair.probe(10.0 + 2 * POLICY.probe_every_s) is None, "one at a time"
    pair.probed(slow, 0.5)
    assert pair.probe(10.0 + POLICY.probe_every_s / 2) is None, "not too often"
    for turn in range(1, POLICY.good_probes + 1):
        assert slow.on_probation
        assert pair.probe(10.0 + turn * POLICY.probe_every_s) is slow
        pair.probed(slow, 0.003)
    assert not slow.on_probation
    pair.raced(slow, beaten=True)
    assert not slow.on_probation, "what it lost before is forgotten"


def test_a_bad_probe_or_a_lost_one_begins_the_count_again() -> None:
    pair = replicas(UP, UP)
    slow, quick = pair.standings
    took(quick, 0.002)
    lose(pair, slow, 16)
    for seconds in (0.003, 0.003, math.inf, 0.003, 0.003):
        pair.probed(slow, seconds)
        assert slow.on_probation
    pair.probed(slow, 0.003)
    assert not slow.on_probation


@given(
    st.lists(st.sampled_from(MemberState), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.floats(0, 1)), max_size=60),
)
def test_whatever_happened_somebody_who_serves_is_asked_if_there_is_one(
    states: list[MemberState], events: list[tuple[int, bool, float]]
) -> None:
    some = replicas(*states)
    for number, beaten, seconds in events:
        one = some.standings[number % len(states)]
        one.took(seconds)
        some.raced(one, beaten=beaten)
    first = some.first()
    assert (first is not None) == (UP in states)
    assert first is None or first.up
    assert some.hedge_after_s() >= 0.0
