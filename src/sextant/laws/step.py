"""One training step: its parts, which sum to its time."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from sextant.laws.accelerator import Accelerator
from sextant.laws.constants import Constants
from sextant.laws.gradients import exposed_s, reduction
from sextant.laws.job import NOTHING, Column, Job, job
from sextant.laws.layer import Work, layer_work, vocabulary_s
from sextant.laws.layout import Layout
from sextant.laws.matmul import gradient_width
from sextant.laws.optimizer import optimizer_s
from sextant.laws.pipeline import fullest_stage_layers, pipeline_s
from sextant.laws.shape import TransformerShape
from sextant.laws.spread import Spread
from sextant.laws.traffic import (
    context_s,
    expert_s,
    sharded_s,
    stage_send_s,
    tensor_s,
)
from sextant.laws.weights import expert_ranks, stage_weights


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Parts:
    """Seconds of a step on the slowest stage, as columns."""

    matmul: Column
    attention: Column
    elementwise: Column
    vocabulary: Column
    recompute: Column
    tensor: Column
    context: Column
    expert: Column
    pipeline: Column
    data: Column
    bubble: Column
    optimizer: Column
    overhead: Column

    @property
    def total(self) -> Column:
        """The step."""
        return sum((getattr(self, f.name) for f in fields(self)), NOTHING)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepBreakdown:
    """Where a step's time goes; the parts (all in seconds) sum to `total_s`.

    `low_s` and `high_s` bound an 80% interval. `tensor_s`, `context_s`, `expert_s`, `pipeline_s`
    and `data_s` are communication that computing does not hide, by mesh axis.
    """

    matmul_s: float
    attention_s: float
    elementwise_s: float
    vocabulary_s: float
    recompute_s: float
    tensor_s: float
    context_s: float
    expert_s: float
    pipeline_s: float
    data_s: float
    bubble_s: float
    optimizer_s: float
    overhead_s: float
    total_s: float
    low_s: float
    high_s: float

    @property
    def compute_s(self) -> float:
        """Computing, recompute included."""
        return (
            self.matmul_s
            + self.attention_s
            + self.elementwise_s
            + self.vocabulary_s
            + self.recompute_s
        )

    @property
    def communication_s(self) -> float:
        """Exposed communication of all mesh axes."""
        return self.tensor_s + self.context_s + self.expert_s + self.pipeline_s + self.data_s


def step_parts(columns: Job, constants: Constants) -> Parts:
    """All parts of a step, for every row of the columns.

    The slowest stage's work on one micro-batch, times the micro-batches, is the bulk; the bubble
    is what `pipeline_s` adds to it; gradients, optimizer and fixed costs come once a step.
    Source: the laws called.
    """
    work = layer_work(columns, constants)
    recompute = columns.full * work.forward + columns.selective * selective_s(columns, work)
    tensor = tensor_s(columns, constants, work)
    context = context_s(columns, constants, work)
    expert = expert_s(columns, constants, work)
    sharded = sharded_s(columns, constants, work)
    busy = work.forward + work.backward + recompute + tensor + context + expert
    floor = host_s(columns, constants, busy)
    layer = busy + sharded + floor

    full = fullest_stage_layers(columns)
    last = np.clip(columns.layers - full * (columns.pp - 1.0), 1.0, full)
    last = np.where(columns.counted, full - 1.0, last) + columns.mtp_layers
    head = vocabulary_s(columns, constants)
    ends = last * layer + head > full * layer
    layers = np.where(ends, last, full)
    head_here = np.where(ends, head, 0.0)
    send = stage_send_s(columns, constants)

    stage = stage_weights(columns, full, np.where(columns.pp > 1, 1.0, 2.0 - columns.tied))
    added = accumulate_s(columns, constants, stage.total)
    m = columns.micro_batches
    slowest = layers * layer + head_here + send + added
    whole = (columns.layers + columns.mtp_layers) * layer + head + columns.pp * (send + added)
    through = pipeline_s(slowest, whole, m, columns.interleave)

    reduced = reduction(columns, constants, stage)
    exposed = exposed_s(columns, constants, reduced, full, work)
    adam = optimizer_s(stage.total, columns, constants)
    done = through + exposed + adam
    domains = np.maximum(1.0, columns.gpus / columns.fast_domain)
    unseen = np.where(
        np.maximum(columns.unfused, columns.early) > 0.0, 0.0, constants.held_out_bias
    )
    overhead = constants.step_s + done * (constants.straggler * np.log2(domains) + unseen)
    return Parts(
        matmul=m * layers * (work.matmul_forward + work.matmul_backward),
        attention=m * layers * (work.attention_forward + work.attention_backward),
        elementwise=m * (layers * (work.stream_forward + work.stream_backward) + added),
        vocabulary=m * head_here,
        recompute=m * layers * recompute,
        tensor=m * layers * tensor,
        context=m * layers * context,
        expert=m * layers * expert,
        pipeline=m * send,
        data=m * layers * sharded + exposed,
        bubble=through - m * slowest,
        optimizer=adam,
        overhead=overhead + m * layers * floor,
    )


def host_s(columns: Job, constants: Constants, busy_s: Column) -> Column:
    """What a layer waits for the host: to launch its kernels, and where it must synchronise.

    Kernels are launched beside computing, so only what takes longer counts; the maker's stacks
    launch the products of each expert that a GPU holds apart. Eager stacks with full recompute
    wait for the host at each layer besides.
    Source: facts `launch_s`, `expert_launch_s`, `sync_s`.
    """
    moe = columns.moe_layers / columns.layers
    held = np.where(columns.vendor, columns.experts / expert_ranks(columns), 0.0)
    launch = constants.launch_s + moe * held * constants.expert_launch_s
    sync = np.where(columns.joined, constants.early_sync_s, constants.sync_s)
    waits = sync * columns.full * np.maximum(columns.unfused, columns.early)
    return np.maximum(0.0, launch - busy_s) + waits


def accumulate_s(columns: Job, constants: Constants, parameters: Column) -> Column:
    """Adding one micro-batch's gradients to the sum: read it, write it, read the new ones.

    Current stacks of the chip's maker add inside the matrix product, hidden by its arithmetic.
    Source: bytes over bandwidth; Megatron Core's `gradient_accumulation_fusion`.
    """
    shards = np.where(columns.zero >= 2.0, columns.dp * columns.cp, 1.0)
    moved = parameters / shards * (2.0 * gradient_width(columns) + 2.0)
    several = (columns.micro_batches > 1.0) & ~columns.vendor
    return np.where(several, moved / (columns.bandwidth * constants.stream_share), 0.0)


def selective_s(columns: Job, work: Work) -> Column:
    """What selective recompute repeats of one layer: the attention core.

    With latent attention it is the up-projections, norms and the gate instead. PyTorch's own kind
    keeps the core and every second matrix product, and repeats the others and all elementwise
    kernels. Source: Korthikanti et al. 2022, section 5; DeepSeek-V3, arXiv 2412.19437, section
    3.2.3; Liang et al. 2024, arXiv 2410.06511, section 3.1 (selective, per operation).
    """
    half = 0.5 * work.matmul_forward + work.stream_forward
    lifted = work.lifting + work.stream_forward
    maker = np.where(columns.latent > 0, lifted, work.attention_forward)
    return np.where(columns.native > 0, half, maker)


def step_time(
    shape: TransformerShape,
    layout: Layout,
    accelerator: Accelerator,
    precision: str = "bf16",
    *,
    constants: Constants,
    spread: Spread | None = None,
) -> StepBreakdown:
    """The time of one step and where it goes.

    Source: `step_parts`; the interval is `spread`'s.
    """
    return breakdown(job(shape, layout, accelerator, precision), constants, spread)


def breakdown(columns: Job, constants: Constants, spread: Spread | None = None) -> StepBreakdown:
    """The same of a job that is columns of one row already.

    Source: `step_parts`.
    """
    parts = step_parts(columns, constants)
    seconds = {f"{f.name}_s": float(getattr(parts, f.name)) for f in fields(parts)}
    total = sum(seconds.values())
    widths = (spread or Spread()).step_factor(parts, columns)
    return StepBreakdown(
        **seconds, total_s=total, low_s=total / float(widths), high_s=total * float(widths)
    )
