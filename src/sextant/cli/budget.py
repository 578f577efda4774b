"""`sextant budget`: may an edge server or a cloud take a control loop's decisions?"""

from __future__ import annotations

import argparse
import json
import math
import textwrap
from typing import TYPE_CHECKING

from sextant.cli.times import TIME_HELP, seconds
from sextant.units import show_seconds

if TYPE_CHECKING:
    from sextant.plan.budget import BudgetAnswer, LoopFacts

_LARGEST_S = 1e12
_EXAMPLE_AGENTS = 10


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    what = "what is left of a control period after a round trip, and what may fail"
    parser = subparsers.add_parser(
        "budget",
        help=what,
        description=f"Says {what}: may a centre decide, or must the decision stay on board? "
        f"{TIME_HELP}.",
        epilog='example: sextant budget --period "50 ms" --round-trip "8 ms"',
    )
    parser.add_argument("--period", required=True, metavar="T", help="a decision is due every T")
    parser.add_argument("--round-trip", required=True, metavar="T", help="to the centre and back")
    parser.add_argument("--perceive", default="0 s", metavar="T", help="time to perceive")
    parser.add_argument("--decide", default="0 s", metavar="T", help="time to decide")
    parser.add_argument("--outage", metavar="T", help="the longest outage of the link")
    parser.add_argument("--hold", metavar="T", help="agents may safely hold for T (one period)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the answer; exit 0 whether or not a centre may decide."""
    from sextant.plan.budget import LoopFacts, judge

    loop = LoopFacts(
        period_s=seconds(args.period, "--period", most_s=_LARGEST_S),
        round_trip_s=_or_zero(args.round_trip, "--round-trip"),
        perceive_s=_or_zero(args.perceive, "--perceive"),
        decide_s=_or_zero(args.decide, "--decide"),
        outage_s=None if args.outage is None else _or_zero(args.outage, "--outage"),
        hold_s=None if args.hold is None else _or_zero(args.hold, "--hold"),
    )
    answer = judge(loop)
    print(_json(answer) if args.json else _render(loop, answer))
    return 0


def _or_zero(text: str, option: str) -> float:
    return seconds(text, option, most_s=_LARGEST_S, or_zero=True)


def _json(answer: BudgetAnswer) -> str:
    return json.dumps(
        {
            "left_s": answer.left_s,
            "viable": answer.viable,
            "break_even_round_trip_s": answer.break_even_round_trip_s,
            "single_points_of_failure": list(answer.single_points_of_failure),
            "because": answer.because,
        }
    )


def _render(loop: LoopFacts, answer: BudgetAnswer) -> str:
    verdict = "yes" if answer.viable else "no, it stays on board"
    if loop.round_trip_s == 0.0:
        verdict = "no centre is asked; the loop closes on board" if answer.fits else "no"
    longest = answer.break_even_round_trip_s
    rows = [
        ("left", show_seconds(answer.left_s)),
        ("a centre may decide", verdict),
        ("longest round trip", show_seconds(longest) if longest >= 0.0 else "none is short enough"),
        ("single points of failure", _failures(answer)),
        ("why", answer.because),
    ]
    if answer.single_points_of_failure:
        rows.append(("availability", _availability()))
    return "\n".join(_row(name, text) for name, text in rows)


def _row(name: str, text: str) -> str:
    lines = textwrap.wrap(text, 72)
    return "\n".join(f"{name if i == 0 else '':25} {line}" for i, line in enumerate(lines))


def _failures(answer: BudgetAnswer) -> str:
    if answer.single_points_of_failure:
        return ", ".join(answer.single_points_of_failure)
    return "none while decisions stay on board; a centre would bring back its server and its link"


def _availability() -> str:
    from sextant.facts import load_facts
    from sextant.plan.budget import edge_chance

    facts = load_facts()
    chance = edge_chance(facts)
    server, link = facts.value("edge_server_availability"), facts.value("radio_link_availability")
    apart = round(math.log10(chance.all_stop_apart(_EXAMPLE_AGENTS)))
    return (
        f"one server in series with its link works {server:.1%} x {link:.1%} = "
        f"{chance.centre_availability:.2%} of the time, so all agents stop together "
        f"{1 - chance.centre_availability:.2%} of it; {_EXAMPLE_AGENTS} agents deciding apart, "
        f"each up {chance.agent_availability:.0%}, all stop together 10^{apart} of it if they fail "
        "independently"
    )
