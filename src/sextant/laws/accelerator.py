"""An accelerator as the laws of training see it: a data sheet and a few measured curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SHEET = ("bf16", "fp16", "tf32", "fp32")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernels:
    """How close to its data sheet a generation of chips comes, from benchmarks.

    `matmul_ceiling` is the best matrix product over the peak, by precision. The attention
    fractions are of the bf16 peak, on the arithmetic that a causal mask leaves: `vendor` kernels
    (cuDNN, Transformer Engine), `native` ones (PyTorch's own), `early` ones (2022 and 2023).
    """

    processors: int
    tile_rows: int
    tile_columns: int
    matmul_ceiling: Mapping[str, float]
    vendor_attention_forward: float
    vendor_attention_backward: float
    native_attention_forward: float
    native_attention_backward: float
    early_attention: float
    clock: float
    """Clock of a long run under the chip's power limit, over that of the best-known one."""
    fused_era: bool
    """Whether every stack for this generation has fused attention (all since Hopper)."""

    @property
    def recent(self) -> bool:
        """Whether the generation has fp4 (Blackwell and later)."""
        return "fp4" in self.matmul_ceiling


@dataclass(frozen=True, kw_only=True, slots=True)
class Accelerator:
    """One accelerator of a machine. Bytes, seconds and FLOP/s; links one way, per accelerator."""

    name: str
    memory_bytes: float
    bandwidth_bytes_per_s: float
    peak_flops_per_s: Mapping[str, float]
    fast_link_bytes_per_s: float
    fast_domain: int
    network_bytes_per_s: float
    """Its share of the links that leave the fast domain."""
    kernels: Kernels

    def peak(self, precision: str) -> float:
        """Dense peak at a precision; the nearest wider type where the sheet has none."""
        for name in (precision, *SHEET):
            if name in self.peak_flops_per_s:
                return self.peak_flops_per_s[name]
        return max(self.peak_flops_per_s.values())

    def ceiling(self, precision: str) -> float:
        """Best matrix product over the peak; bf16's share for a precision nobody measured."""
        known = self.kernels.matmul_ceiling
        return known.get(precision, known["bf16"])
