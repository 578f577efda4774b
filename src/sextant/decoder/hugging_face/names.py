"""What a parameter is called in a Hugging Face checkpoint."""

from __future__ import annotations

_ENDS = {
    "embed.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
_IN_LAYER = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention.q.weight": "self_attn.q_proj.weight",
    "attention.k.weight": "self_attn.k_proj.weight",
    "attention.v.weight": "self_attn.v_proj.weight",
    "attention.q.bias": "self_attn.q_proj.bias",
    "attention.k.bias": "self_attn.k_proj.bias",
    "attention.v.bias": "self_attn.v_proj.bias",
    "attention.out.weight": "self_attn.o_proj.weight",
    "mlp_norm.weight": "post_attention_layernorm.weight",
    "mlp.gate.weight": "mlp.gate_proj.weight",
    "mlp.up.weight": "mlp.up_proj.weight",
    "mlp.down.weight": "mlp.down_proj.weight",
    "mlp.router.weight": "block_sparse_moe.gate.weight",
}
_EXPERT = {"gate_EFD": "w1", "up_EFD": "w3", "down_EDF": "w2"}


def is_stacked(name: str) -> bool:
    """Whether a parameter holds all experts in one, which a checkpoint holds apart."""
    return name.rpartition(".")[2] in _EXPERT


def theirs(name: str, expert: int | None = None) -> str:
    """The name in a checkpoint; of experts, that of one.

    Raises:
        KeyError: a checkpoint has no such parameter.
    """
    if name in _ENDS:
        return _ENDS[name]
    _, layer, rest = name.split(".", 2)
    if is_stacked(name):
        matrix = _EXPERT[name.rpartition(".")[2]]
        rest = f"block_sparse_moe.experts.{expert}.{matrix}.weight"
    else:
        rest = _IN_LAYER[rest]
    return f"model.layers.{layer}.{rest}"
