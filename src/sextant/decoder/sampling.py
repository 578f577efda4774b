"""Draws the next token from logits. Shape suffixes: B sequences, V vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sextant.decoder.generator import Sampling


class Draw:
    """One sequence's own draws: they depend on its seed, not on what runs beside it."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._generator = torch.Generator().manual_seed(sampling.seed)

    def token(self, logits_V: Tensor) -> int:
        """The token at which the cumulative probability passes a random number."""
        sampling = self.sampling
        scaled_V = logits_V.double() / sampling.temperature
        num = min(sampling.top_k or len(scaled_V), len(scaled_V))
        kept, token = torch.topk(scaled_V, num)
        upto = kept.softmax(-1).cumsum(-1)
        # What is drawn is under `share`: the whole, or just what reaches `top_p`.
        share = float(upto[-1])
        if sampling.top_p is not None:
            last = min(int((upto < sampling.top_p).sum()), len(upto) - 1)
            share = float(upto[last])
        random = float(torch.rand((), dtype=torch.float64, generator=self._generator)) * share
        return int(token[min(int((upto <= random).sum()), len(token) - 1)])


def next_tokens(logits_BV: Tensor, draws: Sequence[Draw]) -> Tensor:
    """The next token of each sequence, on the processor."""
    likeliest = logits_BV.argmax(-1).cpu()
    for row, draw in enumerate(draws):
        if draw.sampling.temperature > 0.0:
            likeliest[row] = draw.token(logits_BV[row].cpu())
    return likeliest
