"""One replica of a served model: how it is split, and how long its passes take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sextant.facts import Facts, Machine
from sextant.laws import experts, kv, serving
from sextant.plan.served import Served

ROUNDS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One call of the model: tokens in and out (none out of an encoder)."""

    prompt_tokens: float
    output_tokens: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """`accelerators = tensor x groups`; groups are pipeline stages or, with experts, data-parallel
    attention groups over which the experts are spread. `largest_batch` is what memory leaves."""

    accelerators: int
    tensor: int
    groups: int
    largest_batch: float
    kv_bytes_per_request: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Replica:
    """A split replica at work with `batch` requests in flight."""

    accelerators: int
    tensor: int
    groups: int
    expert: int
    batch: float
    largest_batch: float
    output_tokens: float
    kv_bytes_per_request: float
    prefill_s: float
    prefill_exchange_s: float
    step_s: float
    step_exchange_s: float
    all_to_all_bytes: float
    touched_fraction: float
    requests_per_s: float
    """The most that it finishes, with its largest batch."""
    first_token_s: float
    request_s: float


def split_model(
    served: Served, units: int, ask: Ask, machine: Machine, facts: Facts
) -> Split | None:
    """The model over so many accelerators; None where weights and one request do not fit."""
    memory = machine.unit_memory_bytes * facts.value("accelerator_memory_fraction")
    tensor = min(units, largest_tensor(machine))
    if served.routed_bytes:
        tensor = min(tensor, _split_for(served.common_bytes, memory / 2.0))
    request = served.kv_bytes_per_token * (ask.prompt_tokens + ask.output_tokens)
    request *= served.decodes
    copies = units / tensor if served.routed_bytes else 1.0
    weights = served.common_bytes * copies + served.routed_bytes
    fit = kv.requests_that_fit(units * memory, weights, request)
    if fit < 1.0 or weights > units * memory:
        return None
    most = units * facts.value("largest_batch_per_accelerator")
    return Split(
        accelerators=units,
        tensor=tensor,
        groups=units // tensor,
        largest_batch=max(1.0, min(fit, most)),
        kv_bytes_per_request=request,
    )


def largest_tensor(machine: Machine) -> int:
    """The largest power of two in one fast domain."""
    domain = max(1, machine.fast_domain if machine.accelerators else 1)
    return 1 << (domain.bit_length() - 1)


def _split_for(size: float, room: float) -> int:
    return int(2 ** min(40, math.ceil(math.log2(max(1.0, size / room)))))


def replica_at(
    served: Served, split: Split, rate: float, ask: Ask, machine: Machine, facts: Facts
) -> Replica:
    """The replica with `rate` requests a second, in balance: in flight are rate x residence.

    Source: Little 1961; the balance is found by iteration, bounded by the largest batch.
    """
    batch = 1.0
    for _ in range(ROUNDS):
        found = _timed(served, split, batch, rate, ask, machine, facts)
        after = min(split.largest_batch, max(1.0, rate * found.request_s))
        if abs(after - batch) <= 0.01 * batch:
            break
        batch = after
    return found


def largest_rate(served: Served, split: Split, ask: Ask, machine: Machine, facts: Facts) -> float:
    """Requests a second with the largest batch in flight."""
    return _timed(served, split, split.largest_batch, 0.0, ask, machine, facts).requests_per_s


