"""Experts on several ranks: each visit travels to the rank that has its expert, and back.

Shape suffixes as in `experts.py`; N ranks, L experts that one rank has (E = N L), M visits that
this rank receives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sextant.decoder.experts import Experts

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def split_experts(experts: Experts, mesh: DeviceMesh) -> None:
    """Leaves each rank of a mesh its own experts, and hooks the two exchanges around them."""
    from torch.distributed.tensor import Shard, distribute_module, distribute_tensor

    def split(_name: str, module: torch.nn.Module, over: DeviceMesh) -> None:
        for name, parameter in module.named_parameters(recurse=False):
            # No broadcast: whoever fills the parameters fills each rank's own part.
            part = distribute_tensor(parameter, over, [Shard(0)], src_data_rank=None)
            module.register_parameter(name, torch.nn.Parameter(part))

    exchange = _Exchange(mesh)
    distribute_module(experts, mesh, partition_fn=split)
    experts.register_forward_pre_hook(exchange.send)
    experts.register_forward_hook(exchange.bring_back)


class _Exchange:
    """The way there and the way back of one layer's visits."""

    def __init__(self, mesh: DeviceMesh) -> None:
        self._group = mesh.get_group()
        self._num_ranks = mesh.size()
        self._way: tuple[list[int], list[int], Tensor] | None = None

    def send(self, _module: Any, args: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Visits sorted by expert, sent to the ranks; received ones, sorted by own expert."""
        x_RD, count_E = args
        count_NL = self._swap_counts(count_E)
        sent = count_E.view(self._num_ranks, -1).sum(1).tolist()
        received = count_NL.sum(1).tolist()
        arrived_MD = self._swap(x_RD, received, sent)
        # They come by rank, then by expert; the products want them by expert.
        num_own = count_NL.shape[1]
        owner_M = torch.arange(num_own, device=x_RD.device).repeat(self._num_ranks)
        owner_M = owner_M.repeat_interleave(count_NL.flatten())
        order_M = owner_M.argsort(stable=True)
        self._way = (sent, received, order_M)
        return arrived_MD[order_M], count_NL.sum(0)

    def bring_back(self, _module: Any, _args: Any, y_MD: Tensor) -> Tensor:
        """What the experts made of them, each to where it came from, in the order it was sent."""
        assert self._way is not None, "send comes before bring_back"
        sent, received, order_M = self._way
        self._way = None
        arrived_MD = torch.empty_like(y_MD).index_copy(0, order_M, y_MD)
        return self._swap(arrived_MD, sent, received)

    def _swap_counts(self, count_E: Tensor) -> Tensor:
        import torch.distributed as dist

        count_NL = torch.empty_like(count_E)
        dist.all_to_all_single(count_NL, count_E, group=self._group)
        return count_NL.view(self._num_ranks, -1)

    def _swap(self, x: Tensor, received: list[int], sent: list[int]) -> Tensor:
        from torch.distributed._functional_collectives import all_to_all_single_autograd

        return all_to_all_single_autograd(x.contiguous(), received, sent, self._group)
