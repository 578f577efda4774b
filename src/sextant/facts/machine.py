"""A machine as the planner sees it: a few numbers, each row with its source and date."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

_ABOVE_ZERO = (
    "cores",
    "memory_bytes",
    "memory_bandwidth_bytes_per_s",
    "disk_bytes",
    "disk_bandwidth_bytes_per_s",
    "network_bytes_per_s",
)
_ABOVE_ZERO_OF_ACCELERATORS = ("accelerator_memory_bytes", "accelerator_bandwidth_bytes_per_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One machine (a node, or a rack that is one fast domain). Bytes, seconds, FLOP/s, dollars.

    `accelerators` is 0 for a machine without any; then the processor's own numbers stand in.
    `peak_flops_per_s` is dense, of one accelerator (or of the whole processor), by number type.
    """

    name: str
    title: str
    kind: str
    accelerators: int
    accelerator_memory_bytes: float
    accelerator_bandwidth_bytes_per_s: float
    peak_flops_per_s: Mapping[str, float]
    fast_link_bytes_per_s: float
    fast_domain: int
    cores: int
    memory_bytes: float
    memory_bandwidth_bytes_per_s: float
    disk_bytes: float
    disk_bandwidth_bytes_per_s: float
    network_bytes_per_s: float
    price_usd_per_hour: float
    source: str
    date: str
    price_source: str = ""
    aliases: tuple[str, ...] = ()
    measured: Mapping[str, float] = field(default_factory=dict)
    """Unit costs that `sextant probe` measured on this machine; empty for a data sheet."""

    def __post_init__(self) -> None:
        names = _ABOVE_ZERO + (_ABOVE_ZERO_OF_ACCELERATORS if self.accelerators else ())
        sizes = {name: getattr(self, name) for name in names}
        sizes |= {f"peak_flops_per_s.{name}": v for name, v in self.peak_flops_per_s.items()}
        for name, value in sizes.items():
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number above zero")
        if not self.peak_flops_per_s:
            raise ValueError("peak_flops_per_s is empty")

    @property
    def units(self) -> int:
        """Devices that compute: its accelerators, or the machine itself."""
        return max(1, self.accelerators)

    @property
    def unit_memory_bytes(self) -> float:
        """Memory of one accelerator, or of the machine where it has none."""
        return self.accelerator_memory_bytes if self.accelerators else self.memory_bytes

    @property
    def unit_bandwidth_bytes_per_s(self) -> float:
        """Memory bandwidth of one accelerator, or of the machine where it has none."""
        if self.accelerators:
            return self.accelerator_bandwidth_bytes_per_s
        return self.memory_bandwidth_bytes_per_s

    def flops_per_s(self, precision: str) -> float:
        """Dense peak of one unit at a precision; the nearest wider type where it has none."""
        order = ("fp4", "fp8", "int8", "bf16", "fp16", "tf32", "fp32", "fp64")
        start = order.index(precision) if precision in order else 3
        for name in (*order[start:], *reversed(order[:start])):
            if name in self.peak_flops_per_s:
                return self.peak_flops_per_s[name]
        return max(self.peak_flops_per_s.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """A number that is true of hardware, links, failures or prices."""

    name: str
    title: str
    value: float
    unit: str
    low: float
    high: float
    source: str
    date: str
