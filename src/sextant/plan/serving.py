"""Plans serving: a language model behind requests, split and replicated."""

from __future__ import annotations

from sextant.axes import Axis
from sextant.facts import Facts, Machine
from sextant.plan.answering import Answering, answer_with
from sextant.plan.part import Bill, Part
from sextant.plan.quantity import Budget, Hardest, Quantity, Stage, Striking
from sextant.plan.question import Question, find_question
from sextant.plan.served import find_model
from sextant.plan.serving_numbers import (
    expert_numbers,
    fleet_numbers,
    memory_numbers,
    time_numbers,
)
from sextant.units import show, show_count, show_seconds
from sextant.workload import Workload

FROM_RETRIEVAL = frozenset(
    {"kv_bytes_per_token", "kv_bytes_per_request", "tensor_parallel", "num_replicas", "query_p99_s"}
)
"""Names that `retrieval` gives where there is an index."""


def plan_serving(workload: Workload, machine: Machine, facts: Facts) -> Part | None:
    """The part of `[serving]` and a decoder (or, without an index, an encoder).

    None without them, and beside `[tables]`. The deadline is for the first token of the last
    call (after retrieval, where there is an index).

    Raises:
        InfeasibleError: names the tightest constraint.
    """
    if workload.serving is None or workload.tables is not None:
        return None
    question = find_question(workload, machine, facts)
    answering = question.answering if question else _alone(workload, machine, facts)
    if answering is None:
        return None
    steps = max(1.0, workload.serving.steps)
    numbers = memory_numbers(answering, facts) + time_numbers(answering, steps)
    numbers += fleet_numbers(answering, machine, facts) + expert_numbers(answering, facts)
    numbers += _agent_numbers(steps, facts)
    if question is not None:
        numbers = [q for q in numbers if q.name not in FROM_RETRIEVAL]
    busy, waiting = _seconds(answering, workload, machine, facts)
    bill = Bill(
        what="answering replicas",
        machine=machine.name,
        count=float(answering.num_accelerators) / machine.units,
        usd_per_hour=machine.price_usd_per_hour,
    )
    return Part(
        name="serving",
        quantities=tuple(numbers),
        layout=_layout(answering),
        striking=_striking(answering),
        hardest=_hardest(answering, workload, steps, facts),
        busy=busy,
        waiting=waiting,
        bills=(bill,),
        budget=None if question else _budget(answering, workload.serving.deadline, steps),
        risks=_risks(answering, workload, question),
        assumptions=(
            "the deadline is for the first token of the last call of the model",
            "every call reads its whole prompt: nothing is kept from earlier calls",
        ),
        costs=_costs(answering, workload),
    )


def _alone(workload: Workload, machine: Machine, facts: Facts) -> Answering | None:
    served = find_model(workload, ("decoder", "encoder"))
    return answer_with(served, workload, machine, facts) if served else None


def _agent_numbers(steps: float, facts: Facts) -> list[Quantity]:
    if steps <= 1:
        return []
    right = facts.value("agent_step_success")
    low, high = (facts.rows["agent_step_success"].low, facts.rows["agent_step_success"].high)
    because = f"{right:g}^{steps:g}: every step of {steps:g} must be right"
    value = right**steps
    return [
        Quantity(
            name="task_success_fraction",
            value=value,
            unit="fraction",
            low=low**steps,
            high=high**steps,
            because=because,
            source="steps in series; facts: agent_step_success",
        )
    ]


def _layout(answering: Answering) -> dict[str, object]:
    r = answering.replica
    found: dict[str, object] = {
        "model": answering.served.name,
        "replicas": answering.num_replicas,
        "accelerators_per_replica": r.accelerators,
        "tensor_parallel": r.tensor,
        "batch": round(r.batch, 1),
        "load": round(answering.load, 3),
    }
    if answering.served.routed_bytes:
        return found | {"expert_parallel": r.expert, "attention_groups": r.groups}
    return found | {"pipeline_parallel": r.groups}


def _striking(answering: Answering) -> Striking:
    s = answering.served
    if s.routed_bytes:
        active, total = show_count(s.active_parameters), show_count(s.parameters)
        return Striking(
            number=f"{active} of {total} parameters for each token",
            because=f"{s.active_experts:g} of {s.experts:g} experts a layer, and all must be in "
            f"memory: {show(s.weight_bytes, 'B')}",
        )
    return Striking(
        number=f"{show(s.weight_bytes, 'B')} read for every token",
        because=f"{show_count(s.parameters)} parameters x {s.element_bytes:g} B, once a step for "
        f"all requests in flight",
    )


