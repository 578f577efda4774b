"""BERT's encoder, forward only: what a retrieval model such as MiniLM is, and no more.

Importing sentence-transformers costs seconds at every start; this file needs torch alone, and lets
the batches, the number format and the attention kernel be chosen here. Shape suffixes: B sequences
in a batch, L tokens (padded), H hidden size, A heads, F inner size of the feed-forward layer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812

from sextant.errors import InputError
from sextant.systems.rag.bert_config import is_plain_bert


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


class Bert:
    """A BERT encoder with its weights in one number format.

    Layer norms and the softmax compute in the weights' own format; the caller pools in float32,
    which is where bfloat16's eight bits of mantissa would show.
    """

    def __init__(self, folder: Path, *, dtype: torch.dtype) -> None:
        from safetensors.torch import load_file

        self.shape = BertShape.read(folder)
        self.dtype = dtype
        weights = load_file(folder / "model.safetensors")
        self._w = {
            name.removeprefix("bert."): tensor.to(dtype)
            for name, tensor in weights.items()
            if tensor.is_floating_point()
        }
        for layer in range(self.shape.layers):
            self._join_query_key_value(f"encoder.layer.{layer}.attention.self")

    def _join_query_key_value(self, prefix: str) -> None:
        """One product in place of three: the input is read once, and small batches fill the
        cores.
        """
        for kind in ("weight", "bias"):
            parts = [self._w.pop(f"{prefix}.{name}.{kind}") for name in ("query", "key", "value")]
            self._w[f"{prefix}.qkv.{kind}"] = torch.cat(parts).contiguous()

    def __call__(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The last layer's hidden states [B, L, H]; rows where the mask is False mean nothing."""
        with torch.inference_mode():
            return self._forward(ids_BL, mask_BL)

    def _forward(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        w = self._w
        x_BLH = (
            w["embeddings.word_embeddings.weight"][ids_BL]
            + w["embeddings.position_embeddings.weight"][: ids_BL.shape[1]]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        x_BLH = self._norm(x_BLH, "embeddings.LayerNorm")
        # Without padding the kernel skips the mask, and one sequence (a question) has none.
        keep_B11L = None if bool(mask_BL.all()) else mask_BL[:, None, None, :]
        for layer in range(self.shape.layers):
            x_BLH = self._layer(x_BLH, keep_B11L, f"encoder.layer.{layer}")
        return x_BLH

    def _layer(self, x_BLH: torch.Tensor, keep_B11L: torch.Tensor | None, at: str) -> torch.Tensor:
        B, L, H = x_BLH.shape
        heads = self.shape.heads
        qkv = self._linear(x_BLH, f"{at}.attention.self.qkv")
        q_BALh, k_BALh, v_BALh = qkv.view(B, L, 3, heads, H // heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q_BALh, k_BALh, v_BALh, attn_mask=keep_B11L)
        mixed_BLH = mixed.transpose(1, 2).reshape(B, L, H)
        x_BLH = self._norm(
            x_BLH + self._linear(mixed_BLH, f"{at}.attention.output.dense"),
            f"{at}.attention.output.LayerNorm",
        )
        inner_BLF = F.gelu(self._linear(x_BLH, f"{at}.intermediate.dense"))
        return self._norm(
            x_BLH + self._linear(inner_BLF, f"{at}.output.dense"), f"{at}.output.LayerNorm"
        )

    def _linear(self, x: torch.Tensor, at: str) -> torch.Tensor:
        return F.linear(x, self._w[f"{at}.weight"], self._w[f"{at}.bias"])

    def _norm(self, x: torch.Tensor, at: str) -> torch.Tensor:
        scale, shift = self._w[f"{at}.weight"], self._w[f"{at}.bias"]
        return F.layer_norm(x, (self.shape.hidden,), scale, shift, self.shape.eps)
