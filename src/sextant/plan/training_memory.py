"""What one rank of this house's own trainer holds in tensors: by part, in bytes, exactly counted.

Products and weights are fp32 on a processor. Nothing here has seen a run; `laws/memory.py` is the
same question for the stacks of others on accelerators.
"""

from __future__ import annotations

from dataclasses import dataclass

from sextant.errors import InputError
from sextant.laws.shape import TransformerShape

_FP32 = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RankShape:
    """How a job is split, as far as one rank's memory depends on it.

    Attributes:
        pp, tp, fsdp: degrees of those mesh axes; data parallel ranks each hold all of it.
        micro_batch: sequences that pass at once.
        micro_batches: of a step on one rank.
    """

    pp: int = 1
    tp: int = 1
    fsdp: int = 1
    micro_batch: int = 1
    micro_batches: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class RankBytes:
    """Bytes on the fullest rank."""

    parameters: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.parameters + self.gradients + self.optimizer + self.activations


def rank_bytes(model: TransformerShape, split: RankShape) -> RankBytes:
    """Bytes of the fullest rank of a dense model.

    Weights and gradients take 4 bytes a number, Adam's moments 8. Activations are what the forward
    pass of all micro-batches in flight keeps for the backward pass: 1F1B keeps `pp` of them on the
    first stage, one fewer on each that follows.
    Source: Rajbhandari et al. 2020, arXiv 1910.02054, section 3; Narayanan et al. 2021, arXiv
    2104.04473, section 2.2.

    Raises:
        InputError: the model has experts, whose activations depend on where tokens go.
    """
    if model.experts:
        raise InputError("only dense models are counted", where="model.experts")
    stages = [_stage(model, split, stage) for stage in range(split.pp)]
    return max(stages, key=lambda held: held.total)


def _stage(model: TransformerShape, split: RankShape, stage: int) -> RankBytes:
    own = _layers(int(model.layers), split.pp, stage)
    first, last = stage == 0, stage == split.pp - 1
    weights = own * _layer_weights(model, split.tp)
    ends = model.vocab * model.hidden / split.tp
    weights += ends if first or last else 0.0
    if first and last and not model.tied_embeddings:
        weights += ends
    weights += model.hidden if last else 0.0
    local = weights / split.fsdp
    flying = min(split.micro_batches, split.pp - stage)
    tokens = split.micro_batch * float(model.sequence)
    kept = own * layer_numbers(model, split.tp)
    kept += last_numbers(model, split.tp) if last else 0.0
    return RankBytes(
        parameters=_FP32 * local,
        gradients=_FP32 * local,
        optimizer=2.0 * _FP32 * local,
        activations=_FP32 * flying * tokens * kept,
    )


def _layers(layers: int, stages: int, stage: int) -> int:
    """Layers of a stage; what does not divide goes to the first ones."""
    return layers // stages + (stage < layers % stages)


def _layer_weights(model: TransformerShape, tp: int) -> float:
    width = model.head_width
    attention = model.hidden * width * (2.0 * model.heads + 2.0 * model.kv_heads)
    return (attention + 3.0 * model.hidden * model.ffn) / tp + 2.0 * model.hidden


def layer_numbers(model: TransformerShape, tp: int) -> float:
    """Numbers that one layer keeps of a token for its backward pass.

    Of each norm its input, the normalized input and one root; what the projections read, twice;
    queries, keys and values, what attention gathered and one sum of exponents a head; of the gated
    layer gate, up, the gate's activation and their product. Sequence parallelism splits the norms,
    tensor parallelism the rest; what a projection reads is gathered whole on each rank.
    Source: counted on `decoder/model.py`; Korthikanti et al. 2022, arXiv 2205.05198, section 4.
    """
    width = 2.0 * (model.heads + model.kv_heads) * model.head_width
    norms = 2.0 * (2.0 * model.hidden + 1.0) / tp
    read = 2.0 * model.hidden
    inner = (width + model.heads + 4.0 * model.ffn) / tp
    return norms + read + inner


def last_numbers(model: TransformerShape, tp: int) -> float:
    """Numbers that the last norm, the head and the loss keep of a token.

    Source: as `layer_numbers`; the loss keeps the logarithm of every probability.
    """
    return (2.0 * model.hidden + 1.0) / tp + model.hidden + model.vocab / tp
