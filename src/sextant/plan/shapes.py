"""From a workload's `[model]` to the shape that the laws take."""

from __future__ import annotations

from functools import cache

from sextant.laws.shape import TransformerShape
from sextant.workload import Model

DEFAULT_SEQUENCE = 4096
DEFAULT_VOCAB = 128_256
_HEAD = 128


@cache
def shape_of(model: Model) -> TransformerShape:
    """The transformer shape of a model: as stated, with the usual values for what is left out."""
    sequence = model.sequence or DEFAULT_SEQUENCE
    if model.layers is None or model.hidden is None:
        count = model.parameters or 1.0
        return TransformerShape.from_parameters(count, sequence=sequence)
    heads = model.heads or max(1, model.hidden // _HEAD)
    head_dim = model.head_dim or max(1, model.hidden // heads)
    experts = model.experts or 0
    latent = model.attention == "mla"
    windowed = model.sliding_window_layers or model.layers
    ffn = model.ffn or (4 * model.hidden if model.mlp == "gelu" else 8 * model.hidden // 3)
    return TransformerShape(
        layers=model.layers,
        hidden=model.hidden,
        heads=heads,
        kv_heads=model.kv_heads or heads,
        head_dim=head_dim,
        ffn=ffn,
        vocab=model.vocab or DEFAULT_VOCAB,
        sequence=sequence,
        mlp=model.mlp,
        tied_embeddings=model.tied_embeddings or model.kind == "encoder",
        experts=experts,
        active_experts=(model.active_experts or 1) if experts else 0,
        shared_experts=model.shared_experts if experts else 0,
        expert_ffn=(model.expert_ffn or ffn) if experts else 0,
        dense_layers=min(model.dense_layers, model.layers) if experts else 0,
        attention="mla" if latent else "standard",
        query_rank=model.query_rank if latent else 0,
        kv_rank=(model.kv_rank or 512) if latent else 0,
        rope_head_dim=(model.rope_head_dim or 64) if latent else 0,
        value_head_dim=(model.value_head_dim or 0) if latent else 0,
        sliding_window=model.sliding_window,
        sliding_window_layers=min(windowed, model.layers) if model.sliding_window else 0,
        mtp_layers=model.mtp_layers,
    )


def parameters(model: Model) -> float:
    """Parameters, stated or from the shape."""
    return model.parameters or float(shape_of(model).parameters)


def active_parameters(model: Model) -> float:
    """Parameters that one token passes through: fewer than all in a mixture of experts."""
    if model.active_parameters:
        return model.active_parameters
    if model.parameters and not model.experts:
        return model.parameters
    shape = shape_of(model)
    return parameters(model) * shape.active_parameters / shape.parameters
