"""A copy of a rank's tensors in the host's memory, from which a checkpoint is written.

It is made once and filled anew for each checkpoint: fresh memory costs as much again as the copy
into it, for the system hands it out page by page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Staged:
    """Copies of tensors by name, split as they are."""

    def __init__(self) -> None:
        self.tensors: dict[str, Any] = {}

    def take(self, state: Mapping[str, Any]) -> None:
        """Copies all of a state; when this returns, its tensors may change."""
        import torch

        from sextant.decoder.shards import local_part

        if not self._fits(state):
            self.tensors = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
            return
        rooms = [local_part(self.tensors[name]) for name in state]
        with torch.no_grad():
            torch._foreach_copy_(rooms, [local_part(tensor) for tensor in state.values()])

    def is_finite(self, group: Any) -> bool:
        """Whether every number of the copy is one, on all ranks of a group (None: there is one)."""
        import torch
        import torch.distributed as dist

        from sextant.decoder.shards import local_part

        parts = (local_part(tensor) for tensor in self.tensors.values())
        finite = torch.tensor(
            all(bool(torch.isfinite(part).all()) for part in parts), dtype=torch.int32
        )
        if group is not None:
            dist.all_reduce(finite, dist.ReduceOp.MIN, group=group)
        return bool(finite)

    def _fits(self, state: Mapping[str, Any]) -> bool:
        from sextant.decoder.shards import local_part

        return state.keys() == self.tensors.keys() and all(
            local_part(self.tensors[name]).shape == local_part(tensor).shape
            and self.tensors[name].dtype == tensor.dtype
            for name, tensor in state.items()
        )
