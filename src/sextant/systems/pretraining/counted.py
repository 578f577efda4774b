"""The bytes of tensors that one rank holds in a step, counted as they are made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sextant.decoder.mesh import Degrees
from sextant.decoder.parallelize import Treatment
from sextant.systems.pretraining.job import Job
from sextant.systems.pretraining.step import Stepper, build_parts


def counted_bytes(job: Job) -> dict[str, float]:
    """What a rank of a data-parallel job holds, by part.

    Such a rank holds what one process with its part of the batch does: that is what is counted.
    """
    cpu = torch.device("cpu")
    alone = replace(job, layout=Degrees(), batch=job.batch // job.layout.data)
    parts = build_parts(alone.model, None, Treatment(), seed=alone.seed, device=cpu)
    stepper = Stepper(parts, None, alone.recipe, micro_batch=alone.micro_batch)
    weights = [parameter for part in parts for parameter in part.parameters()]
    grown: list[float] = []
    stepper.optimizer.register_step_pre_hook(
        lambda *_: grown.append(sum(_bytes(p.grad) for p in weights if p.grad is not None))
    )
    text = torch.randint(alone.model.vocab, (alone.batch, alone.sequence))
    kept = _Kept([*weights, *(b for part in parts for b in part.buffers())])
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        stepper.step(text, text, learning_rate=1e-4)
    moments = (v for held in stepper.optimizer.state.values() for v in held.values())
    return {
        "parameters_bytes": float(sum(_bytes(p) for p in weights)),
        "gradients_bytes": float(max(grown)),
        "optimizer_bytes": float(sum(_bytes(value) for value in moments if value.dim())),
        "activations_bytes": float(kept.most),
    }


class _Kept:
    """What the forward pass keeps for the backward pass: each storage once, while it is needed."""

    def __init__(self, known: list[Tensor]) -> None:
        self._known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self._uses: dict[int, list[int]] = {}
        self.most = 0

    def pack(self, tensor: Tensor) -> Any:
        """Counts a tensor until what this gives is let go."""
        return _Ticket(self, tensor)

    def unpack(self, ticket: _Ticket) -> Tensor:
        """The tensor again."""
        return ticket.tensor

    def take(self, tensor: Tensor) -> int | None:
        """Counts its storage once more; None if it does not count."""
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key in self._known or not tensor.is_floating_point():
            return None
        held = self._uses.setdefault(key, [0, storage.nbytes()])
        held[0] += 1
        self.most = max(self.most, sum(size for _, size in self._uses.values()))
        return key

    def leave(self, key: int | None) -> None:
        """Counts it once less."""
        if key is None:
            return
        self._uses[key][0] -= 1
        if not self._uses[key][0]:
            del self._uses[key]


class _Ticket:
    """One kept tensor."""

    def __init__(self, kept: _Kept, tensor: Tensor) -> None:
        self.tensor, self._kept = tensor, kept
        self._key = kept.take(tensor)

    def __del__(self) -> None:
        self._kept.leave(self._key)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
