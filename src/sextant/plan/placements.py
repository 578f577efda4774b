"""Where a swarm's decisions may be made: on board, at the edge, in the cloud."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.facts import Fact, Facts
from sextant.laws.control import max_safe_speed_m_per_s
from sextant.laws.outage import in_series
from sextant.plan.budget import LoopFacts, judge
from sextant.plan.part import exact
from sextant.plan.quantity import Quantity
from sextant.units import show_seconds
from sextant.workload import Agents

ARITHMETIC = "closed form"
FALANGA = "Falanga et al. 2019"
SAMPLING_SHARE = 0.9
"""An obstacle may appear just after a look: in 80% of cases between 0.1 and 0.9 periods before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """One place for the decision, with what it takes and what it risks."""

    name: str
    where: str
    round_trip_s: float
    round_trip_range: str
    latency_s: float
    low_latency_s: float
    high_latency_s: float
    left_s: float
    fits: bool
    viable: bool
    because: str
    single_points_of_failure: tuple[str, ...]
    """What this placement brings, whether or not it is viable."""
    max_safe_speed_m_per_s: float | None
    quantities: tuple[Quantity, ...]

    def room(self, period_s: float) -> Quantity:
        """What a round trip leaves for perception and planning together."""
        left = round(period_s - self.round_trip_s, 12)
        because = f"{show_seconds(period_s)} period - {show_seconds(self.round_trip_s)} round trip"
        return exact(
            f"{self.name}_perceive_and_plan_s",
            left,
            "s",
            f"{because} = {show_seconds(left)} for perception and planning",
            "the textbook's worked example: 50 ms - 8 ms = 42 ms",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trip:
    name: str
    where: str
    low_s: float
    value_s: float
    high_s: float
    failures: tuple[str, ...]
    chain: tuple[str, ...]
    """Facts whose availabilities stand in series."""


def find_placements(agents: Agents, period_s: float, facts: Facts) -> tuple[Placement, ...]:
    """Deciding on board, at the edge and in the cloud, in this order."""
    return tuple(_place(agents, period_s, trip, facts) for trip in _trips(agents, facts))


def choose(agents: Agents, placements: tuple[Placement, ...]) -> Placement:
    """The centre that the workload names, if it may decide; on board otherwise.

    This is the rule of the map: intelligence is spread when a centre cannot decide in time or its
    link may be gone for longer than agents may hold, or when they decide apart by their nature.
    """
    onboard, _, cloud = placements
    return cloud if cloud.viable and not agents.decide_apart else onboard


def _trips(agents: Agents, facts: Facts) -> tuple[_Trip, ...]:
    edge_row, cloud_row = facts.rows["edge_round_trip_s"], facts.rows["cloud_round_trip_s"]
    stated = agents.round_trip if "round_trip" in agents.model_fields_set else None
    edge = _range(agents.edge_round_trip, None, edge_row)
    cloud = _range(stated, agents.best_round_trip, cloud_row)
    alone = () if agents.count > 1 else ("the one agent",)
    return (
        _Trip(
            name="onboard",
            where="on board",
            low_s=0.0,
            value_s=0.0,
            high_s=0.0,
            failures=alone,
            chain=("drone_availability",),
        ),
        _Trip(
            name="edge",
            where="at an edge server",
            low_s=edge[0],
            value_s=edge[1],
            high_s=edge[2],
            failures=("the edge server", "the radio link to it"),
            chain=("drone_availability", "edge_server_availability", "radio_link_availability"),
        ),
        _Trip(
            name="cloud",
            where="in a cloud",
            low_s=cloud[0],
            value_s=cloud[1],
            high_s=cloud[2],
            failures=("the service in the cloud", "the radio link", "the path to the cloud"),
            chain=(
                "drone_availability",
                "cloud_region_availability",
                "radio_link_availability",
                "backhaul_availability",
            ),
        ),
    )


def _range(stated: float | None, best: float | None, row: Fact) -> tuple[float, float, float]:
    """Low, value and high of a round trip: as stated, or as facts have it."""
    if stated is None:
        low = row.low if best is None else min(best, row.value)
        return low, row.value, row.high
    return (stated if best is None else min(best, stated)), stated, stated


def _place(agents: Agents, period_s: float, trip: _Trip, facts: Facts) -> Placement:
    own = agents.perceive_time + agents.decide_time
    latency = own + trip.value_s
    answer = judge(_loop(agents, period_s, trip, facts))
    low, high = own + trip.low_s, own + trip.high_s
    speed = _speed(agents, latency)
    span = show_seconds(trip.value_s)
    if trip.low_s < trip.high_s:
        span = f"{show_seconds(trip.low_s)} to {show_seconds(trip.high_s)}"
    return Placement(
        name=trip.name,
        where=trip.where,
        round_trip_s=trip.value_s,
        round_trip_range=span,
        latency_s=latency,
        low_latency_s=low,
        high_latency_s=high,
        left_s=answer.left_s,
        fits=answer.fits,
        viable=answer.viable,
        because=answer.because,
        single_points_of_failure=trip.failures,
        max_safe_speed_m_per_s=speed,
        quantities=_quantities(agents, period_s, trip, latency, low, high, facts),
    )


def _loop(agents: Agents, period_s: float, trip: _Trip, facts: Facts) -> LoopFacts:
    outage = None
    if trip.name != "onboard":
        outage = agents.longest_outage
        if outage is None and agents.link_may_fail:
            outage = facts.value("assumed_outage_s")
    return LoopFacts(
        period_s=period_s,
        round_trip_s=trip.value_s,
        perceive_s=agents.perceive_time,
        decide_s=agents.decide_time,
        outage_s=outage,
        hold_s=agents.tolerable_hold or None,
    )


def _speed(agents: Agents, latency_s: float) -> float | None:
    if agents.sensing_range is None:
        return None
    return max_safe_speed_m_per_s(
        latency_s=latency_s,
        sensing_range_m=agents.sensing_range,
        radius_m=agents.radius,
        acceleration_m_per_s2=agents.acceleration,
    )


def _quantities(
    agents: Agents,
    period_s: float,
    trip: _Trip,
    latency: float,
    low: float,
    high: float,
    facts: Facts,
) -> tuple[Quantity, ...]:
    parts = f"{show_seconds(agents.perceive_time)} perceive + "
    if trip.value_s > 0.0:
        parts += f"{show_seconds(trip.value_s)} round trip + "
    parts += f"{show_seconds(agents.decide_time)} decide = {show_seconds(latency)}, {trip.where}"
    found = [
        Quantity(
            name=f"{trip.name}_latency_s",
            value=latency,
            unit="s",
            low=low,
            high=high,
            because=parts,
            source=ARITHMETIC,
        ),
        _availability(trip, facts),
    ]
    speed = _speed(agents, latency)
    slow, fast = _speed(agents, high + SAMPLING_SHARE * period_s), _speed(agents, low)
    if speed is not None and slow is not None and fast is not None:
        because = (
            f"{agents.sensing_range:g} m / ({show_seconds(latency)} + 2 sqrt({agents.radius:g} m / "
            f"{agents.acceleration:g} m/s2)) = {speed:.3g} m/s; {slow:.3g} m/s if an obstacle "
            "comes into view just after a look"
        )
        found.append(
            Quantity(
                name=f"{trip.name}_max_safe_speed_m_per_s",
                value=speed,
                unit="m/s",
                low=slow,
                high=fast,
                because=because,
                source=f"{FALANGA}, How Fast Is Too Fast?, IEEE RA-L 4(2)",
            )
        )
    return tuple(found)


def _availability(trip: _Trip, facts: Facts) -> Quantity:
    rows = [facts.rows[name] for name in trip.chain]
    because = " x ".join(f"{row.value:.4g} ({row.title})" for row in rows)
    return Quantity(
        name=f"{trip.name}_availability",
        value=in_series(*(row.value for row in rows)),
        unit="fraction",
        low=in_series(*(row.low for row in rows)),
        high=in_series(*(row.high for row in rows)),
        because=f"one drone is decided for: {because}",
        source="; ".join(dict.fromkeys(row.source for row in rows)),
    )
