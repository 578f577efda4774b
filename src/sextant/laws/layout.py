"""How one training job is spread over its GPUs."""

from __future__ import annotations

from dataclasses import dataclass

RECOMPUTE = ("none", "selective", "full")
STACKS = ("unfused", "early", "native", "vendor")
"""Kinds of software: unfused attention (to 2022), the first fused kernels, PyTorch's own, and the
chip's maker's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Degrees of parallelism and what a GPU keeps; `tp * pp * dp * cp` GPUs.

    Experts are spread over `ep` GPUs inside a pipeline stage. `interleave` virtual stages a GPU
    (1 is plain 1F1B). `micro_batch` and `global_batch` count sequences. `zero` spreads over
    `dp * cp`: 1 the optimizer, 2 gradients too, 3 weights too (FSDP full shard). `recompute` is
    `none`, `selective` (the attention core) or `full` (every layer).
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    cp: int = 1
    ep: int = 1
    interleave: int = 1
    micro_batch: int = 1
    global_batch: int = 1
    zero: int = 1
    recompute: str = "none"
    sequence_parallel: bool = True
    embeddings_as_layers: bool | None = None
    """Whether the pipeline counts embedding and head as layers; None: where the count needs it."""
    largest_stage_layers: int | None = None
    gradient_bytes: int | None = None
    optimizer_offload: bool = False
    tensor_parallel_overlap: bool | None = None
    """Whether tensor traffic runs beside products; None: as the stack does on that chip."""
    compiled: bool = False
    fused_cross_entropy: bool = False
    stack: str | None = None
    """One of `STACKS`; None: told by the job's parts (`laws/job.py`, `stack_of`)."""

    @property
    def gpus(self) -> int:
        """GPUs of the job."""
        return self.tp * self.pp * self.dp * self.cp

    @property
    def micro_batches(self) -> int:
        """Micro-batches that each pipeline works through in a step."""
        return max(1, self.global_batch // (self.dp * self.micro_batch))

    def describe(self) -> str:
        """One line: `tp=8 pp=12 dp=4 micro_batch=2 zero=1 recompute=full`."""
        degrees = {"tp": self.tp, "pp": self.pp, "dp": self.dp, "cp": self.cp, "ep": self.ep}
        said = [f"{name}={n}" for name, n in degrees.items() if n > 1 or name in ("tp", "dp")]
        if self.interleave > 1:
            said.append(f"interleave={self.interleave}")
        said.append(f"micro_batch={self.micro_batch}")
        return " ".join([*said, f"zero={self.zero}", f"recompute={self.recompute}"])
