"""A Llama-style decoder. It knows no ranks: what splits it is in `parallelize.py`.

Shape suffixes: B sequences, S positions, D hidden, H query heads, K heads of keys and values, W
width of a head, F inner width, V vocabulary, E experts, T tokens (B S in a row), P positions that
the rotary tables hold.

Source: Touvron et al. 2023, arXiv 2302.13971, section 2.2; Llama 3, arXiv 2407.21783, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sextant.decoder.config import DecoderConfig
from sextant.decoder.experts import MixtureOfExperts, SwiGlu


class Memory(Protocol):
    """What attention remembers of earlier calls; see `cache.py`.

    Attributes:
        positions_BS: where in its sequence each token stands that is being fed.
        mask_BxST: which remembered positions each may see; None is the usual causal mask.
    """

    positions_BS: Tensor
    mask_BxST: Tensor | None

    def extend(self, layer: int, k_BKSW: Tensor, v_BKSW: Tensor) -> tuple[Tensor, Tensor]:
        """Takes in the keys and values of one layer; gives all that may be attended to."""
        ...


class Rope(nn.Module):
    """Rotary positions, as tables of cosines and sines in fp32; one object for all layers.

    Pairs are (i, i + W/2), as in Hugging Face's Llama, so that weights pass unpermuted.
    Source: Su et al. 2021, arXiv 2104.09864, section 3.4.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self._config = config
        shape = (config.context, config.head_dim)
        self.register_buffer("cos_PW", torch.empty(shape), persistent=False)
        self.register_buffer("sin_PW", torch.empty(shape), persistent=False)
        if not self.cos_PW.is_meta:
            self.reset()

    def reset(self) -> None:
        """Computes the tables: after making the model, or after its memory was allocated."""
        device = self.cos_PW.device
        wave = inverse_frequencies(self._config).to(device)
        angle = torch.outer(torch.arange(self._config.context, device=device).float(), wave)
        angle_PW = torch.cat((angle, angle), dim=-1)
        with torch.no_grad():
            self.cos_PW.copy_(angle_PW.cos())
            self.sin_PW.copy_(angle_PW.sin())

    def forward(self, x_BSHW: Tensor, positions_BS: Tensor | None) -> Tensor:
        """Turns queries or keys to their positions (0, 1, ... without any)."""
        at = slice(x_BSHW.shape[1]) if positions_BS is None else positions_BS
        cos, sin = self.cos_PW[at].unsqueeze(-2), self.sin_PW[at].unsqueeze(-2)
        low, high = x_BSHW.float().chunk(2, dim=-1)
        turned = torch.cat((-high, low), dim=-1)
        return (x_BSHW.float() * cos + turned * sin).to(x_BSHW.dtype)


