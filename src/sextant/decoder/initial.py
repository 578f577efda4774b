"""The first weights of a model, the same under every layout: each parameter has its own seed."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from sextant.decoder.model import Decoder
from sextant.decoder.shards import Slices, fill

_DEVIATION = 0.02
"""Source: GPT-2, Radford et al. 2019, section 2.3; Llama's `initializer_range`."""
_INTO_STREAM = (".out.weight", ".down.weight", ".down_EDF")


def initialize(model: Decoder, seed: int) -> None:
    """Draws all weights from a normal distribution; norms are one, biases zero.

    What adds to the stream is drawn narrower by `sqrt(2 layers)`, so that its variance does not
    grow with depth (Radford et al. 2019, section 2.3). Each rank draws a whole parameter and keeps
    its part: a parameter's values depend on its name and the seed alone.
    """
    narrow = _DEVIATION / math.sqrt(2.0 * model.config.layers)

    def part_of(name: str, shape: torch.Size, slices: Slices) -> Tensor:
        if name.endswith("norm.weight"):
            return torch.ones(shape)[slices]
        if name.endswith(".bias"):
            return torch.zeros(shape)[slices]
        deviation = narrow if name.endswith(_INTO_STREAM) else _DEVIATION
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        return torch.empty(shape).normal_(0.0, deviation, generator=generator)[slices]

    fill(model, part_of)
