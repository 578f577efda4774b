"""May a centre decide? What is left of the control period, and what failure comes back with it."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.facts import Facts
from sextant.laws.control import break_even_round_trip_s, left_s
from sextant.laws.outage import all_down_probability, in_series
from sextant.units import show_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopFacts:
    """One control loop, in seconds; `outage_s` is None where nothing is known of the link."""

    period_s: float
    round_trip_s: float
    perceive_s: float = 0.0
    decide_s: float = 0.0
    outage_s: float | None = None
    hold_s: float | None = None
    """How long agents may safely go on without a decision; one period unless stated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetAnswer:
    """Whether a centre may decide, with the reasons."""

    left_s: float
    viable: bool
    """The loop closes in time through the centre, and the link's outages can be held through."""
    fits: bool
    """The loop closes in time through the centre."""
    held: bool
    """The longest outage is no longer than agents may hold (or is not known)."""
    break_even_round_trip_s: float
    single_points_of_failure: tuple[str, ...]
    """What comes back when the centre decides; none while the decision stays on board."""
    because: str


CENTRE_FAILURES = ("the server that decides", "the link to it")


def judge(loop: LoopFacts) -> BudgetAnswer:
    """Whether a centre a round trip away may take the decisions of a control loop."""
    left = left_s(loop.period_s, loop.round_trip_s, loop.perceive_s, loop.decide_s)
    hold = loop.period_s if loop.hold_s is None else loop.hold_s
    fits = left >= 0.0
    held = loop.outage_s is None or loop.outage_s <= hold
    remote = loop.round_trip_s > 0.0
    viable = fits and held
    failures = CENTRE_FAILURES if viable and remote else ()
    return BudgetAnswer(
        left_s=left,
        viable=viable,
        fits=fits,
        held=held,
        break_even_round_trip_s=break_even_round_trip_s(
            loop.period_s, loop.perceive_s, loop.decide_s
        ),
        single_points_of_failure=failures,
        because=_because(loop, left, hold, held),
    )


def _because(loop: LoopFacts, left: float, hold: float, held: bool) -> str:
    spent = [(loop.round_trip_s, "round trip"), (loop.perceive_s, "perceive")]
    spent.append((loop.decide_s, "decide"))
    terms = "".join(f" - {show_seconds(s)} {name}" for s, name in spent if s > 0.0)
    parts = [f"{show_seconds(loop.period_s)} period{terms} = {show_seconds(left)} left"]
    if left < 0.0 and left_s(loop.period_s, loop.perceive_s, loop.decide_s) < 0.0:
        parts.append("perceiving and deciding alone take longer than the period, on board too")
    elif left < 0.0:
        parts.append("no centre this far away answers in time, so the decision stays on board")
    if loop.outage_s is not None:
        how = "no longer than" if held else "longer than"
        outage = f"the link may be gone for {show_seconds(loop.outage_s)}, {how}"
        parts.append(f"{outage} the {show_seconds(hold)} that agents may hold")
    if left >= 0.0 and not held:
        parts.append("in time, yet the decision must stay on board")
    if loop.round_trip_s == 0.0:
        parts.append("nothing is asked of a centre")
    elif left >= 0.0 and held:
        parts.append("a centre may decide; then its server or its link, failing once, stops all")
    return "; ".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chance:
    """How often nobody is being decided for: through one centre, and with agents apart."""

    centre_availability: float
    agent_availability: float

    def all_stop_apart(self, agents: int) -> float:
        """The chance that every one of the agents is down at once, each deciding for itself."""
        return all_down_probability(self.agent_availability, agents)


def edge_chance(facts: Facts) -> Chance:
    """The availabilities of facts: an edge server in series with a radio link, and a drone."""
    server, link = facts.value("edge_server_availability"), facts.value("radio_link_availability")
    return Chance(
        centre_availability=in_series(server, link),
        agent_availability=facts.value("drone_availability"),
    )
