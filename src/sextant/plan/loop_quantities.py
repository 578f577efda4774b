"""What a swarm's control loop comes to: what is left of the period, and the messages in it."""

from __future__ import annotations

from collections.abc import Iterator

from sextant.facts import Facts
from sextant.plan.part import exact
from sextant.plan.placements import ARITHMETIC, Placement
from sextant.plan.quantity import Quantity
from sextant.units import show, show_count, show_seconds
from sextant.workload import Agents


def loop_quantities(
    agents: Agents,
    period: float,
    facts: Facts,
    placements: tuple[Placement, ...],
    chosen: Placement,
) -> Iterator[Quantity]:
    """All quantities of the swarm's part."""
    yield from _budget_quantities(agents, period, placements, chosen)
    for placement in placements:
        yield from placement.quantities
    yield from _messages(agents, period, facts)


def _budget_quantities(
    agents: Agents, period: float, placements: tuple[Placement, ...], chosen: Placement
) -> Iterator[Quantity]:
    own = (
        f"{show_seconds(agents.perceive_time)} perceive - {show_seconds(agents.decide_time)} decide"
    )
    trip = f" - {show_seconds(chosen.round_trip_s)} round trip" if chosen.round_trip_s else ""
    because = f"{show_seconds(period)} period - {own}{trip} = {show_seconds(chosen.left_s)}"
    yield Quantity(
        name="control_budget_left_s",
        value=chosen.left_s,
        unit="s",
        low=min(chosen.left_s, period - chosen.high_latency_s),
        high=max(chosen.left_s, period - chosen.low_latency_s),
        because=f"{because}, deciding {chosen.where}",
        source=ARITHMETIC,
    )
    left = round(period - agents.perceive_time - agents.decide_time, 12)
    yield exact(
        "break_even_round_trip_s",
        left,
        "s",
        f"{show_seconds(period)} period - {own} = {show_seconds(left)}: a centre farther away "
        "cannot decide",
        ARITHMETIC,
    )
    for placement in placements:
        if placement.round_trip_s > 0.0:
            yield placement.room(period)
    share = (agents.perceive_time + agents.decide_time) / period
    because = f"({show_seconds(agents.perceive_time)} + {show_seconds(agents.decide_time)}) of "
    because += f"every {show_seconds(period)}"
    yield exact("compute_share", share, "fraction", because, ARITHMETIC)


def _messages(agents: Agents, period: float, facts: Facts) -> Iterator[Quantity]:
    peers = agents.count - 1
    rate = peers / period
    because = f"{peers} peers, one message each every {show_seconds(period)}"
    yield exact("messages_per_s", rate, "/s", f"{because}: {show_count(rate)}/s", ARITHMETIC)
    volume = rate * agents.message_bytes
    because = f"{show_count(rate)} messages/s x {show(agents.message_bytes, 'B')}, taken in by each"
    yield exact("bytes_per_s", volume, "B/s", because, ARITHMETIC)
    handling = facts.rows["swarm_message_handling_s"]
    because = f"{show_count(rate)} messages/s x {show_seconds(handling.value)} of processor time"
    yield Quantity(
        name="message_load",
        value=rate * handling.value,
        unit="cores",
        low=rate * handling.low,
        high=rate * handling.high,
        because=because,
        source=handling.source,
    )