def _hardest(answering: Answering, workload: Workload, steps: float, facts: Facts) -> Hardest:
    r, s = answering.replica, answering.served
    apart = workload.agents is not None and workload.agents.decide_apart
    if steps > 1 and apart:
        right = facts.value("agent_step_success")
        return Hardest(
            what="errors and latencies compound over the steps of agents that decide apart",
            axis=Axis.INTELLIGENCE,
            because=f"{steps:g} steps right with {right:g} each: {right**steps:.0%}; and "
            f"{steps:g} x {show_seconds(r.request_s)} = {show_seconds(steps * r.request_s)}",
        )
    if s.routed_bytes:
        share = r.step_exchange_s / max(r.step_s, 1e-300)
        return Hardest(
            what="the all-to-all of every layer, at the pace of its busiest rank",
            axis=Axis.MODEL,
            because=f"{s.moe_layers:g} layers x 2 exchanges over {r.expert} accelerators take "
            f"{show_seconds(r.step_exchange_s)}, {share:.0%} of a step; the busiest rank has "
            f"{facts.value('expert_imbalance'):g} times the mean",
        )
    return Hardest(
        what="decoding: a token reads all weights and does little with them",
        axis=Axis.INFERENCE,
        because=f"{show(s.weight_bytes, 'B')} in {show_seconds(r.step_s)} over {r.tensor} "
        f"accelerators, whatever the batch; more in flight is the only economy",
    )


def _budget(answering: Answering, deadline_s: float, steps: float) -> Budget:
    r = answering.replica
    exchange = r.prefill_exchange_s + r.step_exchange_s
    stages = [
        Stage(name="wait for a slot", axis=Axis.COORDINATION, seconds=answering.wait_s),
        Stage(name="exchange", axis=Axis.MODEL, seconds=exchange),
        Stage(
            name="first token",
            axis=Axis.INFERENCE,
            seconds=max(0.0, r.first_token_s - exchange),
        ),
    ]
    if steps > 1:
        seconds = (steps - 1.0) * r.request_s
        stages.insert(0, Stage(name="earlier steps", axis=Axis.INFERENCE, seconds=seconds))
    what = "from the request to the first token of its answer"
    return Budget(allowed_s=deadline_s, stages=tuple(stages), what=what)


def _exchange_share(answering: Answering) -> float:
    r = answering.replica
    whole = r.prefill_s + r.output_tokens * r.step_s
    exchange = r.prefill_exchange_s + r.output_tokens * r.step_exchange_s
    return min(1.0, exchange / max(whole, 1e-300))


def _seconds(
    answering: Answering, workload: Workload, machine: Machine, facts: Facts
) -> tuple[dict[Axis, float], dict[Axis, float]]:
    """Machine seconds by axis, for one second of service.

    Where agents decide apart, one call in as many as there are agents is one reading another.
    """
    machines = answering.num_accelerators / machine.units
    share = _exchange_share(answering)
    work = machines * answering.load
    busy = {Axis.INFERENCE: work * (1.0 - share), Axis.MODEL: work * share}
    agents = workload.agents
    if agents is not None and agents.decide_apart and agents.count > 1:
        peers = busy[Axis.INFERENCE] / agents.count
        busy[Axis.INFERENCE] -= peers
        busy[Axis.INTELLIGENCE] = peers
    waiting = {Axis.COORDINATION: answering.calls_per_s * answering.wait_s}
    if answering.served.routed_bytes:
        uneven = facts.value("expert_imbalance")
        waiting[Axis.MODEL] = work * share * (uneven - 1.0) / uneven
    return busy, waiting


def _risks(answering: Answering, workload: Workload, question: Question | None) -> tuple[str, ...]:
    asked = workload.serving
    assert asked is not None
    found = []
    if answering.num_replicas == 1:
        found.append(
            f"one replica of the {answering.served.name} is a single point of failure: its "
            f"{answering.replica.accelerators} accelerators fail as one"
        )
    elif answering.served.routed_bytes:
        found.append(
            f"{answering.replica.accelerators} accelerators of a replica fail as one: one lost "
            f"takes {1 / answering.num_replicas:.1%} of the service"
        )
    whole = max(1.0, asked.steps) * answering.replica.request_s
    if question is None and whole > asked.deadline:
        found.append(
            f"the answer starts within the deadline but takes {show_seconds(whole)} to its end: "
            f"stream it, and give clients a time-out longer than that or retries double the load"
        )
    if answering.availability < asked.availability:
        found.append(
            f"availability {answering.availability:.4%} is below the {asked.availability:.4%} "
            f"asked for, spares included: replicas over several machines fail more often"
        )
    return tuple(found)


def _costs(answering: Answering, workload: Workload) -> dict[Axis, str]:
    r = answering.replica
    how = f"{r.expert} ranks of experts" if answering.served.routed_bytes else f"{r.tensor} ways"
    found = {
        Axis.MODEL: (
            f"split {how}: {_exchange_share(answering):.0%} of a request's time is exchange"
        ),
        Axis.INFERENCE: (
            f"{show_count(answering.num_replicas)} replicas, "
            f"{show_count(answering.num_accelerators)} accelerators at a load of "
            f"{answering.load:.0%}"
        ),
        Axis.COORDINATION: (
            f"{show_seconds(answering.wait_s)} waiting for a slot of "
            f"{show_count(answering.num_replicas)} replicas"
        ),
    }
    if workload.agents is not None and workload.serving is not None:
        steps = max(1.0, workload.serving.steps)
        found[Axis.INTELLIGENCE] = (
            f"{steps:g} calls of the model a request, {show_seconds(steps * r.request_s)} in all"
        )
    return found
