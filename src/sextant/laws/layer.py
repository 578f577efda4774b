"""One transformer layer, and the vocabulary, on one GPU and one micro-batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sextant.laws.attention import attention_s
from sextant.laws.constants import Constants
from sextant.laws.job import NOTHING, Column, Job
from sextant.laws.matmul import matmul_s, sustained, training_matmul_s
from sextant.laws.weights import expert_ranks

LOSS_BYTES = 30.0
"""Bytes a logit that the loss moves: cast up 6, maximum 4, exponent and sum 8, backward 8, cast 6.

Source: count of the passes of Megatron-LM's vocabulary-parallel cross entropy.
"""
FUSED_LOSS_BYTES = 8.0
"""The same in a fused kernel: one read and one write each way. Source: arithmetic."""
COMPILED_LOSS_BYTES = 12.0
"""The same where a compiler fuses it: two reads forward (maximum, then sum), one read and one write
backward, and the write of the logits that both products read. Source: count of the passes over
16-bit logits that PyTorch's compiler makes of a softmax and its gradient (10 to 14).
"""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Work:
    """Seconds of computing, forward and backward, by kind."""

    matmul_forward: Column
    matmul_backward: Column
    attention_forward: Column
    attention_backward: Column
    stream_forward: Column
    stream_backward: Column
    lifting: Column
    """Of `matmul_forward`: products that lift latents to all heads."""

    @property
    def forward(self) -> Column:
        """All of the forward pass."""
        return self.matmul_forward + self.attention_forward + self.stream_forward

    @property
    def backward(self) -> Column:
        """All of the backward pass, without recompute."""
        return self.matmul_backward + self.attention_backward + self.stream_backward


def projections_s(
    job: Job, constants: Constants, up: tuple[Column, Column]
) -> tuple[Column, Column]:
    """Matrix products around the attention core, forward and backward; `up` lift latents.

    Source: `TransformerShape.attention_parameters`.
    """
    t, h, d, tp = job.tokens, job.hidden, job.head_width, job.tp
    kv = np.maximum(job.kv_heads / tp, 1.0)
    standard = training_matmul_s(t, (job.heads / tp + 2.0 * kv) * d, h, job, constants)
    out = training_matmul_s(t, h, job.heads * job.value_width / tp, job, constants)
    if not np.any(job.latent > 0):
        return standard[0] + out[0], standard[1] + out[1]
    down = job.query_rank + job.kv_rank + job.rope_width
    first = training_matmul_s(t, down, h, job, constants)
    is_latent = job.latent > 0
    forward = np.where(is_latent, first[0] + up[0], standard[0]) + out[0]
    backward = np.where(is_latent, first[1] + up[1], standard[1]) + out[1]
    return forward, backward


def up_projections_s(job: Job, constants: Constants) -> tuple[Column, Column]:
    """Products that lift latent queries, and latent keys with values, to all heads; both passes.

    Without a latent for queries they come from the width itself.
    Source: DeepSeek-V2, arXiv 2405.04434, section 2.1.
    """
    if not np.any(job.latent > 0):
        return NOTHING, NOTHING
    t, heads = job.tokens, job.heads / job.tp
    rank = np.where(job.query_rank > 0, job.query_rank, job.hidden)
    wide = heads * (job.head_width + job.rope_width)
    queries = training_matmul_s(t, wide, rank, job, constants)
    keys = training_matmul_s(
        t, heads * (job.head_width + job.value_width), np.maximum(job.kv_rank, 1.0), job, constants
    )
    return queries[0] + keys[0], queries[1] + keys[1]


def mlp_s(job: Job, constants: Constants, width: Column, rows: Column) -> tuple[Column, Column]:
    """Matrix products of an MLP of local `width` over `rows` tokens.

    Source: Shazeer 2020, arXiv 2002.05202 (three matrices); Vaswani et al. 2017 (two).
    """
    up = training_matmul_s(rows, (job.mlp_matrices - 1.0) * width, job.hidden, job, constants)
    down = training_matmul_s(rows, job.hidden, width, job, constants)
    return up[0] + down[0], up[1] + down[1]


def experts_s(job: Job, constants: Constants) -> tuple[Column, Column]:
    """Grouped products of the routed experts of one GPU, and the shared experts.

    A GPU's experts get `tokens k / tp` rows on average; the fullest gets more
    (`routing_imbalance`). Each expert is a product of its own, its rows padded to whole tiles,
    its weights read whatever the rows; `EXPERT_STREAMS` start at once.
    Source: Gale et al. 2022, arXiv 2211.15841.
    """
    rows = job.tokens * job.active_experts / job.tp * constants.routing_imbalance
    width = np.where(job.ep > 1.0, job.expert_ffn, job.expert_ffn / job.tp)
    rows = np.where(job.ep > 1.0, rows, rows * job.tp)
    local = np.maximum(1.0, job.experts / expert_ranks(job) * np.where(job.ep > 1, 1.0, job.tp))
    beside = replace(constants, kernel_s=constants.kernel_s / EXPERT_STREAMS)
    one = mlp_s(job, beside, width, rows / local)
    routed = (local * one[0], local * one[1])
    shared = mlp_s(
        job, constants, np.maximum(1.0, job.shared_experts * job.expert_ffn / job.tp), job.tokens
    )
    has = np.where(job.shared_experts > 0, 1.0, 0.0)
    forward = routed[0] / constants.grouped_share + has * shared[0]
    return forward, routed[1] / constants.grouped_share + has * shared[1]


EXPERT_STREAMS = 4.0
"""Experts' products that start at once. Source: Transformer Engine, GroupedLinear."""
STREAM_KERNELS = (8.0, 12.0)
"""Elementwise kernels of a layer, forward and backward, each with a gap before it.

Source: count of Transformer Engine's layer (2 norms, rotation, 2 sums, activation, casts).
"""
EAGER_NORM = 4.5
"""Elementwise traffic on the width of an eager SwiGLU layer over a fused one.

Norms in fp32 take six kernels and about 30 bytes an element forward, sums 6; fused 4 and 3.
Source: count of the kernels of torch.nn.RMSNorm in its composite form.
"""
EAGER_ACTIVATION = 1.6
"""The same of the gate: product and SiLU apart. Source: count of their kernels."""
EAGER_ROTATION = 5.0
"""The same of rotary embeddings in complex fp32. Source: count of torchtitan's kernels."""


