"""Runs for the tests of backtests: one of each kind, and how they are scored."""

from __future__ import annotations

from typing import Any

from sextant.facts import load_facts
from sextant.facts.training import load_training_facts
from sextant.laws.machine import constants_of, spread_of
from sextant.plan.backtest import Report, backtest

FACTS, TRAINING = load_facts(), load_training_facts()
MODEL = {
    "layers": 32,
    "hidden": 4096,
    "heads": 32,
    "kv_heads": 8,
    "ffn": 14336,
    "vocab": 128256,
    "sequence": 8192,
    "mlp": "swiglu",
    "tied_embeddings": False,
}
LAYOUT = {
    "tp": 2,
    "pp": 1,
    "dp": 8,
    "cp": 1,
    "interleave": 1,
    "micro_batch": 1,
    "global_batch": 128,
    "zero": 1,
    "recompute": "none",
    "sequence_parallel": True,
}


def row(name: str, **changes: Any) -> dict[str, Any]:
    """A run of an 8B model on two nodes, with changes."""
    found: dict[str, Any] = {
        "id": name,
        "source": "a test",
        "case": "one",
        "machine": "h100-80gb-sxm",
        "gpus": 16,
        "gpus_per_node": 8,
        "node_link_bytes_per_s": 400e9,
        "model": dict(MODEL),
        "layout": dict(LAYOUT),
        "precision": "bf16",
        "measured": {"step_s": 6.0},
        "notes": "none",
    }
    found.update(changes)
    return found


def score(rows: list[Any]) -> Report:
    """Runs scored with what ships."""
    return backtest(rows, FACTS, TRAINING, constants_of(TRAINING), spread_of(TRAINING))


VARIANTS: list[dict[str, Any]] = [
    {"machine": name}
    for name, machine in FACTS.machines.items()
    if machine.kind == "accelerator-node"
]
VARIANTS += [{"precision": p} for p in ("bf16", "fp16", "fp8", "fp4", "fp32")]
VARIANTS += [
    {"model": {**MODEL, **more}}
    for more in (
        {"sliding_window": 1024, "sliding_window_layers": 16},
        {"experts": 64, "active_experts": 4, "expert_ffn": 2048, "shared_experts": 1},
        {
            "attention": "mla",
            "query_rank": 1536,
            "kv_rank": 512,
            "rope_head_dim": 64,
            "value_head_dim": 128,
            "head_dim": 128,
        },
        {"mtp_layers": 1},
        {"learned_positions": True, "biases": True, "mlp": "gelu"},
        {"head_dim": 256, "parameters": 8e9},
    )
]
VARIANTS += [
    {"layout": {**LAYOUT, **more}}
    for more in (
        {"zero": 3, "recompute": "selective", "compiled": True},
        {"optimizer_offload": True},
        {"tensor_parallel_overlap": True, "fused_cross_entropy": True},
        {"gradient_dtype": "fp32"},
        {"recompute": "full", "embeddings_as_layers": False},
    )
]
VARIANTS += [{"node_link_bytes_per_s": None}, {"gpus_per_node": 72, "machine": "gb200-nvl72"}]
VARIANTS += [{"precision_detail": "mx", "composed": True, "attention_flops": "causal"}]
