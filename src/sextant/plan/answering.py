"""How many replicas of a served model answer: shared by retrieval and serving."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sextant.errors import InfeasibleError
from sextant.facts import Facts, Machine
from sextant.laws import availability, queueing
from sextant.plan.replica import (
    Ask,
    Replica,
    Split,
    largest_rate,
    largest_tensor,
    replica_at,
    split_model,
)
from sextant.plan.served import Served
from sextant.units import show, show_count
from sextant.workload import Workload

LARGEST_DOUBLINGS = 40
MOST_SPLITS = 6
LEAST_WAIT_S = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Answering:
    """The replicas that answer, one call of the model at a time."""

    served: Served
    replica: Replica
    calls_per_s: float
    num_replicas: int
    num_machines: int
    load: float
    wait_s: float
    wait_p99_s: float
    availability: float

    @property
    def num_accelerators(self) -> int:
        """Of all replicas."""
        return self.num_replicas * self.replica.accelerators

    @property
    def token_s(self) -> float:
        """Between two tokens of an answer, prefills of others included."""
        return (self.replica.request_s - self.replica.prefill_s) / self.replica.output_tokens

    def start_s(self, steps: float) -> float:
        """From the first call of the model to the first token of the last."""
        return max(0.0, steps - 1.0) * self.replica.request_s + self.replica.first_token_s


def answer_with(
    served: Served, workload: Workload, machine: Machine, facts: Facts, spent_s: float = 0.0
) -> Answering:
    """Sizes the replicas: the fewest accelerators whose first token is in time.

    Args:
        served: the model.
        workload: its `[serving]` says how many requests, of which length, by when.
        machine: where replicas run.
        facts: constants.
        spent_s: time that a request has spent before its last call of the model.

    Raises:
        InfeasibleError: the weights fit no layout, no first token is in time, or the stated
            fleet is too small.
    """
    asked = workload.serving
    assert asked is not None
    output = asked.output_tokens if served.decodes else 0.0
    ask = Ask(prompt_tokens=asked.prompt_tokens, output_tokens=output)
    splits = list(_splits(served, ask, machine, facts))
    if not splits:
        raise _no_fit(served, machine)
    found = list(_staffed(served, splits, ask, workload, machine, facts))
    in_time = [a for a in found if a.start_s(asked.steps) + spent_s <= asked.deadline]
    if not in_time:
        raise _too_late(served, found, workload, machine, spent_s)
    limit = facts.value("slowest_token_s")
    fluent = [a for a in in_time if a.token_s <= limit] or in_time
    chosen = min(fluent, key=lambda a: (a.num_accelerators, a.replica.accelerators))
    if workload.fleet.count is not None and chosen.num_machines > workload.fleet.count:
        chosen = min(in_time, key=lambda a: (a.num_machines, a.replica.accelerators))
        if chosen.num_machines > workload.fleet.count:
            raise _too_few(chosen, workload)
    return chosen


def _splits(served: Served, ask: Ask, machine: Machine, facts: Facts) -> Iterator[Split]:
    """Powers of two from the fewest accelerators that hold it, a few doublings on."""
    found = 0
    for doubling in range(LARGEST_DOUBLINGS):
        units = 2**doubling
        if units > _largest(served, machine) or found >= MOST_SPLITS:
            return
        if (split := split_model(served, units, ask, machine, facts)) is not None:
            found += 1
            yield split


def _largest(served: Served, machine: Machine) -> float:
    """Accelerators that one replica can be split over."""
    if served.routed_bytes:
        return served.experts
    return served.layers * largest_tensor(machine)


def _staffed(
    served: Served,
    splits: list[Split],
    ask: Ask,
    workload: Workload,
    machine: Machine,
    facts: Facts,
) -> Iterator[Answering]:
    """Every split with replicas for the planned load, and for less where that is too slow."""
    asked = workload.serving
    assert asked is not None
    calls = asked.requests_per_s * asked.steps
    planned = facts.value("answer_load")
    for split in splits:
        most = largest_rate(served, split, ask, machine, facts)
        for load in (planned, planned * 0.7, planned * 0.5, planned * 0.25):
            num, up = _replicas(split, calls / most, load, asked.availability, machine, facts)
            each = calls / num
            replica = replica_at(served, split, each, ask, machine, facts)
            replica = replace(replica, requests_per_s=most)
            mean, late = _wait(replica, num, each / most, facts)
            yield Answering(
                served=served,
                replica=replica,
                calls_per_s=calls,
                num_replicas=num,
                num_machines=math.ceil(num * split.accelerators / machine.units),
                load=each / most,
                wait_s=mean,
                wait_p99_s=late,
                availability=up,
            )


def _wait(replica: Replica, num: int, load: float, facts: Facts) -> tuple[float, float]:
    """Mean and p99 of the wait for a prefill's turn and, decoding, for a slot in the batch."""
    scv = facts.value("request_size_scv")
    servers = float(num * replica.groups)
    rate = load * replica.requests_per_s / replica.groups
    turn = (servers, rate * replica.prefill_s, replica.prefill_s, 1.0, scv)
    slots = (num * replica.largest_batch, load, replica.request_s, 1.0, scv)
    waits = (turn, slots) if replica.step_s else (turn,)
    mean = sum(queueing.mean_wait_s(*wait) for wait in waits)
    late = sum(queueing.wait_quantile_s(*wait) for wait in waits)
    return (mean, late) if mean >= LEAST_WAIT_S else (0.0, late)


