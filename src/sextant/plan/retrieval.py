"""Plans retrieval: a vector index over servers, a fan-out, a merge, and the answer after it."""

from __future__ import annotations

import math

from sextant.axes import Axis
from sextant.facts import Facts, Machine
from sextant.laws import gather
from sextant.plan.lookup import say_shards
from sextant.plan.part import Bill, Part
from sextant.plan.quantity import Budget, Hardest, Quantity, Stage, Striking
from sextant.plan.question import Question, find_question
from sextant.plan.retrieval_numbers import (
    answer_numbers,
    embed_numbers,
    index_numbers,
    shard_numbers,
    time_numbers,
)
from sextant.units import show, show_count, show_seconds
from sextant.workload import Workload


def plan_retrieval(workload: Workload, machine: Machine, facts: Facts) -> Part | None:
    """The part of an `[index]`; None without one.

    The deadline of `[serving]` is for the start of the answer: retrieval at its p99 and the first
    token of the answering model must be within it. The answering machines are billed by `serving`.

    Raises:
        InfeasibleError: names the tightest constraint.
    """
    question = find_question(workload, machine, facts)
    if question is None:
        return None
    numbers = index_numbers(workload, question.lookup) + shard_numbers(question.lookup, facts)
    numbers += time_numbers(question, facts)
    numbers += embed_numbers(question, workload, machine, facts)
    if question.answering is not None:
        numbers += answer_numbers(question.answering)
    busy, waiting = _seconds(question, machine)
    return Part(
        name="retrieval",
        quantities=tuple(numbers),
        layout=_layout(question, facts),
        striking=_striking(numbers),
        hardest=_hardest(question),
        busy=busy,
        waiting=waiting,
        bills=_bills(question, machine),
        budget=_budget(question),
        risks=_risks(question, facts),
        assumptions=_assumptions(question),
        costs=_costs(question),
    )


def _striking(numbers: list[Quantity]) -> Striking:
    raw = numbers[0]
    return Striking(number=f"{show(raw.value, 'B')} of raw vectors", because=raw.because)


def _layout(question: Question, facts: Facts) -> dict[str, object]:
    look, c = question.lookup, question.lookup.chosen
    found: dict[str, object] = {
        "index": c.form.title,
        "why": look.why,
        "rule": "shards for capacity, replicas for throughput",
        "shards": c.num_shards,
        "replicas": c.num_replicas,
        "shards_per_machine": c.shards_per_machine,
        "machine": look.server.name,
        "shards_by_form": {s.form.key: s.num_shards for s in look.forms},
        "servers_to_hold_by_form": {s.form.key: s.capacity_shards for s in look.forms},
        "machines_by_form": {s.form.key: s.num_machines for s in look.forms},
        "recall_reach_by_form": {s.form.key: s.form.recall_reach for s in look.forms},
        "hedge_after_s": _hedge_after_s(question, facts),
        "shard_timeout_s": question.shard_timeout_s,
        "fan_out_levels": gather.tree_levels(c.num_shards, facts.value("largest_fan_out")),
    }
    if question.deadline_s is not None:
        found["deadline_s"] = question.deadline_s
    return found


def _hardest(question: Question) -> Hardest:
    look, n = question.lookup, question.lookup.chosen.num_shards
    if n == 1:
        return Hardest(
            what="nothing of the index: one server holds it",
            axis=Axis.INFERENCE,
            because=f"{show(look.chosen.index_bytes, 'B')} in {show(look.usable_bytes, 'B')}",
        )
    under = ""
    if question.deadline_s is not None:
        under = f", under a deadline of {show_seconds(question.deadline_s)}"
    return Hardest(
        what=f"the tail of the fan-out: the slowest of {say_shards(n)}{under}",
        axis=Axis.COORDINATION,
        because=(
            f"a shard takes {show_seconds(look.chosen.shard_s)}, the slowest of {show_count(n)} "
            f"{show_seconds(look.fan_out_p99_s)} at p99: one shard's "
            f"{-100 * math.expm1(math.log(0.99) / n):.2g}% is every query's 1%"
        ),
    )


