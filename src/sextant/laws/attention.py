"""The attention core: scores, softmax and values, fused or not."""

from __future__ import annotations

import numpy as np

from sextant.laws.constants import Constants
from sextant.laws.job import Column, Job

FUSED_HALF_TOKENS = (600.0, 300.0)
"""Sequence length at which a fused kernel reaches half its speed on long ones: early ones, others.

Source: Dao 2023, arXiv 2307.08691, figure 5 (A100, 512 to 16k tokens, head width 128: the early
kernels in it); Shah et al. 2024, arXiv 2407.08608, figure 5 (H100, causal, likewise:
FlashAttention-2 and cuDNN within 5% from 1k tokens on).
"""
FUSED_HALF_WIDTH = 32.0
"""Head width, likewise, relative to 128; early kernels were as fast at 64.

Source: the same figure, head width 64 beside 128.
"""
SOFTMAX_FORWARD_BYTES = 8.0
"""Bytes a score that an unfused softmax with dropout moves forward: 2 + 2, then 2 + 2.

Source: fp16 reads and writes counted (Korthikanti et al. 2022, section 4.1, for what is kept).
"""
SOFTMAX_BACKWARD_BYTES = 11.0
"""The same backward: dropout 2 + 1 + 2, softmax 2 + 2 + 2. Source: counted likewise."""


def keys_per_query(job: Job) -> tuple[Column, Column]:
    """Mean number of keys that a query sees under a causal mask: all layers' mean, and full.

    `s/2`, or with a window `w (1 - w/2s)`.
    Source: count of the mask's ones.
    """
    seen = job.sequence / 2.0
    window = np.where(job.window > 0, np.minimum(job.window, job.sequence), job.sequence)
    windowed = window * (1.0 - window / (2.0 * job.sequence))
    share = job.window_layers / job.layers
    return (1.0 - share) * seen + share * windowed, seen


def fused_attention_s(job: Job, constants: Constants) -> tuple[Column, Column]:
    """Forward and backward of a fused causal kernel, for one layer and micro-batch of a GPU.

    Forward: two products of `2 d` FLOPs per query and key that the mask leaves; backward: five.
    Context ranks take the keys in pieces of their own length, a kernel a piece.
    Source: Dao et al. 2022, arXiv 2205.14135, appendix B; speeds: facts of the generation.
    """
    keys, _ = keys_per_query(job)
    score, value = job.head_width + job.rope_width, job.value_width
    pairs = job.tokens * keys * job.heads / job.tp
    width = np.minimum(score, 128.0)
    slope = width / (width + FUSED_HALF_WIDTH) * (128.0 + FUSED_HALF_WIDTH) / 128.0
    slope = np.where(job.early > 0, 1.0, slope)
    reach = job.sequence / job.cp
    fill = reach / (reach + np.where(job.early > 0, *FUSED_HALF_TOKENS))
    rate = job.peak_flops_per_s * slope * fill
    forward = 2.0 * pairs * (score + value) / (rate * job.attention_forward)
    backward = pairs * (6.0 * score + 4.0 * value) / (rate * job.attention_backward)
    return forward + constants.kernel_s, backward + 2.0 * constants.kernel_s


def unfused_attention_s(job: Job, constants: Constants) -> tuple[Column, Column]:
    """Forward and backward of batched products and a separate softmax, all scores stored.

    Scores are computed in full, mask or not. Each of the two products moves `s^2` scores a head
    and does `2 d s^2` FLOPs: the roofline decides. A head width that is no multiple of 8 cannot
    use tensor cores and falls to the fp32 units.
    Source: Narayanan et al. 2021, section 4.2; NVIDIA, Deep Learning Performance: GPU Performance
    Background (alignment to 16 bytes).
    """
    scores = job.tokens * job.sequence * job.heads / job.tp
    aligned = np.mod(job.head_width, 8.0) == 0.0
    slow = job.scalar_flops_per_s * constants.misaligned_share
    rate = np.where(aligned, job.wide_flops_per_s * constants.batched_share, slow)
    moved = 2.0 * scores + 4.0 * job.tokens * job.heads / job.tp * job.head_width
    one = np.maximum(2.0 * scores * job.head_width / rate, moved / job.bandwidth)
    stream = job.bandwidth * constants.stream_share
    forward = 2.0 * one + scores * SOFTMAX_FORWARD_BYTES / stream
    backward = 4.0 * one + scores * SOFTMAX_BACKWARD_BYTES / stream
    return forward + 4.0 * constants.kernel_s, backward + 6.0 * constants.kernel_s


def attention_s(job: Job, constants: Constants) -> tuple[Column, Column]:
    """Forward and backward of the attention core with the kernel that the job's software has.

    Source: the two laws above; which one, `era_columns` says.
    """
    fused, unfused = fused_attention_s(job, constants), unfused_attention_s(job, constants)
    forward = np.where(job.unfused > 0, unfused[0], fused[0])
    return forward, np.where(job.unfused > 0, unfused[1], fused[1])
