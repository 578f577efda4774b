"""Gradients of a model that is split: joined where a weight is on two stages, and clipped."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sextant.decoder.mesh import Meshes
from sextant.decoder.model import Decoder
from sextant.decoder.shards import local_part


def join_tied(parts: Sequence[Decoder], meshes: Meshes) -> None:
    """Adds up the gradients of a tied embedding, which the first stage and the last both hold.

    Both add the same two numbers, so their copies stay the same bit for bit.
    """
    degrees = meshes.degrees
    if degrees.pp == 1 or not parts[0].config.tied:
        return
    import torch.distributed as dist

    group = meshes.dense.get_group("pp")
    stage = meshes.stage
    if stage not in (0, degrees.pp - 1):
        return
    part = parts[0] if stage == 0 else parts[-1]
    holder = part.embed if stage == 0 else part.head
    assert holder is not None
    own = local_part(holder.weight.grad).contiguous()
    other = torch.empty_like(own)
    peer = dist.get_global_rank(group, degrees.pp - 1 - stage)
    exchange = [
        dist.P2POp(dist.isend, own, peer, group),
        dist.P2POp(dist.irecv, other, peer, group),
    ]
    for work in dist.batch_isend_irecv(exchange):
        work.wait()
    own.add_(other)
    local_part(holder.weight.grad).copy_(own)


def clip(parts: Sequence[Decoder], meshes: Meshes | None, most: float) -> float:
    """Scales all gradients so that their norm is at most `most`; 0 leaves them.

    Each rank adds up the squares of what it holds, each divided by how many ranks hold the same;
    so one sum over all ranks is the square of the whole model's norm, whatever the split.

    Returns:
        The norm before.
    """
    total = torch.zeros((), dtype=torch.float64)
    gradients: list[Tensor] = []
    for part in parts:
        for name, parameter in part.named_parameters():
            if parameter.grad is None:
                continue
            local = local_part(parameter.grad)
            gradients.append(local)
            copies = _copies(part, name, parameter, meshes)
            total += local.double().square().sum().cpu() / copies
    if meshes is not None:
        import torch.distributed as dist

        total = total.to(gradients[0].device)
        dist.all_reduce(total)
    norm = math.sqrt(float(total))
    if most > 0.0 and norm > most:
        torch._foreach_mul_(gradients, most / (norm + 1e-6))
    return norm


def _copies(part: Decoder, name: str, parameter: Tensor, meshes: Meshes | None) -> int:
    """How many ranks hold the same piece of a parameter."""
    if meshes is None:
        return 1
    degrees = meshes.degrees
    copies = degrees.data * degrees.tp
    for size, placement in zip(parameter.device_mesh.shape, parameter.placements, strict=True):
        if not placement.is_replicate():
            copies //= size
    ends = part.config.tied and degrees.pp > 1 and name in ("embed.weight", "head.weight")
    return copies * 2 if ends else copies
