"""What a rehearsal of a swarm stands on: its trials, its predictions, and what may be struck."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sextant.errors import InputError
from sextant.facts import Facts
from sextant.fleet.fault import Fault
from sextant.laws.control import max_safe_speed_m_per_s
from sextant.plan.swarm_rehearsal import MindCosts, SwarmShape, predict_swarm
from sextant.systems.swarm.drill import check_faults
from sextant.systems.swarm.trials import (
    Dodge,
    Settling,
    collisions_at,
    largest_safe_m_s,
    settled_s,
)

DODGE = Dodge(period_s=0.05, sensing_m=8.0, radius_m=0.3, acceleration_m_s2=20.0)
SHAPE = SwarmShape(
    drones=4,
    cores=2,
    at_once=4,
    period_s=0.05,
    area_m2=900.0,
    width_m=4.5,
    speed_m_per_s=3.0,
    word_ticks=4,
    near_word_ticks=2,
    near_m=0.0,
    belief_ticks=8,
    plan_ticks=8,
    start_gap_m=1.4,
    sensing_m=8.0,
    dodge_m=0.9,
    acceleration_m_per_s2=20.0,
)
COSTS = MindCosts(
    minds=2,
    stages_s=dict.fromkeys(("perceive", "map", "agree", "plan", "control", "speak"), 1e-3),
    tick_p99_s=9e-3,
    word_bytes=600.0,
    hop_s=2e-4,
)


def test_below_falanga_s_bound_nothing_is_hit_and_well_above_it_is() -> None:
    bound_m_s = max_safe_speed_m_per_s(
        latency_s=1.5 * DODGE.period_s,
        sensing_range_m=DODGE.sensing_m,
        radius_m=DODGE.least_m,
        acceleration_m_per_s2=DODGE.acceleration_m_s2,
    )
    assert collisions_at(0.75 * bound_m_s, DODGE, 2) == 0
    assert collisions_at(1.5 * bound_m_s, DODGE, 2) == 2


def test_the_largest_safe_speed_is_below_the_first_that_hits() -> None:
    assert largest_safe_m_s([(2.0, 0), (3.0, 0), (4.0, 1), (5.0, 0)]) == 3.0
    assert largest_safe_m_s([(2.0, 5)]) == 0.0


def test_an_auction_settles_later_where_words_are_lost() -> None:
    rule = Settling(drones=4, tasks=12, period_s=0.05, bid_ticks=8, tell_ticks=4, side_m=30.0)
    lossy = Settling(
        drones=4,
        tasks=12,
        period_s=0.05,
        bid_ticks=8,
        tell_ticks=4,
        side_m=30.0,
        loss_probability=0.6,
    )
    clean_s = [settled_s(rule, seed) for seed in range(5)]
    assert clean_s == [settled_s(rule, seed) for seed in range(5)]
    assert max(clean_s) < 20.0
    assert sum(settled_s(lossy, seed) for seed in range(5)) > sum(clean_s)


def test_predictions_are_enough_and_follow_the_shape(facts: Facts) -> None:
    found, lean = predict_swarm(SHAPE, COSTS, facts)
    rows = {quantity.name: quantity for quantity in found}
    assert len(rows) >= 8
    assert sum(quantity.unit in ("s", "/s", "B/s", "m/s") for quantity in found) >= 4
    assert all(quantity.low < quantity.value < quantity.high for quantity in found)
    assert rows["words_per_s"].value == pytest.approx(5.0)
    close = {q.name: q for q in predict_swarm(replace(SHAPE, near_m=30.0), COSTS, facts)[0]}
    assert close["words_per_s"].value == pytest.approx(10.0)
    assert rows["agree_s"].value == pytest.approx(3.0 * rows["perceive_s"].value)
    assert sum(lean.busy.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text", ["kill:drone/4@1s", "stop:drone/1@1s", "kill:launcher@step=3", "kill:shard/1@1s"]
)
def test_a_fault_that_no_flight_can_have_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        check_faults([Fault.parse(text)], 4)


def test_faults_of_all_processes_are_known() -> None:
    check_faults([Fault.parse(f"kill:{one}@1s") for one in ("drone/3", "launcher", "brain")], 4)
