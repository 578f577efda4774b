"""BERT's encoder, forward only: what a retrieval model such as MiniLM is, and no more.

Importing sentence-transformers costs seconds at every start; this file needs torch alone, and lets
the batches, the number format and the attention kernel be chosen here. Shape suffixes: B sequences
in a batch, L tokens of a sequence (padded), T = B L, H hidden size, A heads, h = H / A.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812

from sextant.errors import InputError
from sextant.systems.rag.bert_config import is_plain_bert
from sextant.systems.rag.bert_linear import Linear

# From here on a sequence's own scores fill the cache, and attention goes one by one.
_LONG_TOKENS = 96
# So many rows more at a time: oneDNN makes a kernel for every number of rows, keeps a thousand, and
# what PyTorch has allocated with one that made room for another never comes back (docs/log.md).
_FEW_ROWS, _STEP, _LARGE_STEP = 512, 16, 128


@dataclass(frozen=True, kw_only=True, slots=True)
class BertShape:
    """The sizes of one BERT, read from its `config.json`."""

    layers: int
    hidden: int
    heads: int
    eps: float

    @classmethod
    def read(cls, folder: Path) -> BertShape:
        """The sizes that the configuration in `folder` states.

        Raises:
            InputError: it is not a BERT with GELU and absolute positions.
        """
        config = json.loads((folder / "config.json").read_text())
        if not is_plain_bert(config):
            raise InputError("not a plain BERT model", where=str(folder / "config.json"))
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            heads=config["num_attention_heads"],
            eps=config.get("layer_norm_eps", 1e-12),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Norm:
    """A layer norm's weights [H]."""

    scale: torch.Tensor
    shift: torch.Tensor
    eps: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.scale.shape, self.scale, self.shift, self.eps)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layer:
    """One layer's weights; queries come scaled by 1 / sqrt(h)."""

    qkv: Linear
    mix: Linear
    mix_norm: _Norm
    up: Linear
    down: Linear
    down_norm: _Norm