def _replicas(
    split: Split, offered: float, load: float, wanted: float, machine: Machine, facts: Facts
) -> tuple[int, float]:
    """Replicas for the load, and spare ones until enough of them are up often enough."""
    needed = max(1, math.ceil(offered))
    planned = max(1, math.ceil(offered / load))
    nodes = math.ceil(split.accelerators / machine.units)
    up = availability.all_of(facts.value("serving_node_availability"), nodes)
    num, whole = planned, 0.0
    for spare in (0, 1, 2, 3, 4, 6, 8, 12, 16, 32, 64):
        num = planned + spare
        whole = availability.at_least(needed, num, up)
        if whole >= wanted:
            break
    return num, whole


def _no_fit(served: Served, machine: Machine) -> InfeasibleError:
    return InfeasibleError(
        f"the {served.name} fits no layout: {show(served.weight_bytes, 'B')} of weights and "
        f"{show(served.kv_bytes_per_token, 'B')} a token of cache, on units of "
        f"{show(machine.unit_memory_bytes, 'B')}, over at most "
        f"{show_count(_largest(served, machine))} of which it can be split",
        where=f"model.{served.name}",
        hint="a machine with more memory, a narrower dtype, or shorter prompts",
    )


def _too_late(
    served: Served,
    found: list[Answering],
    workload: Workload,
    machine: Machine,
    spent_s: float,
) -> InfeasibleError:
    asked = workload.serving
    assert asked is not None
    best = min(found, key=lambda a: a.start_s(asked.steps))
    before = f"{show(spent_s, 's')} goes before the model, and " if spent_s else ""
    return InfeasibleError(
        f"the deadline of {show(asked.deadline, 's')} is too short: {before}the {served.name} "
        f"starts its answer after {show(best.start_s(asked.steps), 's')} at best "
        f"({best.replica.accelerators} units of {machine.name})",
        where="serving.deadline",
        hint="allow more time, or a smaller model, fewer steps, or a shorter prompt",
    )


def _too_few(best: Answering, workload: Workload) -> InfeasibleError:
    return InfeasibleError(
        f"the {best.served.name} needs {show_count(best.num_machines)} machines "
        f"({show_count(best.num_replicas)} replicas of {best.replica.accelerators} units), and "
        f"the fleet has {workload.fleet.count}",
        where="fleet.count",
        hint="a larger fleet, fewer requests, or a smaller model",
    )
