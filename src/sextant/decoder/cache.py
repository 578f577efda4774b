"""Keys and values of what a model has read and written: one row a sequence, filled from the left.

Prompts of any lengths stand in rows of one length: each begins at position 0, so what lies behind
its end is never attended to, and nothing depends on which other rows there are.

Shape suffixes: N rows, P positions that a row has room for; else as in `model.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sextant.decoder.config import DecoderConfig


class KeyValues:
    """The rows. The first `used` of them are in use, without gaps."""

    def __init__(
        self, config: DecoderConfig, rows: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Sets memory aside for rows of the config's context; `kv_heads` are this rank's own."""
        shape = (rows, config.kv_heads, config.context, config.head_dim)
        # Zeros: what a row has not reached has no weight, but no weight times NaN is NaN.
        self.k_NKPW = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.layers)]
        self.v_NKPW = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.layers)]

    def move(self, source: int, target: int, length: int) -> None:
        """Copies what a row holds to another, so that no gap stays."""
        for side in (self.k_NKPW, self.v_NKPW):
            for layer in side:
                layer[target, :, :length] = layer[source, :, :length]


class Prefill:
    """A memory that takes in whole prompts, padded on the right, from row `start` on."""

    def __init__(self, rows: KeyValues, start: int) -> None:
        self._rows, self._start = rows, start
        self.positions_BS: Tensor | None = None
        self.mask_BxST: Tensor | None = None

    def extend(self, layer: int, k_BKSW: Tensor, v_BKSW: Tensor) -> tuple[Tensor, Tensor]:
        """Keeps the prompts' keys and values; they attend to themselves only."""
        num, length = k_BKSW.shape[0], k_BKSW.shape[2]
        span = slice(self._start, self._start + num)
        self._rows.k_NKPW[layer][span, :, :length] = k_BKSW
        self._rows.v_NKPW[layer][span, :, :length] = v_BKSW
        return k_BKSW, v_BKSW


class Decode:
    """A memory that takes in one token a row, each at its own position."""

    def __init__(self, rows: KeyValues, positions_B: Tensor) -> None:
        self._rows, self._positions_B = rows, positions_B
        self._row_B = torch.arange(len(positions_B), device=positions_B.device)
        self._longest = int(positions_B.max()) + 1
        self.positions_BS: Tensor | None = positions_B[:, None]
        seen_T = torch.arange(self._longest, device=positions_B.device)
        self.mask_BxST: Tensor | None = (seen_T <= positions_B[:, None])[:, None, None, :]

    def extend(self, layer: int, k_BKSW: Tensor, v_BKSW: Tensor) -> tuple[Tensor, Tensor]:
        """Puts each row's token in its place; gives all rows up to the longest."""
        k_NKPW, v_NKPW = self._rows.k_NKPW[layer], self._rows.v_NKPW[layer]
        k_NKPW[self._row_B, :, self._positions_B] = k_BKSW[:, :, 0]
        v_NKPW[self._row_B, :, self._positions_B] = v_BKSW[:, :, 0]
        num = len(self._row_B)
        return k_NKPW[:num, :, : self._longest], v_NKPW[:num, :, : self._longest]
