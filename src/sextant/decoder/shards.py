"""A rank's own part of a parameter: which slices of the whole it is, and how to fill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sextant.decoder.model import Decoder

Slices = tuple[slice, ...]


def local_slices(parameter: Tensor) -> Slices:
    """Where this rank's part lies in the whole parameter; everything, if it is not split."""
    if not hasattr(parameter, "to_local"):
        return tuple(slice(0, size) for size in parameter.shape)
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    sizes, offsets = compute_local_shape_and_global_offset(
        parameter.shape, parameter.device_mesh, parameter.placements
    )
    return tuple(slice(at, at + size) for at, size in zip(offsets, sizes, strict=True))


def local_part(parameter: Tensor) -> Tensor:
    """This rank's part as a plain tensor that shares its memory."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def named_parameters(model: Decoder) -> Iterator[tuple[str, nn.Parameter]]:
    """Every parameter once, by the name that it has in the whole model.

    The head of a tied model goes by the embedding's name, also on a pipeline stage without one.
    """
    for name, parameter in model.named_parameters():
        tied = name == "head.weight" and model.config.tied
        yield "embed.weight" if tied else name, parameter


def fill(model: Decoder, part_of: Callable[[str, torch.Size, Slices], Tensor]) -> None:
    """Fills every parameter with this rank's part of the whole.

    Args:
        model: with memory allocated.
        part_of: gives a part from a parameter's name, its whole shape and the slices.
    """
    with torch.no_grad():
        for name, parameter in named_parameters(model):
            part = local_part(parameter)
            if part.numel():
                part.copy_(part_of(name, parameter.shape, local_slices(parameter)))
