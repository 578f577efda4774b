"""Splits a model over the ranks of a mesh, by the table of `sharding.py`, in one fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from sextant.decoder.experts import MixtureOfExperts
from sextant.decoder.mesh import Meshes
from sextant.decoder.model import Block, Decoder
from sextant.decoder.sharding import Style, row_of, shard_dim

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor.parallel import ParallelStyle


class Recompute(StrEnum):
    """What the backward pass computes again instead of keeping it."""

    NONE = "none"
    SELECTIVE = "selective"
    """All but the results of matrix products and attention."""
    FULL = "full"
    """Every layer, from its input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Treatment:
    """What is done to a model beside splitting it.

    Attributes:
        recompute: which activations are computed again.
        compile: whether each block is compiled.
        dtype: number format of weights and activations in products; weights, their gradients'
            sums and the optimizer stay in fp32.
        reshard: whether fsdp lets go of a block's gathered weights between forward and backward.
    """

    recompute: Recompute = Recompute.NONE
    compile: bool = False
    dtype: torch.dtype = torch.float32
    reshard: bool = True


def parallelize(model: Decoder, meshes: Meshes | None, treatment: Treatment) -> Decoder:
    """Splits and treats a model in place; it may still be on the meta device.

    Args:
        model: the whole, or this rank's part of a pipeline.
        meshes: of the job; None for a job of one process, which nothing is split for.
        treatment: what is done beside.
    """
    # 1. Tensor and expert parallelism first: they change which parameters a rank has at all.
    if meshes is not None and meshes.degrees.tp > 1:
        _split_tensors(model, meshes.dense["tp"])
    if meshes is not None and meshes.degrees.ep * meshes.degrees.tp > 1:
        _split_experts(model, meshes.sparse["expert"])
    # 2. Recomputing wraps a block's own forward, inside whatever is hooked around it later.
    for block in model.layers.values():
        _recompute(block, treatment.recompute)
    # 3. Compiling takes in what is recomputed, so that it can plan for it.
    if treatment.compile:
        for block in model.layers.values():
            _compile(block)
    # 4. Sharded data parallelism last: its gathers and reductions are hooks around each block.
    if meshes is not None:
        _shard(model, meshes, treatment)
    elif treatment.dtype is not torch.float32:
        _replace_forward(model, _in_format(model.forward, treatment.dtype))
    return model


def _split_tensors(model: Decoder, mesh: DeviceMesh) -> None:
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import PrepareModuleInput, parallelize_module

    whole, split = Replicate(), Shard(1)
    plan: dict[str, ParallelStyle] = {}
    for name, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            plan[name] = _style(row_of(f"{name}.weight").style)
    # A sub-layer gets the split sequence from its norm; attention and dense layers gather it.
    for at, block in model.layers.items():
        plan[f"layers.{at}.attention"] = PrepareModuleInput(
            input_layouts=(split, None), desired_input_layouts=(whole, None)
        )
        routed = isinstance(block.mlp, MixtureOfExperts)
        plan[f"layers.{at}.mlp"] = PrepareModuleInput(
            input_layouts=split,
            desired_input_layouts=split if routed else whole,
            use_local_output=routed,
        )
        plan.pop(f"layers.{at}.mlp.experts", None)
    parallelize_module(model, mesh, plan)
    model.tie()


def _style(style: Style) -> ParallelStyle:
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        SequenceParallel,
    )

    match style:
        case Style.VOCABULARY:
            return RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1))
        case Style.OUTPUTS:
            return ColwiseParallel()
        case Style.INPUTS:
            return RowwiseParallel(output_layouts=Shard(1))
        case Style.LOGITS:
            return ColwiseParallel(input_layouts=Shard(1), output_layouts=Shard(-1))
        case _:
            return SequenceParallel(use_local_output=True)


def _split_experts(model: Decoder, mesh: DeviceMesh) -> None:
    from sextant.decoder.expert_parallel import split_experts

    for block in model.layers.values():
        if isinstance(block.mlp, MixtureOfExperts):
            split_experts(block.mlp.experts, mesh)


