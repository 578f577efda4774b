"""What the laws are asked about: one job, or a hundred thousand, as columns of numbers.

Every law here takes a `Job` and works on whole columns, so that a search over layouts, a backtest
over rows and a single question all run the same code. A column is a float64 array; those of one
job broadcast against each other (a search holds the shape as scalars and the layouts as arrays).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sextant.laws.accelerator import Accelerator
from sextant.laws.layout import RECOMPUTE, Layout
from sextant.laws.shape import TransformerShape

Column: TypeAlias = npt.NDArray[np.float64]

Index: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

ONE: Column = np.array(1.0)
NOTHING: Column = np.array(0.0)

LOW_PRECISIONS = ("fp8", "fp4")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Job:
    """Shape, layout and machine as columns; yes and no are 1 and 0, not stated is nan."""

    # shape
    layers: Column
    hidden: Column
    heads: Column
    kv_heads: Column
    head_width: Column
    ffn: Column
    vocab: Column
    sequence: Column
    mlp_matrices: Column
    tied: Column
    experts: Column
    active_experts: Column
    shared_experts: Column
    expert_ffn: Column
    dense_layers: Column
    latent: Column
    query_rank: Column
    kv_rank: Column
    rope_width: Column
    value_width: Column
    window: Column
    window_layers: Column
    mtp_layers: Column
    positions: Column
    biases: Column
    # layout
    tp: Column
    pp: Column
    dp: Column
    cp: Column
    ep: Column
    interleave: Column
    micro_batch: Column
    global_batch: Column
    zero: Column
    selective: Column
    full: Column
    sequence_parallel: Column
    embeddings_as_layers: Column
    largest_stage: Column
    gradient_bytes: Column
    offload: Column
    tp_overlap: Column
    compiled: Column
    fused_loss: Column
    # precision and machine
    low_precision: Column
    quarter: Column
    element_bytes: Column
    matmul_flops_per_s: Column
    wide_flops_per_s: Column
    peak_flops_per_s: Column
    scalar_flops_per_s: Column
    bandwidth: Column
    memory: Column
    fast_link: Column
    fast_domain: Column
    network: Column
    processors: Column
    tile_rows: Column
    tile_columns: Column
    attention_forward: Column
    attention_backward: Column
    unfused: Column
    doubtful: Column
    early: Column
    native: Column
    throttled: Column
    clock: Column
    recent: Column

    @property
    def gpus(self) -> Column:
        """GPUs of the job."""
        return self.tp * self.pp * self.dp * self.cp

    @property
    def micro_batches(self) -> Column:
        """Micro-batches of a pipeline in a step."""
        return np.maximum(1.0, np.floor(self.global_batch / (self.dp * self.micro_batch)))

    @property
    def tokens(self) -> Column:
        """Tokens of a micro-batch on one GPU of the context-parallel group."""
        return self.micro_batch * self.sequence / self.cp

    @property
    def moe_layers(self) -> Column:
        """Layers with experts."""
        return np.where(self.experts > 0, self.layers - self.dense_layers, 0.0)

    @property
    def counted(self) -> Flags:
        """Whether embedding and head take the place of a layer each in the pipeline's partition.

        As stated, and where the layers do not divide into stages but two more would.
        Source: Megatron Core (`account_for_embedding_in_pipeline_split`: an uneven count needs
        it); Llama Team 2024, arXiv 2407.21783, section 3.3.2 (126 layers over 16 stages).
        """
        uneven = (np.mod(self.layers, self.pp) > 0.0) & (np.mod(self.layers + 2.0, self.pp) == 0.0)
        open_ = np.isnan(self.embeddings_as_layers)
        found: Flags = (self.embeddings_as_layers > 0.0) | (open_ & uneven)
        return found

    @property
    def dropout(self) -> Column:
        """1 where layers drop out: models with GELU before fused attention, not since.

        Source: Korthikanti et al. 2022, arXiv 2205.05198, section 4.1 (masks are counted).
        """
        return np.where((self.mlp_matrices < 3.0) & (self.unfused > 0.0), 1.0, 0.0)

    @property
    def lean_loss(self) -> Flags:
        """Whether logits are kept in 16 bits alone: as stated, and in the first fused stacks.

        Source: llm-foundry's default loss (fused, backward in place).
        """
        found: Flags = (self.fused_loss > 0.0) | (self.early > 0.0)
        return found

    @property
    def resharding(self) -> Flags:
        """Whether gradients or weights are sharded anew with each micro-batch.

        Under a pipeline they stay whole through the step, since every micro-batch would pay again.
        Source: PyTorch FSDP2 in torchtitan (`reshard_after_forward`: never with a pipeline).
        """
        found: Flags = (self.zero >= 2.0) & (self.pp <= 1.0)
        return found

    @property
    def joined(self) -> Flags:
        """Whether the stack is of the first that joined 3D layouts and ZeRO 1 (2021, 2022)."""
        found: Flags = (self.unfused > 0.0) & (self.zero >= 1.0)
        return found

    @property
    def vendor(self) -> Flags:
        """Whether the stack is a current one of the chip's maker (Megatron Core and its kin)."""
        found: Flags = (self.unfused + self.early + self.native) == 0.0
        return found

    @classmethod
    def stack(cls, jobs: Sequence[Job]) -> Job:
        """Single jobs, one below the other."""
        columns = {f.name: np.array([getattr(j, f.name) for j in jobs]) for f in fields(cls)}
        return cls(**columns)


