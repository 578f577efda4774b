"""The bytes of tensors that one rank holds in a step, counted as they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sextant.decoder.mesh import Degrees
from sextant.decoder.model import Decoder
from sextant.decoder.parallelize import Treatment
from sextant.decoder.shards import local_part
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
    return counted_step(stepper, torch.randint(alone.model.vocab, (alone.batch, alone.sequence)))


def counted_step(stepper: Stepper, tokens_BS: Tensor) -> dict[str, float]:
    """Takes one step under any layout, and counts what this rank holds, by part."""
    weights = [parameter for part in stepper.parts for parameter in part.parameters()]
    grown: list[float] = []

    def count_gradients(*_: Any) -> None:
        # Anew, for sharded parameters are others while the model works.
        now = (p.grad for part in stepper.parts for p in part.parameters())
        grown.append(sum(_bytes(gradient) for gradient in now if gradient is not None))

    hook = stepper.optimizer.register_step_pre_hook(count_gradients)
    kept = _Kept(stepper.parts)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        stepper.step(tokens_BS, tokens_BS, learning_rate=1e-4)
    hook.remove()
    moments = (v for held in stepper.optimizer.state.values() for v in held.values())
    return {
        "parameters_bytes": float(sum(_bytes(p) for p in weights)),
        "gradients_bytes": float(max(grown)),
        "optimizer_bytes": float(sum(_bytes(value) for value in moments if value.dim())),
        "activations_bytes": float(kept.most),
    }


class _Kept:
    """What the forward pass keeps for the backward pass: each storage once, while it is needed."""

    def __init__(self, parts: Sequence[Decoder]) -> None:
        self._parts = parts
        self._buffers = {_storage(buffer) for part in parts for buffer in part.buffers()}
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
        key = _storage(tensor)
        # Asked anew each time: while it works, fully sharded weights are gathered copies.
        weights = (_storage(p) for part in self._parts for p in part.parameters())
        if not tensor.is_floating_point() or key in self._buffers or key in weights:
            return None
        held = self._uses.setdefault(key, [0, _plain(tensor).untyped_storage().nbytes()])
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


def _plain(tensor: Any) -> Tensor:
    """The tensor that has memory, under what splits it and what is still on its way."""
    local: Any = local_part(tensor)
    own: Tensor = getattr(local, "elem", local)
    return own


def _storage(tensor: Any) -> int:
    return _plain(tensor).untyped_storage().data_ptr()


def _bytes(tensor: Tensor) -> int:
    own = local_part(tensor)
    return own.numel() * own.element_size()
