"""All tensors of a training by their names in the whole model, for checkpoints of any layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sextant.decoder.model import Decoder
from sextant.decoder.shards import named_parameters

_MOMENTS = ("exp_avg", "exp_avg_sq")
WEIGHT = "model."


def training_state(
    parts: Sequence[Decoder], optimizer: torch.optim.Optimizer | None
) -> dict[str, Any]:
    """The tensors themselves: what is written into them is in the model.

    Args:
        parts: this rank's parts of the model.
        optimizer: whose moments belong to it; None leaves them out.
    """
    state: dict[str, Any] = {}
    for part in parts:
        for name, parameter in named_parameters(part):
            state[WEIGHT + name] = parameter.detach()
            if optimizer is not None:
                held = _moments(optimizer, parameter)
                state |= {f"{moment}.{name}": held[moment] for moment in _MOMENTS}
        for name, buffer in part.named_buffers():
            if name.endswith("price_E"):
                state[f"price.{name}"] = buffer
    return state


def set_updates(optimizer: torch.optim.Optimizer, updates: int) -> None:
    """Tells Adam how many updates it has made, which its bias correction needs."""
    for held in optimizer.state.values():
        held["step"].fill_(float(updates))


def _moments(optimizer: torch.optim.Optimizer, parameter: Tensor) -> Mapping[str, Tensor]:
    """Adam's moments of a parameter, made (zero) where it has not made them yet."""
    held: dict[str, Tensor] = optimizer.state[parameter]
    if not held:
        held["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        for moment in _MOMENTS:
            held[moment] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    return held
