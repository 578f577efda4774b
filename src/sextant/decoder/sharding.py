"""The table of how each parameter is split; `parallelize.py`, `tensor_parallel.py`, the importer
and whoever counts bytes read it, and nobody else says it.

A parameter is split at most once by tensor or expert parallelism, and what is left of it once more
by fully sharded data parallelism: along its first dimension, or inside each expert.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees


class Style(StrEnum):
    """How a module works when tensor parallelism splits it; between blocks the sequence is."""

    VOCABULARY = "vocabulary"
    """Rows of the embedding: each rank looks up the tokens that it has."""
    OUTPUTS = "outputs"
    """Rows of the matrix: each rank computes some of the outputs, from all inputs."""
    INPUTS = "inputs"
    """Columns of the matrix: each rank adds its part to all outputs."""
    SEQUENCE = "sequence"
    """Not split: each rank applies all of it to its part of the sequence."""
    LOGITS = "logits"
    """As `outputs`, from a split sequence; the loss is computed on split logits."""
    EXPERTS = "experts"
    """Whole experts, to the ranks of `ep` and `tp` together."""


_SPLIT_DIM = {Style.VOCABULARY: 0, Style.OUTPUTS: 0, Style.INPUTS: 1, Style.LOGITS: 0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row: modules whose name fits `module` are split like this."""

    module: str
    style: Style

    @property
    def tensor_dim(self) -> int | None:
        """The dimension that tensor parallelism splits, if it does. Biases have the first only."""
        return _SPLIT_DIM.get(self.style)


TABLE = (
    Row(module="embed", style=Style.VOCABULARY),
    Row(module="layers.*.attention_norm", style=Style.SEQUENCE),
    Row(module="layers.*.attention.[qkv]", style=Style.OUTPUTS),
    Row(module="layers.*.attention.out", style=Style.INPUTS),
    Row(module="layers.*.mlp_norm", style=Style.SEQUENCE),
    Row(module="layers.*.mlp.gate", style=Style.OUTPUTS),
    Row(module="layers.*.mlp.up", style=Style.OUTPUTS),
    Row(module="layers.*.mlp.down", style=Style.INPUTS),
    # A layer with experts works on the split sequence, so that no token is routed twice.
    Row(module="layers.*.mlp.router", style=Style.SEQUENCE),
    Row(module="layers.*.mlp.shared.*", style=Style.SEQUENCE),
    Row(module="layers.*.mlp.experts", style=Style.EXPERTS),
    Row(module="norm", style=Style.SEQUENCE),
    Row(module="head", style=Style.LOGITS),
)


def row_of(parameter: str) -> Row:
    """The row of a parameter, by its name in the model.

    Raises:
        KeyError: no row fits, so that a new parameter cannot be forgotten.
    """
    module = parameter.rpartition(".")[0]
    for row in TABLE:
        if fnmatchcase(module, row.module):
            return row
    raise KeyError(f"no row of the sharding table fits {parameter}")


def shard_dim(style: Style, shape: tuple[int, ...], fsdp: int) -> int:
    """The dimension that sharded data parallelism splits: of experts the second, where that is
    even, for a rank may have fewer experts than there are ranks to share them.
    """
    return 1 if style is Style.EXPERTS and shape[1] % fsdp == 0 else 0


def split_shape(parameter: str, shape: tuple[int, ...], degrees: Degrees) -> tuple[int, ...]:
    """The shape that the fullest rank holds of a parameter."""
    row, left = row_of(parameter), list(shape)
    if row.style is Style.EXPERTS:
        left[0] //= degrees.ep * degrees.tp
    elif row.tensor_dim is not None and row.tensor_dim < len(left):
        left[row.tensor_dim] //= degrees.tp
    dim = shard_dim(row.style, shape, degrees.fsdp)
    left[dim] = math.ceil(left[dim] / degrees.fsdp)
    return tuple(left)


def parameter_shapes(config: DecoderConfig) -> Mapping[str, tuple[int, ...]]:
    """The name and shape of every parameter, without making any; a tied head is left out."""
    hidden, width = config.hidden, config.head_dim
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (config.vocab, hidden)}
    heads = {"q": config.heads, "k": config.kv_heads, "v": config.kv_heads}
    for layer in range(config.layers):
        at = f"layers.{layer}."
        shapes[f"{at}attention_norm.weight"] = (hidden,)
        for name, num in heads.items():
            shapes[f"{at}attention.{name}.weight"] = (num * width, hidden)
            if config.qkv_bias:
                shapes[f"{at}attention.{name}.bias"] = (num * width,)
        shapes[f"{at}attention.out.weight"] = (hidden, config.heads * width)
        shapes[f"{at}mlp_norm.weight"] = (hidden,)
        shapes |= {f"{at}mlp.{name}": shape for name, shape in _mlp_shapes(config, layer).items()}
    shapes["norm.weight"] = (hidden,)
    if not config.tied:
        shapes["head.weight"] = (config.vocab, hidden)
    return shapes


def _mlp_shapes(config: DecoderConfig, layer: int) -> dict[str, tuple[int, ...]]:
    def gated(inner: int) -> dict[str, tuple[int, ...]]:
        into, back = (inner, config.hidden), (config.hidden, inner)
        return {"gate.weight": into, "up.weight": into, "down.weight": back}

    if not config.has_experts(layer):
        return gated(config.ffn)
    num, inner, hidden = config.experts, config.expert_ffn, config.hidden
    shapes: dict[str, tuple[int, ...]] = {
        "router.weight": (num, hidden),
        "experts.gate_EFD": (num, inner, hidden),
        "experts.up_EFD": (num, inner, hidden),
        "experts.down_EDF": (num, hidden, inner),
    }
    if config.shared_experts:
        inner *= config.shared_experts
        shapes |= {f"shared.{name}": shape for name, shape in gated(inner).items()}
    return shapes


def num_parameters(config: DecoderConfig) -> int:
    """All parameters of the model."""
    return sum(math.prod(shape) for shape in parameter_shapes(config).values())
