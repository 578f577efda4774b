"""Activations: what each layer keeps for its backward pass, and what lives only for a while."""

from __future__ import annotations

import numpy as np

from sextant.laws.job import NOTHING, Column, Job
from sextant.laws.matmul import gradient_width
from sextant.laws.pipeline import fullest_stage_layers, in_flight
from sextant.laws.weights import stage_weights


def layer_bytes(job: Job) -> Column:
    """Bytes that one layer keeps of one micro-batch if nothing is recomputed (or the core is).

    Per token, in 16 bits, with `t` the tensor degree and `S` that of sequence parallelism: inputs
    of both norms and of both blocks 8 h/S (and two dropout masks 2 h/S in models with GELU),
    queries, keys and values 2 (a + 2 kv) d/t, the core's output 2 a d/t, the MLP's inner values
    4 f/t (6 f/t with a gate); an unfused core keeps scores, softmax and mask: 5 a s/t. What enters
    a matrix product in fp8 is kept in fp8 (besides, where the core or the activation needs it in
    16 bits). Each expert that a token visits keeps a copy of its input, not its output: it is
    weighted before the second product. With latent attention selective recompute repeats the
    norms, the up-projections and the activation, so that latents stand for queries, keys and
    values, and what enters the blocks and the second product is not kept. PyTorch's own tensor
    parallelism keeps the gathered inputs of both blocks where it shards weights.
    Source: Korthikanti et al. 2022, arXiv 2205.05198, equation 2 (10 + 24/t + 5 a s/(h t));
    DeepSeek-V3, arXiv 2412.19437, section 3.2.3; Megatron Core, moe (probabilities go into the
    activation); PyTorch, torch.distributed.tensor.parallel (ColwiseParallel).
    """
    split = np.where(job.sequence_parallel > 0, job.tp, 1.0)
    dropout = 2.0 * job.dropout
    low = job.low_precision
    copies = job.moe_layers / job.layers * job.active_experts * (2.0 - low) * job.hidden / job.tp
    standard = 2.0 * (job.heads + 2.0 * job.kv_heads) * job.head_width
    wide = 2.0 * job.heads * (2.0 * (job.head_width + job.rope_width) + job.value_width)
    queries = np.where(job.latent > 0, wide, standard)
    again = (job.latent > 0) & (job.selective > 0)
    queries = np.where(again, 0.0, queries)
    heads = queries + (2.0 + low) * job.heads * job.value_width
    latent = job.latent * 2.0 * (job.query_rank + job.kv_rank + job.rope_width)
    core = np.where(job.selective > 0, 0.0, 5.0) * job.unfused * job.heads * job.sequence / job.tp
    norms = job.hidden * (4.0 + dropout) / split
    gathered = (job.native > 0.0) & (job.zero >= 3.0)
    entries = job.hidden * (4.0 - 2.0 * low) / np.where(gathered, 1.0, split)
    entries = np.where(again, 0.0, entries)
    gates = job.mlp_matrices - 1.0
    inner = (2.0 * gates + np.where(again, 0.0, 2.0 - low)) * inner_width(job)
    return job.tokens * (norms + entries + copies + latent + (heads + inner) / job.tp + core)


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


def head_bytes(job: Job) -> Column:
    """The last stage's logits, and the head's input.

    The maker's stacks make the gradient in place of the fp32 copy of the 16-bit logits; PyTorch's
    loss keeps log-probabilities, their gradient and that of the logits, each in fp32, and split
    over tensor ranks exponentials besides.
    Source: Korthikanti et al. 2022, section 4.3 (4 s b h (1 + V/h) / t), plus 16-bit logits;
    torch.nn.functional.cross_entropy (log_softmax and nll_loss, counted), and
    torch.distributed.tensor.parallel.loss_parallel.
    """
    own = np.where(job.tp > 1.0, 16.0, 12.0)
    each = np.where(job.vendor, 2.0 + 4.0, np.where(job.native > 0, own, 2.0 + 4.0 + 4.0))
    each = np.where(job.lean_loss, 2.0, each)
    return job.tokens * (job.vocab / job.tp * each + 4.0 * job.hidden)


def gathered_bytes(job: Job) -> Column:
    """Weights that full sharding holds whole for a while, and their gradients.

    Two layers (this one and the next; the first stacks had one) and the vocabulary's matrices (the
    first stacks one of them), in 16 bits, with gradients as they are reduced. ZeRO 2 keeps all
    weights whole; they are counted as weights. Under a pipeline it holds the gradients of a
    virtual stage whole until they are scattered.
    Source: Zhao et al. 2023, arXiv 2304.11277, section 3.3; torchtitan (embedding and head are
    the root's, which stays gathered).
    """
    layers = np.where(job.unfused > 0.0, 1.0, 2.0)
    tables = np.where(job.native > 0.0, 2.0 - job.tied, 1.0)
    whole = stage_weights(job, layers, tables).total
    spread = job.dp * job.cp > 1.0
    sharded = (job.zero >= 3.0) & job.resharding & spread
    chunk = stage_weights(job, fullest_stage_layers(job) / job.interleave, NOTHING).total
    waiting = (job.zero == 2.0) & ~job.resharding & spread
    width = gradient_width(job)
    return np.where(sharded, whole * (2.0 + width), np.where(waiting, chunk * width, 0.0))


def output_bytes(job: Job) -> Column:
    """Outputs of the first stage that wait for their gradients, one a micro-batch in flight.

    The maker's current stacks free them once sent.
    Source: Megatron-LM, `deallocate_pipeline_outputs` (since 2022); DeepSpeed's pipeline engine
    and torch.distributed.pipelining keep them until the backward pass.
    """
    kept = (job.pp > 1.0) & ~job.vendor
    return np.where(kept, in_flight(job) * entry_bytes(job), 0.0)


BUCKET_ELEMENTS = 5e8
"""Gradients that the first ZeRO 1 under a pipeline gathers into one message.

Source: DeepSpeed, `reduce_bucket_size`, its default.
"""


def bucket_bytes(job: Job) -> Column:
    """The message that the first stacks with 3D layouts and ZeRO 1 fill with 16-bit gradients.

    Source: DeepSpeed, runtime/zero/stage_1_and_2.py.
    """
    return np.where(job.joined & (job.gradient_bytes <= 2.0), 2.0 * BUCKET_ELEMENTS, 0.0)


def summand_bytes(job: Job) -> Column:
    """An fp32 copy of one gradient as those stacks add it to its sum: the vocabulary's at most.

    Source: DeepSpeed, runtime/bf16_optimizer.py (`update_hp_grads`).
    """
    summed = job.joined & (job.gradient_bytes > 2.0)
    return np.where(summed, 4.0 * job.vocab * job.hidden / job.tp, 0.0)


def working_bytes(job: Job) -> tuple[Column, Column]:
    """What lives only for a while on the first stage, and on the last.

    The layer being recomputed, a gradient being summed or logits (not at the same time), gathered
    weights, gradients' messages, sent outputs.
    Source: the laws above.
    """
    again = (job.full > 0) | ((job.native > 0) & (job.selective > 0))
    layer = np.maximum(np.where(again, layer_bytes(job), 0.0), summand_bytes(job))
    messages = gathered_bytes(job) + bucket_bytes(job)
    first = layer + messages + output_bytes(job)
    return first, np.maximum(layer, head_bytes(job)) + messages