def _budget(question: Question) -> Budget | None:
    if question.deadline_s is None:
        return None
    look = question.lookup
    stages = [
        Stage(name="embed the query", axis=Axis.INFERENCE, seconds=question.embed_s),
        Stage(name="find the lists", axis=Axis.DATA, seconds=look.chosen.coarse_s),
        Stage(name="ask the shards", axis=Axis.COORDINATION, seconds=look.messages_s),
        Stage(
            name="search, the slowest at p99",
            axis=Axis.DATA,
            seconds=look.fan_out_p99_s - look.messages_s,
        ),
        Stage(name="merge", axis=Axis.COORDINATION, seconds=look.merge_s),
    ]
    if (answering := question.answering) is not None:
        if question.steps > 1:
            before = question.retrieval_p50_s + question.answer_s
            seconds = (question.steps - 1.0) * before
            stages.insert(0, Stage(name="earlier steps", axis=Axis.INFERENCE, seconds=seconds))
        r = answering.replica
        exchange = r.prefill_exchange_s + r.step_exchange_s
        if exchange > 0:
            stages.append(Stage(name="tensor exchange", axis=Axis.MODEL, seconds=exchange))
        seconds = max(0.0, r.first_token_s - exchange)
        stages.append(Stage(name="first token", axis=Axis.INFERENCE, seconds=seconds))
    return Budget(
        allowed_s=question.deadline_s,
        stages=tuple(stages),
        what="from the question to the start of the answer",
    )


def _seconds(question: Question, machine: Machine) -> tuple[dict[Axis, float], dict[Axis, float]]:
    """Machine seconds by axis, for one second of service (or for one query where no rate is)."""
    look, c = question.lookup, question.lookup.chosen
    rate = look.lookups_per_s or 1.0
    cores = float(look.server.cores)
    busy = {
        Axis.DATA: rate * (c.coarse_s + c.num_shards * c.shard_s) / cores,
        Axis.INFERENCE: rate * question.embed_s / machine.units,
        Axis.COORDINATION: rate * (look.messages_s + look.merge_s) / cores,
    }
    idle = c.num_shards * max(0.0, look.fan_out_s - c.shard_s)
    return busy, {Axis.COORDINATION: rate * idle / cores}


def _bills(question: Question, machine: Machine) -> tuple[Bill, ...]:
    look = question.lookup
    found = [
        Bill(
            what="shard servers",
            machine=look.server.name,
            count=float(look.chosen.num_machines),
            usd_per_hour=look.server.price_usd_per_hour,
        )
    ]
    if question.embedder is not None and machine.accelerators:
        units = max(1.0, look.lookups_per_s * question.embed_s)
        found.append(
            Bill(
                what="embedding of queries",
                machine=machine.name,
                count=units / machine.units,
                usd_per_hour=machine.price_usd_per_hour,
            )
        )
    return tuple(found)


def _hedge_after_s(question: Question, facts: Facts) -> float:
    """The p95 of one shard: after it, another replica is asked too."""
    sigma = facts.value("shard_time_log_sigma")
    return gather.slowest_s(question.lookup.chosen.shard_s, sigma, 1.0, 0.95)


def _risks(question: Question, facts: Facts) -> tuple[str, ...]:
    look, c = question.lookup, question.lookup.chosen
    found = []
    if c.num_replicas == 1:
        found.append(
            f"one replica a shard: a server that dies takes {c.shards_per_machine} of "
            f"{show_count(c.num_shards)} shards out of every answer until it is loaded again"
        )
    if c.num_shards > 1:
        found.append("one router is a single point of failure: run two, neither keeping state")
    if question.deadline_s is not None:
        hedge = _hedge_after_s(question, facts)
        order = (
            f"hedge {show_seconds(hedge)} < shard time-out "
            f"{show_seconds(question.shard_timeout_s)} < query deadline "
            f"{show_seconds(question.deadline_s)}"
        )
        found.append(
            f"time-outs must be ordered {order}: a shard's that is longer than the query's turns "
            "one late shard into no answer at all"
        )
        if hedge >= question.shard_timeout_s:
            found.append("the deadline leaves no time to ask a second replica of a slow shard")
        if question.p99_s > question.deadline_s and question.answering is not None:
            found.append(
                f"the answer starts in time but ends after the deadline, at "
                f"{show_seconds(question.p99_s)} (p99): stream it"
            )
    if look.fan_out_p99_s > 3.0 * c.shard_s and c.num_shards > 1:
        found.append(
            f"without hedging the slowest shard sets the p99: {show_seconds(look.fan_out_p99_s)}, "
            f"hedged {show_seconds(look.hedged_p99_s)}"
        )
    return tuple(found)


def _assumptions(question: Question) -> tuple[str, ...]:
    if question.deadline_s is None:
        return ()
    return ("the deadline is for the start of the answer: retrieval and the first token",)


def _costs(question: Question) -> dict[Axis, str]:
    look, c = question.lookup, question.lookup.chosen
    return {
        Axis.DATA: (
            f"{say_shards(c.num_shards)} on {show_count(c.num_machines)} servers; "
            f"a lost one costs {100 / c.num_shards:.2g}% of recall"
        ),
        Axis.COORDINATION: (
            f"{show_seconds(look.fan_out_p99_s)} for the slowest of {show_count(c.num_shards)} at "
            f"p99, where one takes {show_seconds(c.shard_s)}"
        ),
    }
