"""Serving a transformer: prefill, decode steps, exchange, and requests a second."""

from __future__ import annotations


def forward_flops(
    active_parameters: float, tokens: float, layers: float, hidden: float, context: float
) -> float:
    """FLOPs of a forward pass of `tokens` that each look at `context` tokens on average.

    2 for each parameter and token; attention adds 4 for each layer, hidden unit, token and token
    looked at (QK and AV): `2 P T + 4 L h T c`.
    Source: Kaplan et al. 2020, table 1 (2 N + 2 L s h a token, halved by the causal mask).
    """
    return 2.0 * active_parameters * tokens + 4.0 * layers * hidden * tokens * context


def roofline_s(
    flops: float, read_bytes: float, peak_flops_per_s: float, bytes_per_s: float
) -> float:
    """Time of work that is bound by arithmetic or by memory, whichever is slower.

    Source: Williams, Waterman and Patterson 2009.
    """
    return max(flops / peak_flops_per_s, read_bytes / bytes_per_s)


def all_reduce_s(
    message_bytes: float, members: float, link_bytes_per_s: float, latency_s: float
) -> float:
    """Time of one all-reduce: `latency + 2 (t - 1) / t x bytes / link`.

    A reduce-scatter and an all-gather each move (t - 1) / t of the message over every link.
    Source: Thakur, Rabenseifner and Gropp 2005, section 3.5.
    """
    if members <= 1.0:
        return 0.0
    return latency_s + 2.0 * (members - 1.0) / members * message_bytes / link_bytes_per_s


def tensor_parallel_exchange_s(
    layers: float,
    tokens: float,
    hidden: float,
    element_bytes: float,
    members: float,
    link_bytes_per_s: float,
    latency_s: float,
) -> float:
    """Time of a forward pass's all-reduces: two a layer, of `tokens x hidden` each.

    One after the attention and one after the MLP.
    Source: Shoeybi et al. 2019 (Megatron-LM), section 3.
    """
    message = tokens * hidden * element_bytes
    return 2.0 * layers * all_reduce_s(message, members, link_bytes_per_s, latency_s)


def requests_per_s(prefill_s: float, output_tokens: float, step_s: float, batch: float) -> float:
    """Requests that one replica finishes a second with `batch` of them in flight.

    Each needs its prefill alone and shares `output` decode steps with the batch:
    `1 / (prefill + output x step / batch)`.
    Source: arithmetic of continuous batching (Yu et al. 2022, Orca).
    """
    return 1.0 / (prefill_s + output_tokens * step_s / max(1.0, batch))


def request_s(
    prefill_s: float, output_tokens: float, step_s: float, requests_per_s_here: float
) -> float:
    """Time from a request's turn to its last token, while others' prefills interrupt its steps.

    Prefills take the share `u = rate x prefill` of the replica, so steps take `1 / (1 - u)` as
    long; u is taken as at most 0.95.
    Source: processor sharing; Agrawal et al. 2024 (Sarathi-Serve) measures the same stalls.
    """
    interrupted = min(0.95, requests_per_s_here * prefill_s)
    return prefill_s + output_tokens * step_s / (1.0 - interrupted)
