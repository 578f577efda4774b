"""What a step sends, and how much of it computing does not hide, by mesh axis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sextant.laws.collectives import all_reduce_s, all_to_all_s, gather_s, group, send_s
from sextant.laws.constants import Constants
from sextant.laws.job import NOTHING, ONE, Column, Job
from sextant.laws.layer import Work
from sextant.laws.weights import StageWeights, expert_copies, expert_ranks, stage_weights

TENSOR_OVERLAP = 0.5
"""Share of tensor-parallel traffic that asynchronous tensor parallelism hides.

Source: torchtitan, arXiv 2410.06511, section 3 (assumption: half, its rows set no constant).
"""


SEND_OVERLAPPED = 0.3
"""Share of an interleaved schedule's sends that waits, where the stack sends beside computing.

Source: Megatron Core, `overlap_p2p_comm` (assumption: 70% hidden; no row sets it).
"""


def tensor_s(job: Job, constants: Constants) -> Column:
    """Tensor-parallel all-reduces of one layer and micro-batch, forward and backward.

    Two forward and two backward of `tokens h` elements; full recompute repeats the forward ones.
    With sequence parallelism each is a reduce-scatter and an all-gather of the same bytes.
    Source: Shoeybi et al. 2019, section 3; Korthikanti et al. 2022, section 4.2.2.
    """
    message = job.tokens * job.hidden * job.element_bytes
    slow = np.where(job.joined, constants.early_fast_share / constants.fast_share, 1.0)
    ranks = group(job.tp, ONE, job)
    once = all_reduce_s(message, ranks, replace(job, fast_link=job.fast_link * slow), constants)
    shown = np.where(job.vendor, constants.tensor_exposed, 1.0)
    shown = np.where(job.tp_overlap > 0, np.minimum(shown, 1.0 - TENSOR_OVERLAP), shown)
    return (4.0 + 2.0 * job.full) * once * shown


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


def expert_s(job: Job, constants: Constants) -> Column:
    """Dispatch and combine of one MoE layer of mean frequency, forward and backward.

    Each token goes to its k experts and back; a copy a domain at most crosses the network, so of
    D domains it visits `D (1 - (1 - 1/D)^k)`. fp8 dispatches one byte an element. The backward
    pass is the forward's mirror; `expert_exposed` of it all waits.
    Source: DeepSeek-V3, arXiv 2412.19437, section 3.2.2.
    """
    if not np.any(job.experts > 0):
        return np.zeros_like(job.tokens)
    ranks = group(job.ep, ONE, job)
    copies = ranks.domains * (1.0 - (1.0 - 1.0 / ranks.domains) ** job.active_experts)
    within = job.tokens * job.hidden * job.active_experts / job.tp
    across = job.tokens * job.hidden * copies / job.tp
    elements = np.where(ranks.domains > 1.0, across, within)
    dispatch = elements * (2.0 - job.low_precision)
    combine = elements * 2.0
    forward = all_to_all_s(dispatch, ranks, job, constants)
    forward += all_to_all_s(combine, ranks, job, constants)
    waits = constants.routing_imbalance * constants.expert_exposed
    return job.moe_layers / job.layers * (2.0 + job.full) * forward * waits


def stage_send_s(job: Job, constants: Constants) -> Column:
    """Activations and gradients that a stage passes on for one micro-batch, what waits of them.

    `tokens h` elements there and back, for each virtual stage, split by the tensor group.
    Source: Narayanan et al. 2021, sections 2.2 and 4.1 (scatter and gather).
    """
    message = job.tokens * job.hidden * job.element_bytes / job.tp
    crosses = job.tp * job.cp * job.dp * 2.0 > job.fast_domain
    one = send_s(message, crosses, job, constants)
    beside = job.vendor & (job.interleave > 1.0)
    waits = np.where(beside, SEND_OVERLAPPED, 1.0) * constants.pipeline_exposed
    return np.where(job.pp > 1.0, 2.0 * job.interleave * one * waits, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
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
    gradient = np.where(job.gradient_bytes > 0, job.gradient_bytes, 4.0)
    return Gathers(
        weights=gather_s(held * 2.0, ranks, job, constants),
        gradients=gather_s(held * gradient, ranks, job, constants),
    )


def sharded_s(job: Job, constants: Constants, work: Work) -> Column:
    """What full sharding adds to one layer and micro-batch.

    Weights are gathered before the forward pass and, at ZeRO 3, again before the backward pass,
    whose gradients are scattered; under a pipeline once a step. A gather of the next layer runs
    beside the computing of this one: what is longer counts, and the shorter slows it by
    `gather_leak` of itself.
    Source: Zhao et al. 2023, section 3.3 (prefetching).
    """
    move = layer_gathers(job, constants)
    forward = work.forward
    backward = work.backward + job.full * work.forward
    again = np.where(job.zero >= 3.0, move.weights, 0.0) + move.gradients

    def beside(moved: Column, computed: Column) -> Column:
        leak = constants.gather_leak * np.minimum(moved, computed)
        added: Column = np.maximum(0.0, moved - computed) + leak
        return added

    added = beside(move.weights, forward) + beside(again, backward)
    added = np.where(job.unfused > 0, early_sharded_s(job, constants), added)
    each = np.where(job.resharding, 1.0, job.micro_batches)
    return np.where((job.zero >= 2.0) & (job.dp * job.cp > 1.0), added / each, 0.0)


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


def gradients_s(job: Job, constants: Constants, stage: StageWeights) -> Column:
    """Time to reduce a step's gradients and, at ZeRO 1, to gather the new weights; all of it.

    Source: Rajbhandari et al. 2020, section 7.
    """
    width = gradient_width(job)
    common = group(job.dp * job.cp, job.tp, job)
    copies = group(expert_copies(job), expert_ranks(job), job)
    slow = np.where(job.unfused > 0, constants.early_reduce_share / constants.network_share, 1.0)
    job = replace(job, network=job.network * slow)
    plain = all_reduce_s(stage.common * width, common, job, constants)
    plain += all_reduce_s(stage.experts * width, copies, job, constants)
    reduced = np.where(job.unfused > 0, 1.0, 0.5)
    whole = np.where(job.zero >= 1.0, plain * (reduced + 1.0 / width), plain)
    return np.where(job.zero >= 2.0, 0.0, whole)


def gradient_width(job: Job) -> Column:
    """Bytes of a gradient as it is reduced: as stated, else 2 in fp16 stacks and 4 since.

    Source: Megatron-LM's `accumulate-allreduce-grads-in-fp32`, on by default with bf16.
    """
    return np.where(job.gradient_bytes > 0, job.gradient_bytes, 4.0 - 2.0 * job.unfused)
