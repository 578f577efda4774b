"""What one process of the pool does: trains a tiny model under a layout, and tells what came."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees, make_meshes
from sextant.decoder.parallelize import Recompute, Treatment
from sextant.decoder.shards import local_part, named_parameters
from sextant.systems.pretraining.held import IGNORED
from sextant.systems.pretraining.job import Recipe
from sextant.systems.pretraining.step import Stepper, build_parts

BATCH, SEQUENCE, VOCAB, SEED = 8, 16, 64, 3
RECIPE = Recipe(learning_rate=3e-3, clip=1.0)
DENSE = DecoderConfig(
    vocab=VOCAB,
    hidden=32,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=8,
    ffn=48,
    context=SEQUENCE,
    tied=False,
)
EXPERTS = replace(
    DENSE,
    tied=True,
    experts=4,
    active_experts=2,
    expert_ffn=24,
    shared_experts=1,
    balance_rate=0.1,
)
MODELS = {
    "dense": DENSE,
    "tied": replace(DENSE, tied=True),
    "deep": replace(DENSE, tied=True, layers=4),
    "experts": EXPERTS,
    "biased": replace(EXPERTS, balance="bias", balance_rate=0.01),
}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run: a model under a layout."""

    model: str
    layout: str
    recompute: str = "none"
    micro_batch: int = 2
    steps: int = 20


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What one rank saw of a run."""

    losses: list[float]
    norms: list[float]
    weights: dict[str, Any]
    prices: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def batches(steps: int = 20) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The whole batch of each step: a text with something to learn, some targets not counted."""
    generator = torch.Generator().manual_seed(7)
    made = []
    for _ in range(steps):
        text = torch.randint(0, VOCAB, (BATCH, SEQUENCE + 1), generator=generator)
        for at in range(1, SEQUENCE + 1):
            noise = torch.randint(0, 3, (BATCH,), generator=generator)
            text[:, at] = (3 * text[:, at - 1] + noise) % VOCAB
        tokens, targets = text[:, :-1].contiguous(), text[:, 1:].clone()
        # Of unlike number in each sequence: a mean of means would not be the mean.
        for row in range(BATCH):
            targets[row, : row % 5] = IGNORED
        made.append((tokens, targets))
    return made


def train(trial: Trial) -> Trace:
    """Takes all steps of a trial on this rank."""
    degrees = Degrees.parse(trial.layout)
    meshes = make_meshes(degrees) if degrees.ranks > 1 else None
    treatment = Treatment(recompute=Recompute(trial.recompute))
    parts = build_parts(
        MODELS[trial.model], meshes, treatment, seed=SEED, device=torch.device("cpu")
    )
    stepper = Stepper(parts, meshes, RECIPE, micro_batch=trial.micro_batch)
    rank = meshes.data_rank if meshes else 0
    each = BATCH // degrees.data
    own = slice(rank * each, (rank + 1) * each)
    outcomes = [
        stepper.step(tokens[own], targets[own], learning_rate=RECIPE.learning_rate)
        for tokens, targets in batches(trial.steps)
    ]
    weights: dict[str, Any] = {}
    prices: dict[str, Any] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for part in parts:
        for name, parameter in named_parameters(part):
            whole = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
            weights[name] = whole.detach().numpy()
            shapes[name] = tuple(local_part(parameter).shape)
        prices |= {n: b.numpy() for n, b in part.named_buffers() if n.endswith("price_E")}
    return Trace(
        losses=[outcome.loss for outcome in outcomes],
        norms=[outcome.gradient_norm for outcome in outcomes],
        weights=weights,
        prices=prices,
        shapes=shapes,
    )
