"""Activations: what each layer keeps for its backward pass, and what lives only for a while."""

from __future__ import annotations

import numpy as np

from sextant.laws.job import ONE, Column, Job
from sextant.laws.pipeline import in_flight
from sextant.laws.weights import stage_weights


def layer_bytes(job: Job) -> Column:
    """Bytes that one layer keeps of one micro-batch if nothing is recomputed (or the core is).

    Per token, in 16 bits, with `t` the tensor degree and `S` that of sequence parallelism: inputs
    of both norms and of both blocks 8 h/S (and two dropout masks 2 h/S in models with GELU),
    queries, keys and values 2 (a + 2 kv) d/t, the core's output 2 a d/t, the MLP's inner values
    4 f/t (6 f/t with a gate); an unfused core keeps scores, softmax and mask: 5 a s/t. What enters
    a matrix product in fp8 is kept in fp8.
    Source: Korthikanti et al. 2022, arXiv 2205.05198, equation 2 (10 + 24/t + 5 a s/(h t)).
    """
    split = np.where(job.sequence_parallel > 0, job.tp, 1.0)
    dropout = 2.0 * job.dropout
    copies = job.moe_layers / job.layers * job.active_experts * 4.0 * job.hidden / job.tp
    size = 1.0 - 0.25 * job.low_precision
    heads = (job.heads + 2.0 * job.kv_heads) * job.head_width + job.heads * job.value_width
    wide = job.heads * (2.0 * (job.head_width + job.rope_width) + 2.0 * job.value_width)
    heads = np.where(job.latent > 0, wide, heads)
    latent = job.latent * 2.0 * (job.query_rank + job.kv_rank + job.rope_width)
    core = np.where(job.selective > 0, 0.0, 5.0) * job.unfused * job.heads * job.sequence / job.tp
    kept = job.hidden * (8.0 * size + dropout) / split + copies + latent
    inner = 2.0 * job.mlp_matrices * inner_width(job) / job.tp * size
    return job.tokens * (kept + 2.0 * heads / job.tp + inner + core)


def inner_width(job: Job) -> Column:
    """Inner MLP values of a token, mean over layers: a plain MLP's, or those of its experts.

    Source: arithmetic.
    """
    moe = job.moe_layers / job.layers
    visited = job.active_experts + job.shared_experts
    return (1.0 - moe) * job.ffn + moe * visited * job.expert_ffn


def selective_bytes(job: Job) -> Column:
    """The same with PyTorch's selective recompute: every second product's output is kept.

    Besides, the layer's input and the core's output.
    Source: Liang et al. 2024, arXiv 2410.06511, section 3.1 (selective, per operation).
    """
    split = np.where(job.sequence_parallel > 0, job.tp, 1.0)
    made = (job.heads + 2.0 * job.kv_heads) * job.head_width + 2.0 * job.hidden * job.tp / split
    made = made + (job.mlp_matrices - 1.0) * inner_width(job)
    core = 2.0 * job.heads * job.value_width
    return job.tokens * (2.0 * job.hidden / split + (core + made) / job.tp)


def entry_bytes(job: Job) -> Column:
    """A layer's input of one micro-batch: all that full recompute keeps.

    Source: Korthikanti et al. 2022, section 5 (2 s b h).
    """
    split = np.where(job.sequence_parallel > 0, job.tp, 1.0)
    return job.tokens * 2.0 * job.hidden / split


def kept_bytes(job: Job) -> Column:
    """What a layer keeps of one micro-batch with the recompute that the layout states.

    Source: the three laws above.
    """
    kept = np.where((job.native > 0) & (job.selective > 0), selective_bytes(job), layer_bytes(job))
    return np.where(job.full > 0, entry_bytes(job), kept)


def stage_activations(job: Job, layers: Column) -> tuple[Column, Column]:
    """Activations of the first stage, with all its micro-batches in flight, and of the last.

    Source: Korthikanti et al. 2022, section 4.2.3.
    """
    each = layers * kept_bytes(job)
    return in_flight(job) * each, each


def head_bytes(job: Job) -> Column:
    """The last stage's logits: 16 bits, fp32, and their gradient in fp32; and the head's input.

    Current stacks of the chip's maker make the gradient in place.

    Source: Korthikanti et al. 2022, section 4.3 (4 s b h (1 + V/h) / t), plus 16-bit logits.
    """
    each = np.where(job.vendor, 2.0 + 4.0, 2.0 + 4.0 + 4.0)
    each = np.where(job.lean_loss, 2.0, each)
    return job.tokens * (job.vocab / job.tp * each + 4.0 * job.hidden)


def gathered_bytes(job: Job) -> Column:
    """Weights that full sharding holds whole for a while, and their gradients.

    Two layers (this one and the next; the first stacks had one) and the vocabulary's matrix, in 16
    bits, with gradients as they are reduced. ZeRO 2 keeps all weights whole; they are counted as
    weights.
    Source: Zhao et al. 2023, arXiv 2304.11277, section 3.3.
    """
    layers = np.where(job.unfused > 0.0, 1.0, 2.0)
    whole = stage_weights(job, layers, ONE).total
    gradient = np.where(job.gradient_bytes > 0, job.gradient_bytes, 4.0 - 2.0 * job.unfused)
    sharded = (job.zero >= 3.0) & job.resharding & (job.dp * job.cp > 1.0)
    return np.where(sharded, whole * (2.0 + gradient), 0.0)


def working_bytes(job: Job) -> tuple[Column, Column]:
    """What lives only for a while on the first stage, and on the last.

    The layer being recomputed, logits (not at the same time), gathered weights.
    Source: the laws above.
    """
    layer = np.where(job.full > 0, layer_bytes(job), 0.0)
    layer = np.where((job.native > 0) & (job.selective > 0), layer_bytes(job), layer)
    gathered = gathered_bytes(job)
    return layer + gathered, np.maximum(layer, head_bytes(job)) + gathered