def _recompute(block: Block, recompute: Recompute) -> None:
    from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

    if recompute is Recompute.NONE:
        return
    if recompute is Recompute.FULL:
        contexts: Any = partial(_plain_contexts, block)
        regions: list[Any] = [block]
    else:
        contexts = partial(create_selective_checkpoint_contexts, _kept_operations())
        # What is kept is known by its count, so no gathering of weights may lie inside: experts
        # gather theirs apart from their block.
        routed = isinstance(block.mlp, MixtureOfExperts)
        regions = [block.attention, block.mlp.experts] if routed else [block]
    for region in regions:
        again = partial(checkpoint, region.forward, use_reentrant=False, context_fn=contexts)
        _replace_forward(region, again)


def _plain_contexts(
    block: Block,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _uncounted(block)


@contextmanager
def _uncounted(block: Block) -> Iterator[None]:
    """While a forward pass is done again: what it routes was counted the first time."""
    if not isinstance(block.mlp, MixtureOfExperts):
        yield
        return
    block.mlp.counting = False
    try:
        yield
    finally:
        block.mlp.counting = True


def _kept_operations() -> list[Any]:
    """Operations whose results are worth keeping: products, attention, and exchanges."""
    aten = torch.ops.aten
    kept = [
        aten.mm.default,
        aten.bmm.default,
        aten.addmm.default,
        aten.linear.default,
        aten._grouped_mm.default,
        aten._scaled_dot_product_flash_attention.default,
        aten._scaled_dot_product_efficient_attention.default,
        aten._scaled_dot_product_cudnn_attention.default,
        aten._scaled_dot_product_flash_attention_for_cpu.default,
        aten.topk.default,
    ]
    if torch.distributed.is_available():
        exchanges = torch.ops._c10d_functional
        kept += [
            exchanges.reduce_scatter_tensor.default,
            exchanges.all_to_all_single.default,
        ]
    return kept


def _compile(block: Block) -> None:
    """Compiles a block's forward. Of one with experts only what has fixed shapes."""
    if isinstance(block.mlp, MixtureOfExperts):
        _replace_forward(block.attention, torch.compile(block.attention.forward))
    else:
        _replace_forward(block, torch.compile(block.forward))


def _shard(model: Decoder, meshes: Meshes, treatment: Treatment) -> None:
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(
        param_dtype=None if treatment.dtype is torch.float32 else treatment.dtype,
        reduce_dtype=torch.float32,
        output_dtype=None,
    )
    dense = meshes.dense["replicate", "shard"]
    sparse = meshes.sparse["dp", "fsdp"]
    # In a pipeline a block's weights are used by many micro-batches in turn: gathering them for
    # each would cost more than holding them.
    reshard = treatment.reshard and meshes.degrees.pp == 1
    for block in model.layers.values():
        if isinstance(block.mlp, MixtureOfExperts):
            fully_shard(
                block.mlp.experts,
                mesh=sparse,
                mp_policy=policy,
                reshard_after_forward=reshard,
                shard_placement_fn=partial(_expert_placement, meshes.degrees.fsdp),
            )
        fully_shard(block, mesh=dense, mp_policy=policy, reshard_after_forward=reshard)
    fully_shard(model, mesh=dense, mp_policy=policy, reshard_after_forward=False)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # The loss is already divided by the tokens of the whole batch: gradients are summed.
            module.set_gradient_divide_factor(1.0)
            # As a plain sum: gloo has no other.
            module.set_force_sum_reduction_for_comms(True)


def _expert_placement(fsdp: int, parameter: Any) -> Any:
    from torch.distributed.tensor import Shard

    return Shard(shard_dim(Style.EXPERTS, tuple(parameter.shape), fsdp))


def _replace_forward(module: Any, forward: Any) -> None:
    """Changes what a module does without a module around it, which would change all names."""
    module.forward = forward


def _in_format(forward: Any, dtype: torch.dtype) -> Any:
    """A forward pass whose products are in a number format; weights stay as they are."""

    def formatted(*args: Any, **kwargs: Any) -> Any:
        device = next(value.device.type for value in args if isinstance(value, torch.Tensor))
        with torch.autocast(device, dtype=dtype):
            return forward(*args, **kwargs)

    return formatted
