"""The numbers of a serving plan, each with its arithmetic."""

from __future__ import annotations

from sextant.facts import Facts, Machine
from sextant.plan.answering import Answering
from sextant.plan.part import exact, within
from sextant.plan.quantity import Quantity
from sextant.units import show, show_count, show_seconds

ROOFLINE = "roofline: Williams et al. 2009; Pope et al. 2022"


def memory_numbers(answering: Answering, facts: Facts) -> list[Quantity]:
    """Weights and caches, and how they are split."""
    r, s = answering.replica, answering.served
    share = facts.value("accelerator_memory_fraction")
    split = (
        f"{show(s.weight_bytes, 'B')} of weights over {r.accelerators} accelerators at {share:.0%} "
        f"of memory"
    )
    found = [
        exact(
            "weight_bytes",
            s.weight_bytes,
            "B",
            f"{show_count(s.parameters)} parameters x {s.element_bytes:g} B",
            "arithmetic",
        ),
        exact("tensor_parallel", float(r.tensor), "", split, "fewest accelerators in time"),
    ]
    if not s.decodes:
        return found
    return [
        *found,
        exact(
            "kv_bytes_per_token",
            s.kv_bytes_per_token,
            "B",
            s.kv_because,
            "Pope et al. 2022; Ainslie et al. 2023",
        ),
        exact(
            "kv_bytes_per_request",
            r.kv_bytes_per_request,
            "B",
            f"{show(s.kv_bytes_per_token, 'B')} a token x prompt and answer",
            "arithmetic",
        ),
        within(
            "batch_per_replica",
            r.batch,
            "",
            1.6,
            f"in flight at {answering.calls_per_s / answering.num_replicas:.3g}/s x "
            f"{show_seconds(r.request_s)}; memory leaves room for {show_count(r.largest_batch)}",
            "Little 1961",
        ),
    ]


def time_numbers(answering: Answering, steps: float) -> list[Quantity]:
    """Times of a call and of a whole request."""
    r = answering.replica
    first = r.first_token_s + answering.wait_s
    tail = steps * r.request_s + answering.wait_p99_s
    prefill = (
        f"2 x {show_count(answering.served.active_parameters)} active parameters a token over "
        f"{r.tensor} accelerators, {show_seconds(r.prefill_exchange_s)} of it exchange"
    )
    found = [within("prefill_s", r.prefill_s, "s", 1.5, prefill, ROOFLINE)]
    if answering.served.decodes:
        step = (
            f"weights and {r.batch / r.groups:.3g} caches read once, "
            f"{show_seconds(r.step_exchange_s)} of exchange"
        )
        found.append(within("decode_token_s", r.step_s, "s", 1.4, step, ROOFLINE))
    calls = f"{steps:g} x " if steps > 1 else ""
    whole = (
        f"{calls}(prefill {show_seconds(r.prefill_s)} + {r.output_tokens:g} tokens at "
        f"{show_seconds(answering.token_s)}, others' prefills included)"
    )
    queue = f"{whole} + wait {show_seconds(answering.wait_p99_s)} at a load of {answering.load:.0%}"
    return [
        *found,
        within(
            "time_to_first_token_s",
            first,
            "s",
            1.8,
            f"wait {show_seconds(answering.wait_s)} + prefill {show_seconds(r.prefill_s)} + a step",
            f"{ROOFLINE}; Allen 1990",
        ),
        within("request_s", steps * r.request_s, "s", 1.5, whole, ROOFLINE),
        within("query_p99_s", tail, "s", 1.55, queue, f"{ROOFLINE}; Allen 1990 (Allen-Cunneen)"),
    ]


def fleet_numbers(answering: Answering, machine: Machine, facts: Facts) -> list[Quantity]:
    """Replicas, accelerators, and how often enough of them are up."""
    r, load = answering.replica, facts.value("answer_load")
    up = facts.value("serving_node_availability")
    return [
        within(
            "requests_per_s_per_replica",
            r.requests_per_s,
            "/s",
            1.6,
            f"1 / (prefill + answer x step / batch), {show_count(r.largest_batch)} in flight",
            "Yu et al. 2022 (continuous batching)",
        ),
        exact(
            "num_replicas",
            float(answering.num_replicas),
            "",
            f"{show_count(answering.calls_per_s)} calls/s / {r.requests_per_s:.3g}/s at a load of "
            f"at most {load:.0%}, and spares",
            "facts: answer_load",
        ),
        exact(
            "num_accelerators",
            float(answering.num_accelerators),
            "",
            f"{show_count(answering.num_replicas)} replicas x {r.accelerators}",
            "arithmetic",
        ),
        within(
            "availability",
            answering.availability,
            "fraction",
            1.0,
            f"enough of {show_count(answering.num_replicas)} replicas are up, a {machine.name} "
            f"being up {up:.2%} of the time",
            "k out of n: Barlow and Proschan 1975; facts: serving_node_availability",
        ),
    ]


def expert_numbers(answering: Answering, facts: Facts) -> list[Quantity]:
    """What a mixture of experts adds; nothing for a dense model."""
    r, s = answering.replica, answering.served
    if not s.routed_bytes:
        return []
    each = r.batch / r.groups
    held = f"{s.experts:g} experts a layer over {r.expert} accelerators"
    return [
        exact("expert_parallel", float(r.expert), "", held, "fewest accelerators in time"),
        exact(
            "active_parameters",
            s.active_parameters,
            "",
            f"{s.active_experts:g} of {s.experts:g} experts a token, of "
            f"{show_count(s.parameters)} parameters in all",
            "the workload",
        ),
        within(
            "touched_experts_fraction",
            r.touched_fraction,
            "fraction",
            1.0,
            f"1 - (1 - {s.active_experts:g}/{s.experts:g})^{r.batch:.3g} tokens in flight",
            "occupancy: Feller 1968, section IV.2",
        ),
        within(
            "all_to_all_bytes_per_step",
            r.all_to_all_bytes,
            "B",
            1.3,
            f"{each / r.tensor:.3g} tokens x {s.active_experts:g} experts x {s.hidden:g} x (1 + 2) "
            f"B x {s.moe_layers:g} layers, sent by one accelerator",
            "Lepikhin et al. 2020; DeepEP (fp8 out, bf16 back)",
        ),
        within(
            "all_to_all_s",
            r.step_exchange_s,
            "s",
            1.5,
            f"{s.moe_layers:g} layers x (2 latencies + bytes x imbalance "
            f"{facts.value('expert_imbalance'):g} / link) of a step of {show_seconds(r.step_s)}",
            "DeepEP's tables; facts: all_to_all_latency_s, expert_imbalance",
        ),
    ]