def inverse_frequencies(config: DecoderConfig) -> Tensor:
    """Radians a position, for each pair of a head's dimensions; fp32 on the processor.

    Source: as `RopeScaling`.
    """
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device="cpu")
    wave = 1.0 / config.rope_base ** (pairs / config.head_dim)
    scaling = config.rope_scaling
    if scaling is None:
        return wave
    turns = scaling.original_context * wave / (2.0 * math.pi)
    span = scaling.high_frequency - scaling.low_frequency
    keep = ((turns - scaling.low_frequency) / span).clamp(0.0, 1.0)
    return wave * keep + wave / scaling.factor * (1.0 - keep)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions.

    Source: Ainslie et al. 2023, arXiv 2305.13245.
    """

    def __init__(self, config: DecoderConfig, layer: int, rope: Rope) -> None:
        super().__init__()
        width = config.head_dim
        self.layer, self.head_dim = layer, width
        self.rope = rope
        self.q = nn.Linear(config.hidden, config.heads * width, bias=config.qkv_bias)
        self.k = nn.Linear(config.hidden, config.kv_heads * width, bias=config.qkv_bias)
        self.v = nn.Linear(config.hidden, config.kv_heads * width, bias=config.qkv_bias)
        self.out = nn.Linear(config.heads * width, config.hidden, bias=False)

    def forward(self, x_BSD: Tensor, memory: Memory | None) -> Tensor:
        """What each position gathers from itself and those before it."""
        # -1, not the number of heads: under tensor parallelism a rank has only its own.
        q, k, v = (
            part(x_BSD).unflatten(-1, (-1, self.head_dim)) for part in (self.q, self.k, self.v)
        )
        positions = None if memory is None else memory.positions_BS
        q, k = self.rope(q, positions), self.rope(k, positions)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        mask = None
        if memory is not None:
            k, v = memory.extend(self.layer, k, v)
            mask = memory.mask_BxST
        gathered_BHSW = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=q.shape[1] != k.shape[1]
        )
        return self.out(gathered_BHSW.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """One layer: attention, then a SwiGLU or experts, each behind a norm and beside the stream."""

    def __init__(self, config: DecoderConfig, layer: int, rope: Rope) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.hidden, eps=config.norm_eps)
        self.attention = Attention(config, layer, rope)
        self.mlp_norm = nn.RMSNorm(config.hidden, eps=config.norm_eps)
        self.mlp = (
            MixtureOfExperts(config)
            if config.has_experts(layer)
            else SwiGlu(config.hidden, config.ffn)
        )

    def forward(self, x_BSD: Tensor, memory: Memory | None = None) -> Tensor:
        """The stream after this layer."""
        x_BSD = x_BSD + self.attention(self.attention_norm(x_BSD), memory)
        return x_BSD + self.mlp(self.mlp_norm(x_BSD))


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Which part of a decoder a module is: some layers, and perhaps the two ends."""

    layers: Sequence[int]
    first: bool = True
    last: bool = True


class Decoder(nn.Module):
    """The whole model, or one part of it for a pipeline. Layers keep their numbers as names.

    Parameters of a new one are not initialized: see `initial.py`, or read weights.
    """

    def __init__(self, config: DecoderConfig, part: Part | None = None) -> None:
        super().__init__()
        self.config = config
        self.part = part or Part(layers=range(config.layers))
        self.rope = Rope(config)
        self.embed = nn.Embedding(config.vocab, config.hidden) if self.part.first else None
        self.layers = nn.ModuleDict({str(i): Block(config, i, self.rope) for i in self.part.layers})
        self.norm, self.head = None, None
        if self.part.last:
            self.norm = nn.RMSNorm(config.hidden, eps=config.norm_eps)
            self.head = nn.Linear(config.hidden, config.vocab, bias=False)
        self.tie()

    def forward(
        self, x: Tensor, memory: Memory | None = None, pick_B: Tensor | None = None
    ) -> Tensor:
        """Logits of the next token at every position, or what this part passes on.

        Args:
            x: tokens_BS, or x_BSD from the part before.
            memory: keys and values of what came before; None in training.
            pick_B: gives logits_BV at this position of each sequence only.
        """
        x = x if self.embed is None else self.embed(x)
        for block in self.layers.values():
            x = block(x, memory)
        if self.norm is None or self.head is None:
            return x
        if pick_B is not None:
            x = x[torch.arange(x.shape[0], device=x.device), pick_B]
        return self.head(self.norm(x))

    def tie(self) -> None:
        """Makes one parameter of embedding and head, if they are tied and both here."""
        if self.config.tied and self.embed is not None and self.head is not None:
            self.head.weight = self.embed.weight

    def allocate(self, device: torch.device) -> Decoder:
        """Gives memory to a model made on the meta device, and computes what is no parameter."""
        self.to_empty(device=device)
        self.tie()  # allocating made two of what was one
        self.rope.reset()
        for block in self.layers.values():
            if isinstance(block.mlp, MixtureOfExperts):
                block.mlp.reset()
        return self
