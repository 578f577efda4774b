"""What islands agree on before they train: how often they exchange, and in how many bits."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.errors import InputError

BITS = (4, 8, 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The outer loop of a job.

    Source: Douillard et al. 2023, arXiv 2311.08105, section 3 (the outer rates: table 5).

    Attributes:
        islands: that share out every step's sequences.
        inner_steps: of each between two exchanges (H).
        bits: of a number on the wide link; 32 sends them as they are.
        learning_rate, momentum: of the outer optimizer, SGD with Nesterov's momentum.
        overlap_steps: that an island goes on for while an exchange is on its way, before it
            takes the shared move; 0 stands still for it.
        patience_s: for how long a round waits for the others, once one island has delivered.
        harbour: `host:port` where outer gradients meet.
        island: which of the islands this one is.
    """

    islands: int
    inner_steps: int
    bits: int = 8
    learning_rate: float = 0.7
    momentum: float = 0.9
    overlap_steps: int = 0
    patience_s: float = 120.0
    harbour: str = ""
    island: int = 0

    def __post_init__(self) -> None:
        if self.islands < 1 or self.inner_steps < 1:
            raise InputError("at least one island, and one step between exchanges", where="terms")
        if not 0 <= self.island < self.islands:
            what = f"one of 0 to {self.islands - 1}, not {self.island}"
            raise InputError(what, where="--island")
        if not (self.learning_rate > 0.0 and 0.0 <= self.momentum < 1.0):
            what = f"{self.learning_rate} and {self.momentum} are no rate above 0 and no momentum"
            raise InputError(what, where="--outer-rate", hint="0.7 and 0.9; or 1 and 0: the mean")
        if not 0 <= self.overlap_steps < self.inner_steps:
            what = f"0 to {self.inner_steps - 1} of {self.inner_steps} steps"
            raise InputError(f"{what}, not {self.overlap_steps}", where="--overlap")
        if self.bits not in BITS:
            raise InputError(f"one of {BITS}, not {self.bits}", where="--quantize")

    def place(self) -> tuple[str, int]:
        """Host and port of the harbour.

        Raises:
            InputError: it is not written so.
        """
        return place_of(self.harbour, "--harbour")


def place_of(address: str, option: str) -> tuple[str, int]:
    """Host and port of an address that an option gave.

    Raises:
        InputError: it is not written so.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        hint = "such as 10.0.0.1:7070"
        raise InputError(f"not an address: {address[:80]!r}", where=option, hint=hint)
    return host, int(port)
