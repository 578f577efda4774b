"""What a step sends, and how much of it computing does not hide, by mesh axis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sextant.laws.collectives import all_reduce_s, all_to_all_s, gather_s, group, send_s
from sextant.laws.constants import Constants
from sextant.laws.job import NOTHING, ONE, Column, Job
from sextant.laws.layer import Work
from sextant.laws.matmul import gradient_width
from sextant.laws.overlap import beside_s, chunked_s
from sextant.laws.weights import stage_weights

SEND_OVERLAPPED = 0.3
"""Share of an interleaved schedule's sends that waits, where the stack sends beside computing.

Source: Megatron Core, `overlap_p2p_comm` (assumption: 70% hidden; no row sets it).
"""


def tensor_s(job: Job, constants: Constants, work: Work) -> Column:
    """Tensor-parallel all-reduces of one layer and micro-batch, what waits of them.

    Two forward and two backward of `tokens h` elements; full recompute repeats the forward ones.
    With sequence parallelism each is a reduce-scatter and an all-gather of the same bytes.
    Where it is said so, and unless it is denied in the maker's stacks since Hopper, the pieces of
    one product are sent while those of another are multiplied: one piece of each scatter is left
    over. On older chips it was done on request (MegaScale, arXiv 2402.15627, section 3.2).
    Source: Shoeybi et al. 2019, section 3; Korthikanti et al. 2022, section 4.2.2; NVIDIA,
    Transformer Engine, communication overlap (ring exchange, pipelined reduce-scatter).
    """
    message = job.tokens * job.hidden * job.element_bytes
    slow = np.where(job.joined, constants.early_fast_share / constants.fast_share, 1.0)
    ranks = group(job.tp, ONE, job)
    once = all_reduce_s(message, ranks, replace(job, fast_link=job.fast_link * slow), constants)
    whole = (4.0 + 2.0 * job.full) * once
    products = work.matmul_forward * (1.0 + job.full) + work.matmul_backward
    overlapped = chunked_s(whole, products, 2.0 * job.tp, constants)
    usual = job.vendor & (job.sequence_parallel > 0.0) & (job.throttled > 0.0)
    beside = np.where(np.isnan(job.tp_overlap), usual, job.tp_overlap > 0.0)
    return np.where(beside, np.minimum(overlapped, whole), whole)


def context_s(job: Job, constants: Constants, work: Work) -> Column:
    """Keys and values that context parallelism passes round, not hidden by the attention core.

    Each rank receives the keys and values of the whole sequence forward, those and their
    gradients backward. Source: Liu et al. 2023, arXiv 2310.01889 (ring attention).
    """
    kv = 2.0 * np.maximum(job.kv_heads / job.tp, 1.0) * job.head_width
    message = job.tokens * job.cp * kv * job.element_bytes
    once = gather_s(message, group(job.cp, job.tp, job), job, constants)
    forward = np.maximum(0.0, once - work.attention_forward)
    backward = np.maximum(0.0, 2.0 * once - work.attention_backward)
    return (1.0 + job.full) * forward + backward


def expert_s(job: Job, constants: Constants, work: Work) -> Column:
    """Dispatch and combine of one MoE layer of mean frequency, forward and backward.

    Each token goes to its k experts and back; a copy a domain at most crosses the network, so of
    D domains it visits `D (1 - (1 - 1/D)^k)`. fp8 dispatches one byte an element. The backward
    pass is the forward's mirror. `expert_exposed` of it all waits, but where it crosses the
    network under an interleaved pipeline, whose stacks send one micro-batch's tokens beside
    another's computing.
    Source: DeepSeek-V3, arXiv 2412.19437, sections 3.2.1 (DualPipe) and 3.2.2; NVIDIA, Megatron
    Bridge user guide (`overlap_moe_expert_parallel_comm`, which needs virtual stages).
    """
    if not np.any(job.experts > 0):
        return np.zeros_like(job.tokens)
    ranks = group(job.ep, ONE, job)
    copies = ranks.domains * (1.0 - (1.0 - 1.0 / ranks.domains) ** job.active_experts)
    each = job.tokens * job.hidden / job.tp
    # Where one domain holds the group nothing crosses, whatever the copies.
    crossing = each * np.minimum(copies, job.active_experts)
    forward = NOTHING
    for width in (2.0 - job.low_precision, 2.0):
        sent = each * job.active_experts * width
        forward = forward + all_to_all_s(
            sent, ranks, job, constants, crossing_bytes=crossing * width
        )
    moved = job.moe_layers / job.layers * (2.0 + job.full) * forward * constants.routing_imbalance
    computed = work.forward * (1.0 + job.full) + work.backward
    beside = job.vendor & (job.pp > 1.0) & (job.interleave > 1.0) & (ranks.domains > 1.0)
    hidden = beside_s(moved, computed, constants)
    return np.where(beside, np.minimum(hidden, moved), moved * constants.expert_exposed)


def stage_send_s(job: Job, constants: Constants) -> Column:
    """Activations and gradients that a stage passes on for one micro-batch, what waits of them.

    `tokens h` elements there and back, for each virtual stage, split by the tensor group. The
    slowest hop of the pipeline sets the pace: over the network as soon as the job spans domains.
    Source: Narayanan et al. 2021, sections 2.2 and 4.1 (scatter and gather).
    """
    message = job.tokens * job.hidden * job.element_bytes / job.tp
    crosses = job.gpus > job.fast_domain
    one = send_s(message, crosses, job, constants)
    beside = job.vendor & (job.interleave > 1.0)
    waits = np.where(beside, SEND_OVERLAPPED, 1.0) * constants.pipeline_exposed
    return np.where(job.pp > 1.0, 2.0 * job.interleave * one * waits, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Gathers:
    """Time to gather one layer's weights, and to scatter its gradients, under full sharding."""

    weights: Column
    gradients: Column


