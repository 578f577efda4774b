"""What a rehearsal of a swarm should measure on this machine, from unit costs of one mind.

Nothing here has seen the processes fly: inputs are the scaled shape, what a mind's stages take on a
bench stand, a hop of the wire, and the factors of facts. The names are those that it measures
under.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi

from sextant.axes import Axis
from sextant.facts import Facts
from sextant.laws.control import max_safe_speed_m_per_s
from sextant.laws.search import auction_s, queued_s, sweep_s
from sextant.plan.part import within
from sextant.plan.quantity import Lean, Quantity
from sextant.units import show_seconds

STAGE_AXES = {
    "perceive": Axis.INFERENCE,
    "map": Axis.INTELLIGENCE,
    "agree": Axis.COORDINATION,
    "plan": Axis.INTELLIGENCE,
    "control": Axis.INTELLIGENCE,
    "speak": Axis.COORDINATION,
}
_EARLY = ("perceive", "agree")
"""The first stages of each tick: on a stand, where little else keeps a core awake, they bear most
of what waking costs."""
_LAW = "unit costs of one mind, measured before the run"
_SEARCH = "laws/search.py"
_FALANGA = "laws/control.py: Falanga et al. 2019"


@dataclass(frozen=True, kw_only=True, slots=True)
class SwarmShape:
    """A scaled swarm: what flies, in plain numbers.

    Attributes:
        drones: a process each.
        cores: that they share.
        at_once: how many drones wake at the same time.
        period_s: of the control loop.
        area_m2: that can be reached.
        width_m: of the strip that a camera is sure of.
        speed_m_per_s: that a drone flies at most.
        word_ticks: from one word of a drone to its next, while nobody is near it.
        near_word_ticks: the same while somebody is.
        near_m: how near that is.
        belief_ticks: from one word with its bids to the next of these.
        plan_ticks: from one round of bidding to the next.
        start_gap_m: between the nearest two at the start.
        sensing_m: how far the range sensor sees.
        dodge_m: how far aside an obstacle on the way makes a drone go, at the least.
        acceleration_m_per_s2: of a drone that dodges.
    """

    drones: int
    cores: int
    at_once: int
    period_s: float
    area_m2: float
    width_m: float
    speed_m_per_s: float
    word_ticks: int
    near_word_ticks: int
    near_m: float
    belief_ticks: int
    plan_ticks: int
    start_gap_m: float
    sensing_m: float
    dodge_m: float
    acceleration_m_per_s2: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MindCosts:
    """What a mind takes on a bench stand: some of them, in one process, without a wire.

    Attributes:
        minds: on the stand.
        stages_s: the mean of each stage over all ticks.
        tick_p99_s: of the whole.
        word_bytes: the mean word.
        hop_s: a message from one process's wire to another's.
    """

    minds: int
    stages_s: Mapping[str, float]
    tick_p99_s: float
    word_bytes: float
    hop_s: float


def predict_swarm(
    shape: SwarmShape, cost: MindCosts, facts: Facts
) -> tuple[tuple[Quantity, ...], Lean]:
    """Every quantity that the rehearsal measures, with an 80% interval, and the lean."""
    factor, early = facts.value("flown_over_stand"), facts.value("early_over_stand")
    factors = {name: early if name in _EARLY else factor for name in cost.stages_s}
    stages = {name: seconds * factors[name] for name, seconds in cost.stages_s.items()}
    # On a bench stand there may be fewer to hear.
    stages["agree"] *= (shape.drones - 1) / (cost.minds - 1)
    tail_s = factor * cost.tick_p99_s
    times = [*_stages(stages, factors), *_loops(shape, stages, tail_s, cost, facts)]
    found = (*times, *_rates(shape, cost, facts), *_mission(shape, facts))
    return found, _lean(stages)


def _stages(stages: Mapping[str, float], factors: Mapping[str, float]) -> list[Quantity]:
    why = "mean of a tick on a bench stand, x {:g} for a process of its own"
    return [
        within(f"{name}_s", stages[name], "s", 1.35, why.format(factors[name]), _LAW)
        for name in ("perceive", "map", "agree", "plan", "control")
    ]


def _loops(
    shape: SwarmShape,
    stages: Mapping[str, float],
    tick_p99_s: float,
    cost: MindCosts,
    facts: Facts,
) -> list[Quantity]:
    """The median waits for half of the others on its core, the slow tail for all of them."""
    mean_s = sum(stages.values())
    shared = facts.value("loop_over_ticks")
    median_s = queued_s(mean_s, drones=shape.at_once, cores=shape.cores)
    others_s = mean_s * (max(1.0, shape.at_once / shape.cores) - 1.0)
    rows = (
        ("loop_p50_s", median_s, 1.35),
        ("loop_p99_s", tick_p99_s + others_s, 1.6),
    )
    return [
        within(
            name,
            shared * seconds + cost.hop_s,
            "s",
            spread,
            f"{shape.at_once} ticks of {show_seconds(mean_s)} at once on {shape.cores} cores, "
            f"x {shared:g} for the physics beside them, + a hop of {show_seconds(cost.hop_s)}",
            _LAW,
        )
        for name, seconds, spread in rows
    ]


def _rates(shape: SwarmShape, cost: MindCosts, facts: Facts) -> list[Quantity]:
    # Drones that are anywhere, each alike: how often at least one is near.
    far = max(0.0, 1.0 - pi * shape.near_m**2 / shape.area_m2) ** (shape.drones - 1)
    a_tick = far / shape.word_ticks + (1.0 - far) / shape.near_word_ticks
    words = a_tick / shape.period_s
    why = (
        f"a word every {shape.word_ticks} ticks of {show_seconds(shape.period_s)}, every "
        f"{shape.near_word_ticks} while another is within {shape.near_m:g} m"
    )
    sent = words * cost.word_bytes * facts.value("word_over_stand")
    return [
        within("words_per_s", words, "/s", 1.2, f"{why}, said by each drone", "arithmetic"),
        within(
            "words_bytes_per_s",
            sent,
            "B/s",
            1.35,
            f"{why}, {cost.word_bytes:,.0f} B on a bench stand among {cost.minds}, here among "
            f"{shape.drones}",
            _LAW,
        ),
    ]


def _mission(shape: SwarmShape, facts: Facts) -> list[Quantity]:
    efficiency = facts.value("search_efficiency")
    swept_s = sweep_s(
        0.95 * shape.area_m2,
        drones=shape.drones,
        width_m=shape.width_m,
        speed_m_per_s=shape.speed_m_per_s,
        efficiency=efficiency,
    )
    settled_s = auction_s(
        bid_s=shape.plan_ticks * shape.period_s,
        tell_s=shape.belief_ticks * shape.period_s,
        loss_probability=0.0,
    )
    # Half of a period until it is seen, one until the setpoint acts.
    latency_s = 1.5 * shape.period_s
    fastest = max_safe_speed_m_per_s(
        latency_s=latency_s,
        sensing_range_m=shape.sensing_m,
        radius_m=shape.dodge_m,
        acceleration_m_per_s2=shape.acceleration_m_per_s2,
    )
    swept = f"{shape.area_m2:,.0f} m2 by {shape.drones} strips of {shape.width_m:g} m"
    settles = "who is outbid bids again a round later, and tells"
    dodges = f"{shape.sensing_m:g} m / ({show_seconds(latency_s)} + 2 sqrt({shape.dodge_m:g} m / "
    dodges += f"{shape.acceleration_m_per_s2:g} m/s2))"
    apart = f"they start {shape.start_gap_m:.2f} m apart, and pass no nearer than they must"
    return [
        within("time_to_95_s", swept_s, "s", 1.4, f"{swept}, {efficiency:g} of it", _SEARCH),
        within("auction_settled_s", settled_s, "s", 1.5, settles, _SEARCH),
        within("max_safe_speed_m_per_s", fastest, "m/s", 1.25, dodges, _FALANGA),
        within("min_separation_m", shape.start_gap_m, "m", 1.25, apart, "arithmetic"),
    ]


def _lean(stages: Mapping[str, float]) -> Lean:
    busy: dict[Axis, float] = {}
    for name, axis in STAGE_AXES.items():
        busy[axis] = busy.get(axis, 0.0) + stages[name]
    whole = sum(busy.values())
    return Lean(busy={axis: value / whole for axis, value in busy.items()}, waiting={})