class Bert:
    """A BERT encoder with its weights in one number format.

    Layer norms and the softmax compute in the weights' own format; the caller pools in float32,
    which is where bfloat16's eight bits of mantissa would show.
    """

    def __init__(self, folder: Path, *, dtype: torch.dtype) -> None:
        from safetensors.torch import load_file

        self.shape = BertShape.read(folder)
        self.dtype = dtype
        read = load_file(folder / "model.safetensors")
        w = {name.removeprefix("bert."): tensor for name, tensor in read.items()}
        self._words = w["embeddings.word_embeddings.weight"].to(dtype)
        # Every token is of the first type here, so its vector is part of the position's.
        positions = w["embeddings.position_embeddings.weight"].float()
        self._positions = (positions + w["embeddings.token_type_embeddings.weight"][0]).to(dtype)
        self._norm = self._read_norm(w, "embeddings.LayerNorm")
        self._layers = [
            self._read_layer(w, f"encoder.layer.{layer}") for layer in range(self.shape.layers)
        ]

    def _read_layer(self, w: dict[str, torch.Tensor], at: str) -> _Layer:
        return _Layer(
            qkv=self._read_qkv(w, f"{at}.attention.self"),
            mix=self._read_linear(w, f"{at}.attention.output.dense"),
            mix_norm=self._read_norm(w, f"{at}.attention.output.LayerNorm"),
            up=self._read_linear(w, f"{at}.intermediate.dense", gelu=True),
            down=self._read_linear(w, f"{at}.output.dense"),
            down_norm=self._read_norm(w, f"{at}.output.LayerNorm"),
        )

    def _read_qkv(self, w: dict[str, torch.Tensor], at: str) -> Linear:
        """One product in place of three: the input is read once, and small batches fill the
        cores.
        """
        scale = (self.shape.hidden // self.shape.heads) ** -0.5
        parts = []
        for kind in ("weight", "bias"):
            query, key, value = (
                w[f"{at}.{name}.{kind}"].float() for name in ("query", "key", "value")
            )
            parts.append(torch.cat([scale * query, key, value]).to(self.dtype))
        return Linear(*parts, gelu=False)

    def _read_linear(self, w: dict[str, torch.Tensor], at: str, *, gelu: bool = False) -> Linear:
        return Linear(w[f"{at}.weight"].to(self.dtype), w[f"{at}.bias"].to(self.dtype), gelu=gelu)

    def _read_norm(self, w: dict[str, torch.Tensor], at: str) -> _Norm:
        return _Norm(
            scale=w[f"{at}.weight"].to(self.dtype),
            shift=w[f"{at}.bias"].to(self.dtype),
            eps=self.shape.eps,
        )

    def __call__(self, ids_BL: torch.Tensor, lengths_B: Sequence[int]) -> torch.Tensor:
        """The last layer's hidden states [B, L, H].

        Args:
            ids_BL: token ids, each row filled up with any.
            lengths_B: how many of each row are its own; the states of the others mean nothing,
                but are finite.
        """
        with torch.inference_mode():
            B, L = ids_BL.shape
            x_TH = (self._words[ids_BL] + self._positions[:L]).view(B * L, self.shape.hidden)
            x_TH = self._norm(_filled_up(x_TH))
            for layer in self._layers:
                qkv_T3H = layer.qkv(x_TH)[: B * L]
                mixed_TH = _filled_up(self._attend(qkv_T3H, lengths_B, L))
                x_TH = layer.mix_norm(layer.mix(mixed_TH).add_(x_TH))
                x_TH = layer.down_norm(layer.down(layer.up(x_TH)).add_(x_TH))
            return x_TH[: B * L].view(B, L, self.shape.hidden)

    def _attend(self, qkv_T3H: torch.Tensor, lengths_B: Sequence[int], L: int) -> torch.Tensor:
        """Each token's mixture [T, H] of its own sequence's values."""
        B, H, A = len(lengths_B), self.shape.hidden, self.shape.heads
        qkv_3BALh = qkv_T3H.view(B, L, 3, A, H // A).permute(2, 0, 3, 1, 4)
        padded = min(lengths_B) < L
        if L >= _LONG_TOKENS:
            return _attend_in_turn(qkv_3BALh, lengths_B).view(B * L, H)
        keep_B11L = None
        if padded:
            keep_BL = torch.arange(L) < torch.tensor(lengths_B)[:, None]
            keep_B11L = keep_BL[:, None, None, :]
        query, key, value = qkv_3BALh.unbind(0)
        mixed_BALh = F.scaled_dot_product_attention(
            query, key, value, attn_mask=keep_B11L, scale=1.0
        )
        return mixed_BALh.transpose(1, 2).reshape(B * L, H)


def _filled_up(x_TH: torch.Tensor) -> torch.Tensor:
    """The rows and zeros below them, up to one of few numbers of rows."""
    rows = len(x_TH)
    step = _STEP if rows <= _FEW_ROWS else _LARGE_STEP
    return F.pad(x_TH, (0, 0, 0, -rows % step))


def _attend_in_turn(qkv_3BALh: torch.Tensor, lengths_B: Sequence[int]) -> torch.Tensor:
    """Attention [B, L, A, h] sequence by sequence, without padding and so without a mask.

    One sequence's scores stay in the cache between the two products, and its softmax runs over
    them there: 18 ms for 16 sequences of 256 tokens in bfloat16 on one thread, where PyTorch's
    fused kernel takes 28 ms.
    """
    _, B, A, L, h = qkv_3BALh.shape
    # Zeros, for the rows of padding: what memory held before might not be finite.
    mixed_BLAh = torch.zeros(B, L, A, h, dtype=qkv_3BALh.dtype)
    for row, length in enumerate(lengths_B):
        q_ALh, k_ALh, v_ALh = qkv_3BALh[:, row, :, :length].contiguous()
        weights_ALL = torch.softmax(torch.bmm(q_ALh, k_ALh.transpose(1, 2)), dim=-1)
        mixed_BLAh[row, :length] = torch.bmm(weights_ALL, v_ALh).transpose(0, 1)
    return mixed_BLAh
