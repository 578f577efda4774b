"""Splits a model by its layers into stages, for the schedules of `torch.distributed.pipelining`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Meshes
from sextant.decoder.model import Decoder, Part

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def stage_parts(config: DecoderConfig, stages: int) -> list[Part]:
    """The layers of each stage, so that the slowest is as quick as can be.

    A stage's work is counted in weights that a token is multiplied with; the last one has the
    output projection besides.
    """
    work = [float(_layer_work(config, layer)) for layer in range(config.layers)]
    work[-1] += config.vocab * config.hidden
    bounds = _even_bounds(work, stages)
    last = stages - 1
    return [
        Part(layers=range(bounds[i], bounds[i + 1]), first=i == 0, last=i == last)
        for i in range(stages)
    ]


def _layer_work(config: DecoderConfig, layer: int) -> int:
    width = config.head_dim * (2 * config.heads + 2 * config.kv_heads)
    inner = config.ffn
    if config.has_experts(layer):
        inner = (config.active_experts + config.shared_experts) * config.expert_ffn
    return config.hidden * (width + 3 * inner)


def _even_bounds(work: list[float], parts: int) -> list[int]:
    """Cuts a list into parts that each have an item, their largest sum as small as can be."""
    num = len(work)
    before = [0.0]
    for amount in work:
        before.append(before[-1] + amount)
    # best[i]: least largest sum of the first i items in so many parts; cut[part][i]: where.
    best = [0.0] + [float("inf")] * num
    cuts: list[list[int]] = []
    for _ in range(parts):
        following, cut = [float("inf")] * (num + 1), [0] * (num + 1)
        for i in range(1, num + 1):
            for j in range(i):
                largest = max(best[j], before[i] - before[j])
                if largest < following[i]:
                    following[i], cut[i] = largest, j
        best = following
        cuts.append(cut)
    bounds = [num]
    for cut in reversed(cuts):
        bounds.append(cut[bounds[-1]])
    return bounds[::-1]


def own_stages(meshes: Meshes) -> list[int]:
    """The stages of this rank: every `pp`-th, beginning with its own place."""
    degrees = meshes.degrees
    return [meshes.stage + degrees.pp * turn for turn in range(degrees.interleave)]


def build_schedule(
    parts: list[Decoder],
    meshes: Meshes,
    *,
    micro_batches: int,
    shape: tuple[int, int],
    dtype: torch.dtype,
    loss: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
) -> Any:
    """The schedule that runs this rank's stages: 1F1B, interleaved if it holds several.

    Source: Narayanan et al. 2021, arXiv 2104.04473, section 2.2.

    Args:
        parts: this rank's stages.
        meshes: of the job.
        micro_batches: how many pass through in a step.
        shape: sequences and positions of a micro-batch.
        dtype: of what stages pass on.
        loss: of the last stage's output and the targets; what a step adds up.
        device: where it runs.
    """
    from torch.distributed.pipelining import (
        PipelineStage,
        Schedule1F1B,
        ScheduleInterleaved1F1B,
    )

    degrees = meshes.degrees
    stages = []
    for part, index in zip(parts, own_stages(meshes), strict=True):
        # Stated, for otherwise the first step finds out by running every stage once more.
        taken, given = _passed(part, degrees.tp, shape, dtype)
        stages.append(
            PipelineStage(
                part,
                index,
                degrees.pp * degrees.interleave,
                device,
                input_args=taken,
                output_args=given,
                group=meshes.dense.get_group("pp"),
            )
        )
    # Gradients are sums already: the loss of a micro-batch is divided by the whole batch's tokens.
    if degrees.interleave > 1:
        return ScheduleInterleaved1F1B(stages, micro_batches, loss_fn=loss, scale_grads=False)
    return Schedule1F1B(stages[0], micro_batches, loss_fn=loss, scale_grads=False)


def _passed(
    part: Decoder, tp: int, shape: tuple[int, int], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """What a stage takes and gives, without memory: between stages each tp rank has its part of
    the sequence, at the end its part of the vocabulary.
    """
    import torch

    num, positions = shape

    def floats(*sizes: int) -> Tensor:
        return torch.empty(sizes, dtype=dtype, device="meta", requires_grad=True)

    stream = (num, positions // tp, part.config.hidden)
    tokens = torch.empty(shape, dtype=torch.int64, device="meta")
    taken = tokens if part.part.first else floats(*stream)
    given = floats(num, positions, part.config.vocab // tp) if part.part.last else floats(*stream)
    return taken, given
