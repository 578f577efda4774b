"""Matrix products: the roofline, and what tiles and depth take away from it."""

from __future__ import annotations

import numpy as np

from sextant.laws.constants import Constants
from sextant.laws.job import Column, Job


def roofline_s(
    flops: Column, moved_bytes: Column, flops_per_s: Column, bandwidth: Column
) -> Column:
    """The least time for so much arithmetic and so many bytes: the slower of both.

    Source: Williams, Waterman, Patterson 2009, CACM 52(4).
    """
    return np.maximum(flops / flops_per_s, moved_bytes / bandwidth)


def matmul_s(
    rows: Column,
    columns: Column,
    depth: Column,
    job: Job,
    constants: Constants,
    *,
    flops_per_s: Column,
    element_bytes: Column | float = 2.0,
    result_bytes: Column | float = 2.0,
) -> Column:
    """Time of a `rows x depth` by `depth x columns` product.

    The roofline of `2 m n k` FLOPs, with two losses. Tiles: the output is cut into tiles that the
    chip's processors take in waves; of the last, unfilled wave the share `wave_rounding` is felt.
    Depth: each tile's start and end cost as much as `depth_half` more steps.
    Source: NVIDIA, Matrix Multiplication Background User's Guide (tile and wave quantization).
    """
    flops = 2.0 * rows * columns * depth
    tiles = np.ceil(rows / job.tile_rows) * np.ceil(columns / job.tile_columns)
    exact = rows * columns / (job.tile_rows * job.tile_columns) / job.processors
    waves = np.ceil(tiles / job.processors)
    felt = 1.0 + constants.wave_rounding * np.minimum(1.0, waves / np.maximum(exact, 1e-9) - 1.0)
    loss = felt * (1.0 + constants.depth_half / np.maximum(depth, 1.0))
    moved = element_bytes * (rows * depth + depth * columns) + result_bytes * rows * columns
    return roofline_s(flops * loss, moved, flops_per_s, job.bandwidth) + constants.kernel_s


CAST_BYTES = (4.0, 5.0)
"""Bytes an element that a cast to fp8 moves, before Blackwell and since.

Before: read 2, write 1, and 1 transposed. Since: read 2 for the largest value, read 2 to scale,
write 1; its tensor cores take either order. Source: Transformer Engine, delayed scaling, and
current scaling (NVIDIA NeMo since 25.02).
"""
FP4_CASTS = 2.0
"""Casting to fp4 over casting to fp8: rotation and stochastic rounding in both directions.

Source: NVIDIA 2025, arXiv 2509.25149, section 4 (assumption: one more pass over each operand).
"""


def training_matmul_s(
    rows: Column, columns: Column, depth: Column, job: Job, constants: Constants
) -> tuple[Column, Column]:
    """Forward and backward time of a weight's product; the backward is two products.

    The gradient of the input is `rows x columns` by `columns x depth`, that of the weight is
    `depth x rows` by `rows x columns`; the maker's current stacks add it to the sum of the
    micro-batches as they write it. Low precisions first cast what they multiply: read two bytes,
    write what both passes need; input and weight forward, the gradient backward. The maker's
    stacks cast a weight once a step.
    Source: Micikevicius et al. 2022, arXiv 2209.05433 (fp8 training); Transformer Engine
    (`is_first_microbatch`, `fuse_wgrad_accumulation`).
    """
    rate = sustained(job.matmul_flops_per_s, job, constants)
    size = 2.0 - job.low_precision - 0.5 * job.quarter
    summed = np.where(job.vendor & (job.micro_batches > 1.0), 2.0 * gradient_width(job), 2.0)

    def product(m: Column, n: Column, k: Column, result_bytes: Column | float = 2.0) -> Column:
        return matmul_s(
            m,
            n,
            k,
            job,
            constants,
            flops_per_s=rate,
            element_bytes=size,
            result_bytes=result_bytes,
        )

    forward = product(rows, columns, depth)
    backward = product(rows, depth, columns) + product(depth, columns, rows, summed)
    stream = job.bandwidth * constants.stream_share
    width = np.where(job.recent > 0.0, CAST_BYTES[1], CAST_BYTES[0])
    each = job.low_precision * (1.0 + job.quarter * (FP4_CASTS - 1.0)) * width / stream
    gap = job.low_precision * constants.kernel_s
    fresh = np.where(job.vendor, 1.0 / job.micro_batches, 1.0)
    cast_in = each * (rows * depth + fresh * depth * columns) + gap
    cast_out = each * rows * columns + gap
    return forward + cast_in, backward + cast_out


def gradient_width(job: Job) -> Column:
    """Bytes of a gradient as it is summed and reduced: as stated, else 2 in fp16 stacks, 4 since.

    Runs of the chip's maker in fp8 or fp4 reduce in 16 bits.
    Source: Megatron-LM's `accumulate-allreduce-grads-in-fp32`, on by default with bf16; NVIDIA,
    Megatron Bridge, performance recipes (`grad_reduce_in_fp32 = False`).
    """
    narrow = (job.unfused > 0.0) | (job.vendor & (job.low_precision > 0.0))
    usual = np.where(narrow, 2.0, 4.0)
    return np.where(job.gradient_bytes > 0, job.gradient_bytes, usual)


def sustained(ceiling_flops_per_s: Column, job: Job, constants: Constants) -> Column:
    """What large products reach in a run: a share of the best, less where power throttles.

    Source: facts `matmul_share`, `throttled_share` and each generation's `clock`.
    """
    held = np.minimum(1.0, constants.throttled_share * job.clock)
    return ceiling_flops_per_s * constants.matmul_share * np.where(job.throttled > 0, held, 1.0)
