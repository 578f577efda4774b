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
    moved = element_bytes * (rows * depth + depth * columns + rows * columns)
    return roofline_s(flops * loss, moved, flops_per_s, job.bandwidth) + constants.kernel_s


FP4_CASTS = 2.0
"""Casting to fp4 over casting to fp8: rotation and stochastic rounding in both directions.

Source: NVIDIA 2025, arXiv 2509.25149, section 4 (assumption: one more pass over each operand).
"""


def training_matmul_s(
    rows: Column, columns: Column, depth: Column, job: Job, constants: Constants
) -> tuple[Column, Column]:
    """Forward and backward time of a weight's product; the backward is two products.

    The gradient of the input is `rows x columns` by `columns x depth`, that of the weight is
    `depth x rows` by `rows x columns`. Low precisions first cast what they multiply: read two
    bytes, write one for this product and one, the other way round, for the backward pass; input
    and weight forward, the gradient backward.
    Source: Micikevicius et al. 2022, arXiv 2209.05433 (fp8 training).
    """
    rate = sustained(job.matmul_flops_per_s, job, constants)
    size = 2.0 - job.low_precision - 0.5 * job.quarter
    forward = matmul_s(rows, columns, depth, job, constants, flops_per_s=rate, element_bytes=size)
    inputs = matmul_s(rows, depth, columns, job, constants, flops_per_s=rate, element_bytes=size)
    weights = matmul_s(depth, columns, rows, job, constants, flops_per_s=rate, element_bytes=size)
    stream = job.bandwidth * constants.stream_share
    each = job.low_precision * (1.0 + job.quarter * (FP4_CASTS - 1.0))
    cast_in = each * 4.0 * (rows * depth + depth * columns) / stream
    cast_out = each * 4.0 * rows * columns / stream
    return forward + cast_in, inputs + weights + cast_out


def sustained(ceiling_flops_per_s: Column, job: Job, constants: Constants) -> Column:
    """What large products reach in a run: a share of the best, less where power throttles.

    Source: facts `matmul_share` and `throttled_share`.
    """
    throttle = np.where(job.throttled > 0, constants.throttled_share, 1.0)
    return ceiling_flops_per_s * constants.matmul_share * throttle