def layer_gathers(job: Job, constants: Constants) -> Gathers:
    """FSDP's collectives of one layer, over data and context ranks.

    Weights travel in the precision of the products' inputs (16 bits), gradients in fp32 unless
    the layout says otherwise.
    Source: Rajbhandari et al. 2020, arXiv 1910.02054, section 7; Zhao et al. 2023,
    arXiv 2304.11277.
    """
    held = stage_weights(job, ONE, NOTHING).total
    ranks = group(job.dp * job.cp, job.tp, job)
    gradient = gradient_width(job)
    return Gathers(
        weights=gather_s(held * 2.0, ranks, job, constants),
        gradients=gather_s(held * gradient, ranks, job, constants),
    )


def sharded_s(job: Job, constants: Constants, work: Work) -> Column:
    """What full sharding adds to one layer and micro-batch.

    Weights are gathered before the forward pass and, at ZeRO 3, again before the backward pass,
    whose gradients are scattered; the next layer's gather runs beside this one's computing. Under
    a pipeline weights are gathered once a step and kept, and gradients are scattered once where
    weights are sharded too (they add up whole), else whenever a virtual stage has done its round.
    Source: Zhao et al. 2023, arXiv 2304.11277, section 3.3 (prefetching); Llama Team 2024, arXiv
    2407.21783, section 3.3.2 (optimizer and gradients sharded under a pipeline).
    """
    move = layer_gathers(job, constants)
    forward = work.forward
    backward = work.backward + job.full * work.forward
    each = np.where(job.resharding, 1.0, 1.0 / job.micro_batches)
    rounds = np.where(job.resharding | (job.zero < 3.0), scatter_rounds(job), 1.0)
    scatters = rounds / job.micro_batches
    weights = np.where(job.zero >= 3.0, move.weights, 0.0)
    together = beside_s(weights + move.gradients, backward, constants)
    behind = backward / scatters
    apart = scatters * beside_s(move.gradients, behind, constants)
    added = each * beside_s(move.weights, forward, constants)
    added = added + np.where(job.resharding, together, apart)
    added = np.where(job.unfused > 0, each * early_sharded_s(job, constants), added)
    return np.where((job.zero >= 2.0) & (job.dp * job.cp > 1.0), added, 0.0)


def scatter_rounds(job: Job) -> Column:
    """Times in a step that a layer's gradients are scattered.

    Once a micro-batch; an interleaved schedule sends each virtual stage p micro-batches in a row,
    whose gradients add up whole before they are scattered.
    Source: Narayanan et al. 2021, section 2.2.2 (the order of virtual stages).
    """
    in_a_row = np.where((job.pp > 1.0) & (job.interleave > 1.0), job.pp, 1.0)
    return np.maximum(1.0, job.micro_batches / in_a_row)


def early_sharded_s(job: Job, constants: Constants) -> Column:
    """The same for the first stacks that sharded weights: one card's bandwidth, nothing hidden.

    Three passes of a layer's 16-bit weights enter each domain over a share of its links.
    Source: Narayanan et al. 2021, Table 2 (ZeRO-3 beside 3D layouts); Zhang et al. 2022,
    arXiv 2205.00119, sections 2 and 5 (why full sharding does not scale with partitions).
    """
    held = stage_weights(job, ONE, NOTHING).total
    ranks = group(job.dp * job.cp, job.tp, job)
    link = np.where(
        ranks.domains > 1.0,
        job.network * job.fast_domain * constants.early_network_share,
        job.fast_link * constants.fast_share,
    )
    passes = 2.0 + np.where(job.zero >= 3.0, 1.0, 0.0)
    return passes * held * job.element_bytes * (1.0 - ranks.local / ranks.size) / link