def job(
    shape: TransformerShape, layout: Layout, accelerator: Accelerator, precision: str = "bf16"
) -> Job:
    """The columns of a single job, each a number."""
    stack = stack_of(shape, layout, accelerator, precision)
    columns = {
        **shape_columns(shape),
        **layout_columns(layout),
        **machine_columns(accelerator, precision),
        **era_columns(stack, accelerator),
        "doubtful": float(is_doubtful(shape, layout, accelerator, precision)),
    }
    return Job(**{name: np.float64(value) for name, value in columns.items()})  # type: ignore[arg-type]


def shape_columns(shape: TransformerShape) -> dict[str, float]:
    """The part of a job that the model decides."""
    latent = shape.attention == "mla"
    return {
        "layers": shape.layers,
        "hidden": shape.hidden,
        "heads": shape.heads,
        "kv_heads": shape.kv_heads,
        "head_width": shape.head_width,
        "ffn": shape.ffn,
        "vocab": shape.vocab,
        "sequence": shape.sequence,
        "mlp_matrices": shape.mlp_matrices,
        "tied": float(shape.tied_embeddings),
        "experts": shape.experts,
        "active_experts": shape.active_experts,
        "shared_experts": shape.shared_experts,
        "expert_ffn": shape.expert_ffn,
        "dense_layers": shape.dense_layers if shape.experts else shape.layers,
        "latent": float(latent),
        "query_rank": shape.query_rank,
        "kv_rank": shape.kv_rank,
        "rope_width": shape.rope_head_dim if latent else 0,
        "value_width": shape.value_head_dim or shape.head_width,
        "window": shape.sliding_window,
        "window_layers": shape.sliding_window_layers if shape.sliding_window else 0,
        "mtp_layers": shape.mtp_layers,
        "positions": float(shape.learned_positions),
        "biases": float(shape.biases),
    }


def layout_columns(layout: Layout) -> dict[str, float]:
    """The part of a job that the layout decides."""
    said, counted = layout.tensor_parallel_overlap, layout.embeddings_as_layers
    return {
        "tp": layout.tp,
        "pp": layout.pp,
        "dp": layout.dp,
        "cp": layout.cp,
        "ep": layout.ep,
        "interleave": layout.interleave,
        "micro_batch": layout.micro_batch,
        "global_batch": layout.global_batch,
        "zero": layout.zero,
        "selective": float(layout.recompute == RECOMPUTE[1]),
        "full": float(layout.recompute == RECOMPUTE[2]),
        "sequence_parallel": float(layout.sequence_parallel and layout.tp > 1),
        "embeddings_as_layers": math.nan if counted is None else float(counted),
        "largest_stage": layout.largest_stage_layers or 0,
        "gradient_bytes": layout.gradient_bytes or 0,
        "offload": float(layout.optimizer_offload),
        "tp_overlap": math.nan if said is None else float(said),
        "compiled": float(layout.compiled),
        "fused_loss": float(layout.fused_cross_entropy),
    }


