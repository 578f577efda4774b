"""What one of two processes does: holds its part of a model, and writes on together."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist

from sextant.decoder.config import DecoderConfig
from sextant.decoder.generate import generate
from sextant.decoder.initial import initialize
from sextant.decoder.model import Decoder
from sextant.decoder.shards import Slices, named_parameters
from sextant.decoder.tensor_parallel import rank_model

TIED = DecoderConfig(
    vocab=128, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=48, context=64
)
EXPERTS = replace(TIED, tied=False, experts=4, active_experts=2, expert_ffn=24, shared_experts=1)
CONFIGS = {
    "tied": TIED,
    "untied, with biases": replace(TIED, tied=False, qkv_bias=True),
    "a vocabulary that does not divide": replace(TIED, vocab=127),
    "experts": EXPERTS,
}
PROMPTS = [[5, 9, 30], [7], [100, 3, 3, 3, 3, 90, 15], [64] * 20]


def written(config: DecoderConfig, rank: int, ranks: int) -> tuple[list[list[int]], int]:
    """What a rank writes, and how many numbers it holds."""
    whole = Decoder(config)
    initialize(whole, 6)
    weights: dict[str, Any] = dict(named_parameters(whole))

    def part_of(name: str, slices: Slices) -> torch.Tensor:
        factor = 1.0 if name.endswith("norm.weight") else 12.0
        return weights[name].detach()[slices] * factor

    model = rank_model(config, rank, ranks, part_of, torch.float32)
    held = sum(parameter.numel() for parameter in model.parameters())

    def agree(tokens: torch.Tensor) -> torch.Tensor:
        chosen = tokens.clone()
        if ranks > 1:
            dist.broadcast(chosen, 0)
            assert torch.equal(chosen, tokens), "the ranks chose differently"
        return chosen

    return generate(model, PROMPTS, max_new_tokens=24, rows=3, agree=agree), held


def serve(rank: int, ranks: int, store: str, answers: Connection) -> None:
    """Writes with every config."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(store, ranks),
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=60),
    )
    for name, config in CONFIGS.items():
        answers.send((name, *written(config, rank, ranks)))
    dist.destroy_process_group()
