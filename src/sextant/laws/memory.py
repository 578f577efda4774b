"""Memory of the fullest GPU: weights, gradients, optimizer, activations and the runtime's own."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from sextant.laws.accelerator import Accelerator
from sextant.laws.activations import kept_bytes, working_bytes
from sextant.laws.constants import Constants
from sextant.laws.job import NOTHING, ONE, Column, Flags, Job, job
from sextant.laws.layout import Layout
from sextant.laws.matmul import gradient_width
from sextant.laws.pipeline import fullest_stage_layers, in_flight
from sextant.laws.shape import TransformerShape
from sextant.laws.spread import Spread
from sextant.laws.weights import StageWeights, expert_copies, stage_weights

NATIVE_RUNTIME = 0.3
"""Share of the runtime's memory that PyTorch's own figures include (workspaces, not the context).

Source: torch.cuda.memory_reserved counts the caching allocator alone.
"""


VENDOR_RUNTIME = 0.6
"""Share of the early stacks' runtime memory that current 3D stacks take.

Source: NCCL 2.22 release notes (connections and their buffers made when first used; assumption).
"""
FRAGMENTS = (0.5, 0.15)
"""Fragmentation over that of the early 3D stacks: of the first fused stacks, and of those since.

Source: llm-foundry's rows ran on cards that twice as much would not have fitted; since, segments
grow in place (PyTorch, `expandable_segments`, which torchtitan and NVIDIA's recipes turn on): a
pool of 2 MB pages wastes little (assumption: 2% of activations).
"""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Held:
    """Bytes on the fullest GPU, as columns."""

    parameters: Column
    gradients: Column
    optimizer: Column
    activations: Column
    working: Column
    runtime: Column

    def where(self, mine: Flags, other: Held) -> Held:
        """This stage's rows where it is so said, and another's elsewhere."""
        both = {
            f.name: np.where(mine, getattr(self, f.name), getattr(other, f.name))
            for f in fields(self)
        }
        return Held(**both)

    @property
    def states(self) -> Column:
        """Weights, gradients and optimizer."""
        return self.parameters + self.gradients + self.optimizer

    @property
    def total(self) -> Column:
        """All of it."""
        return self.states + self.activations + self.working + self.runtime


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryBreakdown:
    """Where a GPU's memory goes; the parts (all in bytes) sum to `total_bytes`.

    `working_bytes` live only for a while: logits, the layer being recomputed, gathered weights.
    `runtime_bytes` are the process' own, communication buffers and fragmentation. `low_bytes` and
    `high_bytes` bound an 80% interval.
    """

    parameters_bytes: float
    gradients_bytes: float
    optimizer_bytes: float
    activations_bytes: float
    working_bytes: float
    runtime_bytes: float
    total_bytes: float
    low_bytes: float
    high_bytes: float


def gradient_bytes(job: Job) -> Column:
    """Bytes that gradients take a parameter: as they are reduced, but 4 where fp16 stacks say not.

    The bf16 optimizer of early 3D stacks kept autograd's 16-bit gradients beside the fp32 sums.
    Source: Megatron-LM README, distributed optimizer (bf16 parameters, fp32 gradients);
    DeepSpeed's BF16_Optimizer.
    """
    unstated = (job.gradient_bytes <= 0.0) & (job.unfused > 0.0)
    stated = np.where(unstated, 4.0, gradient_width(job))
    both = (job.unfused > 0) & (job.gradient_bytes > 2.0) & (job.zero >= 1.0)
    return stated + np.where(both, 2.0, 0.0)


def optimizer_bytes(job: Job) -> Column:
    """Bytes of master weights and Adam's moments a parameter: 12, and 4 for fp32 gradients.

    Where the early 3D stacks keep gradients in 16 bits the optimizer holds an fp32 copy of its
    share; since, that copy is made at the step, when activations are gone.
    Source: Rajbhandari et al. 2021, arXiv 2104.07857, section 3 (20 bytes a parameter);
    Megatron-LM, distrib_optimizer (gradients are copied in `step`).
    """
    narrow = (job.unfused > 0.0) & (gradient_bytes(job) < 4.0)
    return np.where(job.offload > 0, 0.0, 12.0 + np.where(narrow, 4.0, 0.0))


def weight_bytes(job: Job) -> Column:
    """Bytes of the weights that products use: 2, or none of their own under full sharding.

    Full sharding casts the fp32 master weights as it gathers them.
    Source: Zhao et al. 2023, arXiv 2304.11277, section 4.4.
    """
    sharded = (job.zero >= 3.0) & job.resharding & (job.offload == 0.0)
    return np.where(sharded, 0.0, 2.0)


def states(job: Job, stage: StageWeights) -> tuple[Column, Column, Column]:
    """Weights, gradients and optimizer on one GPU of a stage.

    ZeRO 1 splits the optimizer, 2 the gradients, 3 the weights over `dp cp` ranks; of routed
    experts over the ranks that hold the same ones. Under a pipeline weights stay whole, and so do
    gradients where weights would be split too (`sharded_s` says when they are scattered).
    Source: Rajbhandari et al. 2020, arXiv 1910.02054, section 3; Llama Team 2024, arXiv
    2407.21783, section 3.3.2.
    """
    ranks, copies = job.dp * job.cp, expert_copies(job)

    def split(each: Column, level: float) -> Column:
        apart = job.resharding | (level < 2.0) | ((job.zero < 3.0) & (level < 3.0))
        splits = (job.zero >= level) & apart
        common = stage.common / np.where(splits, ranks, 1.0)
        experts = stage.experts / np.where(splits, copies, 1.0)
        total: Column = each * (common + experts)
        return total

    return (
        split(weight_bytes(job), 3.0),
        split(gradient_bytes(job), 2.0),
        split(optimizer_bytes(job), 1.0),
    )


def runtime(job: Job, constants: Constants, activations: Column) -> Column:
    """The process' own memory: context, a communicator for each mesh axis, fragmentation.

    Source: nvidia-smi beside the allocator's figures; facts `runtime_bytes`, `group_bytes`.
    """
    degrees = (job.tp, job.pp, job.dp, job.cp, job.ep)
    groups = sum((np.where(n > 1.0, 1.0, 0.0) for n in degrees), ONE)
    groups = groups + np.where((job.pp > 1.0) & (job.tied > 0), 1.0, 0.0)
    own = constants.runtime_bytes + constants.group_bytes * groups
    torch = (job.native > 0.0) | (job.early > 0.0)
    own = own * np.where(torch, NATIVE_RUNTIME, np.where(job.vendor, VENDOR_RUNTIME, 1.0))
    since = np.where(job.early > 0.0, FRAGMENTS[0], FRAGMENTS[1])
    lost = constants.fragmentation * np.where(job.unfused > 0.0, 1.0, since)
    return own + lost * activations


def held(columns: Job, constants: Constants) -> Held:
    """Memory of the fullest stage: the first, the second, or the last.

    The first stage holds the most micro-batches and the input embedding; where embeddings count
    as layers the second has a layer more; the last has the logits.
    Source: Korthikanti et al. 2022, arXiv 2205.05198, sections 4.2 and 4.3.
    """
    full = fullest_stage_layers(columns)
    counted = columns.counted
    edge = np.where(counted, full - 1.0, full)
    tables = np.where(columns.pp > 1, 1.0, 2.0 - columns.tied)
    working, working_last = working_bytes(columns)
    alone = np.where(columns.pp > 1, working, working_last)
    kept = kept_bytes(columns)
    first = _held(columns, constants, edge, tables, edge * in_flight(columns) * kept, alone)
    ending = edge * in_flight(columns, stage=columns.pp - 1.0) * kept
    last = _held(columns, constants, edge, tables, ending, working_last)
    found = first.where(first.total >= last.total, last)
    if not np.any(counted & (columns.pp > 2.0)):
        return found
    flying = full * in_flight(columns, stage=1.0) * kept
    second = _held(columns, constants, full, NOTHING, flying, working)
    has = counted & (columns.pp > 2.0)
    return found.where(~has | (found.total >= second.total), second)


def _held(
    columns: Job,
    constants: Constants,
    layers: Column,
    tables: Column,
    activations: Column,
    working: Column,
) -> Held:
    """One stage's memory; `tables` are the vocabulary matrices that it holds."""
    weights, gradients, optimizer = states(columns, stage_weights(columns, layers, tables))
    return Held(
        parameters=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=activations,
        working=working,
        runtime=runtime(columns, constants, activations + working),
    )


def memory_per_gpu(
    shape: TransformerShape,
    layout: Layout,
    accelerator: Accelerator,
    precision: str = "bf16",
    *,
    constants: Constants,
    spread: Spread | None = None,
) -> MemoryBreakdown:
    """Memory of the fullest GPU and where it goes.

    Source: `held`; the interval is `spread`'s.
    """
    columns = job(shape, layout, accelerator, precision)
    parts = held(columns, constants)
    total, width = float(parts.total), float((spread or Spread()).memory_factor(columns))
    return MemoryBreakdown(
        parameters_bytes=float(parts.parameters),
        gradients_bytes=float(parts.gradients),
        optimizer_bytes=float(parts.optimizer),
        activations_bytes=float(parts.activations),
        working_bytes=float(parts.working),
        runtime_bytes=float(parts.runtime),
        total_bytes=total,
        low_bytes=total / width,
        high_bytes=total * width,
    )