def _timed(
    served: Served,
    split: Split,
    batch: float,
    rate: float,
    ask: Ask,
    machine: Machine,
    facts: Facts,
) -> Replica:
    here, groups = batch / split.groups, split.groups
    prefill, prefill_exchange = _prefill_s(served, split, ask.prompt_tokens, machine, facts)
    touched = experts.touched_fraction(batch, served.experts, served.active_experts)
    step, step_exchange, sent = 0.0, 0.0, 0.0
    if served.decodes:
        step, step_exchange, sent = _step_s(served, split, here, touched, ask, machine, facts)
    return Replica(
        accelerators=split.accelerators,
        tensor=split.tensor,
        groups=groups,
        expert=split.accelerators if served.routed_bytes else 1,
        batch=batch,
        largest_batch=split.largest_batch,
        output_tokens=max(ask.output_tokens, 1.0),
        kv_bytes_per_request=split.kv_bytes_per_request,
        prefill_s=prefill,
        prefill_exchange_s=prefill_exchange,
        step_s=step,
        step_exchange_s=step_exchange,
        all_to_all_bytes=sent,
        touched_fraction=touched,
        requests_per_s=groups * serving.requests_per_s(prefill, ask.output_tokens, step, here),
        first_token_s=prefill + step,
        request_s=serving.request_s(prefill, ask.output_tokens, step, rate / groups),
    )


def _prefill_s(
    served: Served, split: Split, prompt: float, machine: Machine, facts: Facts
) -> tuple[float, float]:
    """Seconds of one prompt's prefill in one group, exchange included, and the exchange alone."""
    flops = serving.forward_flops(
        served.active_parameters, prompt, served.layers, served.hidden, prompt / 2.0
    )
    uneven = facts.value("expert_imbalance") if served.routed_bytes else 1.0
    peak = machine.flops_per_s(served.precision) * facts.value("prefill_utilisation")
    own = served.common_bytes / split.tensor
    seconds = serving.roofline_s(flops * uneven / split.tensor, own, peak, _reads(machine, facts))
    exchange, _ = _exchange(served, split, prompt, machine, facts)
    return seconds + exchange + facts.value("decode_step_fixed_s"), exchange


def _step_s(
    served: Served,
    split: Split,
    here: float,
    touched: float,
    ask: Ask,
    machine: Machine,
    facts: Facts,
) -> tuple[float, float, float]:
    """Seconds of one decode step of a group of `here` requests, its exchange, and bytes sent."""
    context = ask.prompt_tokens + ask.output_tokens / 2.0
    one = serving.forward_flops(
        served.active_parameters, 1.0, served.layers, served.hidden, context
    )
    uneven = facts.value("expert_imbalance") if served.routed_bytes else 1.0
    read = (served.common_bytes + here * served.kv_bytes_per_token * context) / split.tensor
    read += served.routed_bytes / split.accelerators * min(1.0, touched * uneven)
    peak = machine.flops_per_s(served.precision) * facts.value("prefill_utilisation")
    work = serving.roofline_s(
        here * one * uneven / split.tensor, read, peak, _reads(machine, facts)
    )
    exchange, sent = _exchange(served, split, here, machine, facts)
    return work + exchange + facts.value("decode_step_fixed_s"), exchange, sent


def _reads(machine: Machine, facts: Facts) -> float:
    return machine.unit_bandwidth_bytes_per_s * facts.value("decode_bandwidth_fraction")


def _exchange(
    served: Served, split: Split, tokens: float, machine: Machine, facts: Facts
) -> tuple[float, float]:
    """Seconds of exchange in one forward pass of a group, and all-to-all bytes of a unit."""
    fast = machine.fast_link_bytes_per_s or machine.network_bytes_per_s
    total = serving.tensor_parallel_exchange_s(
        served.layers,
        tokens,
        served.hidden,
        2.0,
        split.tensor,
        fast,
        facts.value("all_reduce_latency_s"),
    )
    if not served.routed_bytes:
        return total, 0.0
    inside = split.accelerators <= max(1, machine.fast_domain)
    link = fast if inside else machine.network_bytes_per_s / machine.units
    sent = experts.all_to_all_bytes(
        tokens / split.tensor,
        served.active_experts,
        served.hidden,
        1.0,
        2.0,
        split.accelerators,
    )
    each = experts.all_to_all_s(
        sent, link, facts.value("all_to_all_latency_s"), facts.value("expert_imbalance")
    )
    return total + served.moe_layers * each, served.moe_layers * sent
