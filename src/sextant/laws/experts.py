"""Mixture of experts when served: which experts a batch touches, and what travels to them."""

from __future__ import annotations

import math


def split_parameters(
    parameters: float, active: float, experts: float, active_experts: float
) -> tuple[float, float]:
    """(parameters that every token visits, parameters of all routed experts).

    With E experts of which a token visits a, total `D + R` and active `D + R a / E`:
    `R = (total - active) / (1 - a / E)`, at most the total.
    Source: arithmetic on the definition of active parameters.
    """
    visited = active_experts / max(1.0, experts)
    if visited >= 1.0 or active >= parameters:
        return parameters, 0.0
    routed = min(parameters, (parameters - active) / (1.0 - visited))
    return parameters - routed, routed


def touched_fraction(tokens: float, experts: float, active_experts: float) -> float:
    """Expected share of a layer's experts that a batch of tokens touches.

    Each token misses a given expert with `1 - a/E`, so `1 - (1 - a/E)^tokens`: why a decode step
    of a mixture of experts reads more weights as its batch grows.
    Source: occupancy, Feller 1968, section IV.2; routing taken as uniform.
    """
    visited = min(1.0, active_experts / max(1.0, experts))
    if visited >= 1.0:
        return 1.0
    return -math.expm1(tokens * math.log1p(-visited))


def all_to_all_bytes(
    tokens: float,
    active_experts: float,
    hidden: float,
    dispatch_bytes: float,
    combine_bytes: float,
    members: float,
) -> float:
    """Bytes that leave one member in one layer: its tokens go to their experts and come back.

    `tokens x a x h x (dispatch + combine) x (g - 1) / g`, the share 1/g staying at home.
    Source: Lepikhin et al. 2020 (GShard), section 3; DeepEP counts its bytes so.
    """
    away = (members - 1.0) / members if members > 1.0 else 0.0
    return tokens * active_experts * hidden * (dispatch_bytes + combine_bytes) * away


def all_to_all_s(
    sent_bytes: float, link_bytes_per_s: float, latency_s: float, imbalance: float = 1.0
) -> float:
    """Time of a dispatch and a combine: two latencies, and the bytes of the busiest member.

    `2 x latency + imbalance x bytes / link`, imbalance the busiest member's share over the mean.
    Known error: within 15% of DeepEP's low-latency kernels on 64 to 256 H800.
    Source: the latency-bandwidth model; DeepEP's tables.
    """
    if sent_bytes <= 0.0:
        return 0.0
    return 2.0 * latency_s + imbalance * sent_bytes / link_bytes_per_s
