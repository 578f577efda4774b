"""What one rank does in the tests of a whole training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from sextant.decoder.mesh import Degrees, make_meshes
from sextant.decoder.shards import named_parameters
from sextant.systems.pretraining import step as stepping
from sextant.systems.pretraining.job import JOB_FILE, Job
from sextant.systems.pretraining.sampler import Sampler
from sextant.systems.pretraining.tokens import Tokens
from sextant.systems.pretraining.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one rank saw: its weights at the end, and the samples that it drew."""

    weights: dict[str, Any]
    samples: list[int]


def train_with_a_flaw(out: str, layout: str, step: int) -> Run:
    """The same, and at one step a chip errs once: its gradient is not finite."""
    clip, calls = stepping.clip, []

    def flawed(*given: Any) -> float:
        calls.append(clip(*given))
        return float("nan") if len(calls) == step + 1 else calls[-1]

    with patch.object(stepping, "clip", flawed):
        return train(out, layout)


def train(out: str, layout: str) -> Run:
    """Trains the job that is in a folder, from its newest checkpoint to its end."""
    degrees = Degrees.parse(layout)
    job = Job.read(Path(out) / JOB_FILE).with_layout(degrees)
    meshes = make_meshes(degrees) if degrees.ranks > 1 else None
    tokens = Tokens.open(job.data)
    drawn: list[int] = []
    whole = Sampler.batch

    def noted(self: Sampler, first: int, count: int) -> Any:
        drawn.extend(range(first, first + count))
        return whole(self, first, count)

    Sampler.batch = noted  # type: ignore[method-assign]
    try:
        trainer = Trainer(job, tokens, meshes, torch.device("cpu"), lambda: None)
        trainer.run()
    finally:
        Sampler.batch = whole  # type: ignore[method-assign]
    weights = {}
    for part in trainer.parts:
        for name, parameter in named_parameters(part):
            held = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
            weights[name] = held.detach().numpy().copy()
    # Ranks that share sequences draw the same; one of them tells.
    tells = meshes is None or (
        meshes.dense.get_local_rank("tp") == 0 and meshes.dense.get_local_rank("pp") == 0
    )
    return Run(weights=weights, samples=drawn if tells else [])