def stream_bytes(job: Job) -> tuple[Column, Column]:
    """Bytes a layer's elementwise kernels move for one token, forward and backward.

    Norms read and write the width (4 bytes an element in 16 bits), residual sums read two and
    write one, dropout (models with GELU) adds its mask; the activation reads what the first
    matrix wrote and writes what the second reads; rotation and splitting of heads read and write
    queries, keys and values (twice where rotated and latent parts are joined). Sequence
    parallelism splits the first part, tensor the others.
    Source: count of the kernels in Megatron-LM's layer.
    """
    dropout = job.dropout
    split = np.where(job.sequence_parallel > 0, job.tp, 1.0)
    gates = job.mlp_matrices - 1.0
    moe = job.moe_layers / job.layers
    routed = np.maximum(job.active_experts + job.shared_experts, 0.0) * job.expert_ffn
    width = (1.0 - moe) * job.ffn + moe * routed
    heads = (job.heads + 2.0 * job.kv_heads) * job.head_width
    joined = 2.0 * job.heads * (2.0 * (job.head_width + job.rope_width) + job.value_width)
    heads = np.where(job.latent > 0, joined, heads)
    permute = moe * job.active_experts * job.hidden / job.tp * 12.0
    eager = job.native * (1.0 - job.compiled)
    on_width = job.hidden / split * (1.0 + eager * (EAGER_NORM - 1.0))
    inner = width / job.tp * (1.0 + eager * (EAGER_ACTIVATION - 1.0))
    rotated = 4.0 * heads / job.tp * (1.0 + eager * (EAGER_ROTATION - 1.0))
    shared = rotated + permute
    forward = on_width * (14.0 + 6.0 * dropout) + (2.0 + 2.0 * gates) * inner
    backward = on_width * (18.0 + 8.0 * dropout) + (2.0 + 4.0 * gates) * inner
    return forward + shared, backward + shared


def layer_work(job: Job, constants: Constants) -> Work:
    """Computing of one layer of mean kind on one micro-batch.

    Source: the sum of this file's and `attention`'s laws.
    """
    up = up_projections_s(job, constants)
    around, core = projections_s(job, constants, up), attention_s(job, constants)
    mlp = mlp_s(job, constants, job.ffn / job.tp, job.tokens)
    if np.any(job.experts > 0):
        moe, experts = job.moe_layers / job.layers, experts_s(job, constants)
        mlp = (
            (1.0 - moe) * mlp[0] + moe * experts[0],
            (1.0 - moe) * mlp[1] + moe * experts[1],
        )
    passes = np.where(job.early > 0, constants.eager_passes, 1.0)
    stream = job.bandwidth * constants.stream_share / passes
    moved = stream_bytes(job)
    return Work(
        matmul_forward=around[0] + mlp[0],
        matmul_backward=around[1] + mlp[1],
        attention_forward=core[0],
        attention_backward=core[1],
        stream_forward=job.tokens * moved[0] / stream + STREAM_KERNELS[0] * constants.kernel_s,
        stream_backward=job.tokens * moved[1] / stream + STREAM_KERNELS[1] * constants.kernel_s,
        lifting=up[0],
    )


def vocabulary_s(job: Job, constants: Constants) -> Column:
    """Output matrix and loss of one micro-batch, forward and backward, in the wide precision.

    Extra prediction layers use the same head once more each.
    Source: Narayanan et al. 2021, appendix (`6 b s h V` FLOPs); `LOSS_BYTES`.
    """
    t, h, v = job.tokens, job.hidden, job.vocab / job.tp
    rate = sustained(job.wide_flops_per_s, job, constants)
    products = (
        matmul_s(t, v, h, job, constants, flops_per_s=rate)
        + matmul_s(t, h, v, job, constants, flops_per_s=rate)
        + matmul_s(h, v, t, job, constants, flops_per_s=rate)
    )
    each = np.where(job.compiled > 0.0, COMPILED_LOSS_BYTES, LOSS_BYTES)
    each = np.where(job.lean_loss, FUSED_LOSS_BYTES, each)
    loss = t * v * each / (job.bandwidth * constants.stream_share)
    return (1.0 + job.mtp_layers) * (products + loss)