def machine_columns(accelerator: Accelerator, precision: str) -> dict[str, float]:
    """The part of a job that the machine decides."""
    kernels = accelerator.kernels
    low = precision in LOW_PRECISIONS
    wide = "bf16" if low else precision
    return {
        "low_precision": float(low),
        "quarter": float(precision == "fp4"),
        "element_bytes": 4.0 if precision == "fp32" else 2.0,
        "matmul_flops_per_s": accelerator.peak(precision) * accelerator.ceiling(precision),
        "wide_flops_per_s": accelerator.peak(wide) * accelerator.ceiling(wide),
        "peak_flops_per_s": accelerator.peak(wide),
        "scalar_flops_per_s": accelerator.peak("fp32"),
        "bandwidth": accelerator.bandwidth_bytes_per_s,
        "memory": accelerator.memory_bytes,
        "fast_link": max(accelerator.fast_link_bytes_per_s or accelerator.network_bytes_per_s, 1.0),
        "fast_domain": max(1, accelerator.fast_domain),
        "network": max(accelerator.network_bytes_per_s, 1.0),
        "processors": kernels.processors,
        "tile_rows": kernels.tile_rows,
        "tile_columns": kernels.tile_columns,
        "throttled": float(kernels.fused_era),
        "clock": kernels.clock,
        "recent": float(kernels.recent),
    }


def stack_of(
    shape: TransformerShape, layout: Layout, accelerator: Accelerator, precision: str
) -> str:
    """Which software a job has, told by the age of what it trains; one of `STACKS`.

    A job that names none is dated by its parts. Before FlashAttention (May 2022) stood A100s, GELU
    models of at most 2,048 tokens and 3D layouts or fp16, sequence and optimizer never split at
    once (Megatron-LM 3.0 brought both, and fused attention, in 2023), and neither compilers nor
    products beside tensor traffic nor fused losses; the first fused kernels came with learned
    positions and GELU under FSDP. SwiGLU models and 3D layouts on newer chips run the vendor's
    kernels, sharded gradients or weights, and what is compiled, PyTorch's own (in fp8 and on
    Blackwell only where it is said to compile).
    Source: Dao et al. 2022, arXiv 2205.14135; Dao 2023, arXiv 2307.08691; Shah et al. 2024,
    arXiv 2407.08608; PyTorch 2.0 (`torch.compile`, March 2023).
    """
    if layout.stack is not None:
        return layout.stack
    kernels = accelerator.kernels
    since = layout.compiled or layout.fused_cross_entropy or bool(layout.tensor_parallel_overlap)
    split = layout.sequence_parallel and layout.tp > 1 and layout.zero >= 1
    old_layout = precision == "fp16" or (layout.zero < 2 and layout.tp * layout.pp > 1)
    if is_old(shape, accelerator) and old_layout and not (since or split):
        return "unfused"
    if shape.learned_positions and shape.mlp == "gelu" and layout.zero >= 2 and not since:
        return "early"
    sharded = layout.zero >= 2 and not (precision in LOW_PRECISIONS or kernels.recent)
    return "native" if layout.compiled or sharded else "vendor"


def is_old(shape: TransformerShape, accelerator: Accelerator) -> bool:
    """Whether model and chip could both be of the time before fused attention.

    Source: `stack_of`.
    """
    return not accelerator.kernels.fused_era and shape.mlp == "gelu" and shape.sequence <= 2048


def is_doubtful(
    shape: TransformerShape, layout: Layout, accelerator: Accelerator, precision: str
) -> bool:
    """Whether a job's stack is a guess that its precision speaks against.

    Old models on old chips in bf16, which came while attention was being fused.
    Source: Kalamkar et al. 2019, arXiv 1905.12322 (bf16); A100, 2020, the first chip here with it.
    """
    guessed = layout.stack is None and not layout.compiled
    kinds = ("unfused", "vendor")
    found = stack_of(shape, layout, accelerator, precision) in kinds
    return guessed and found and is_old(shape, accelerator) and precision != "fp16"


def era_columns(stack: str, accelerator: Accelerator) -> dict[str, float]:
    """What the software decides: the attention kernel's speed, and which stack it is.

    Source: facts of the generation, by stack.
    """
    kernels = accelerator.kernels
    early, native = stack == "early", stack == "native"
    forward = kernels.native_attention_forward if native else kernels.vendor_attention_forward
    backward = kernels.native_attention_backward if native else kernels.vendor_attention_backward
    return {
        "attention_forward": kernels.early_attention if early else forward,
        "attention_backward": kernels.early_attention if early else backward,
        "unfused": float(stack == "unfused"),
        "early": float(early),
        "native": float(native),
    }


def take(columns: Job, index: Any) -> Job:
    """The rows of a job's columns that an index picks; scalars stay."""
    picked = {}
    for f in fields(columns):
        value = np.asarray(getattr(columns, f.name))
        picked[f.name] = value if value.ndim == 0 else value[index]
    return Job(**picked)
