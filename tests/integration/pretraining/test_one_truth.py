"""However a model is split, every step's loss and the final weights are those of one process.

Losses agree to 1e-5 relative over 20 steps, weights to 1e-4 absolute. What is left is the order of
additions in fp32: gradients are summed over other groups of sequences, and AdamW divides a small
gradient by its own size, so that a last digit of it can move a weight by a part of the learning
rate (3e-3 here).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

if find_spec("torch") is None:
    pytest.skip("torch is not installed", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))

from pool import Pool
from truth_worker import MODELS, RECIPE, SEED, Trace, Trial, batches

from sextant.decoder.hugging_face import export
from sextant.decoder.initial import initialize
from sextant.decoder.mesh import Degrees
from sextant.decoder.model import Decoder
from sextant.decoder.sharding import split_shape
from sextant.decoder.shards import named_parameters
from sextant.systems.pretraining.held import IGNORED

LOSS_RELATIVE, WEIGHT_ABSOLUTE = 1e-5, 1e-4
TRIALS = [
    Trial(model="dense", layout="dp=2"),
    Trial(model="dense", layout="dp=4"),
    Trial(model="dense", layout="fsdp=2"),
    Trial(model="tied", layout="dp=2,fsdp=2", recompute="full"),
    Trial(model="dense", layout="tp=2", recompute="selective", micro_batch=4),
    Trial(model="dense", layout="pp=2"),
    Trial(model="deep", layout="pp=2,interleave=2"),
    Trial(model="tied", layout="pp=2,tp=2", micro_batch=4),
    Trial(model="tied", layout="dp=2,tp=2", micro_batch=4),
    Trial(model="tied", layout="dp=2,pp=2,tp=2"),
    Trial(model="experts", layout="ep=2", recompute="full"),
    Trial(model="experts", layout="dp=2,ep=2"),
    # Beyond the twelve that matter most: fewer steps, for the time they take.
    Trial(model="tied", layout="fsdp=2,tp=2", micro_batch=4, steps=8),
    Trial(model="biased", layout="ep=2", recompute="selective", steps=8),
    Trial(model="experts", layout="fsdp=2,pp=2,ep=2", micro_batch=1, steps=8),
    Trial(model="experts", layout="ep=2,tp=2", micro_batch=4, steps=8),
]

Run = Callable[[Trial], list[Trace]]


@pytest.fixture(scope="module")
def run(pool: Pool) -> Run:
    """Runs a trial, once."""

    @lru_cache
    def run_trial(trial: Trial) -> list[Trace]:
        ranks = Degrees.parse(trial.layout).ranks
        traces: list[Trace] = pool.call("truth_worker:train", ranks, trial)
        return traces

    return run_trial


def test_the_text_can_be_learned_and_the_clip_is_used(run: Run) -> None:
    """Otherwise equal losses would prove little."""
    (alone,) = run(Trial(model="dense", layout="1"))
    assert alone.losses[-1] < 0.9 * alone.losses[0]
    assert min(alone.norms) < RECIPE.clip < max(alone.norms)


@pytest.mark.parametrize("trial", TRIALS, ids=lambda t: f"{t.model}-{t.layout}-{t.recompute}")
def test_every_step_is_that_of_one_process(run: Run, trial: Trial) -> None:
    (alone,) = run(Trial(model=trial.model, layout="1", steps=trial.steps))
    traces = run(trial)
    for trace in traces:
        np.testing.assert_allclose(trace.losses, alone.losses, rtol=LOSS_RELATIVE, atol=0)
        np.testing.assert_allclose(trace.norms, alone.norms, rtol=1e-4, atol=0)
    seen = set()
    for trace in traces:
        for name, weight in trace.weights.items():
            seen.add(name)
            np.testing.assert_allclose(
                weight, alone.weights[name], rtol=0, atol=WEIGHT_ABSOLUTE, err_msg=name
            )
        for name, price in trace.prices.items():
            # Loads are counts: no rounding, no split may change one.
            np.testing.assert_array_equal(price, alone.prices[name], err_msg=name)
    assert seen == set(alone.weights)
    assert_shares_are_the_tables(traces, alone, Degrees.parse(trial.layout))


def assert_shares_are_the_tables(traces: list[Trace], alone: Trace, degrees: Degrees) -> None:
    """The fullest rank holds of every parameter what the sharding table says."""
    for name, whole in alone.weights.items():
        held = [trace.shapes[name] for trace in traces if name in trace.shapes]
        fullest = tuple(max(sizes) for sizes in zip(*held, strict=True))
        assert fullest == split_shape(name, whole.shape, degrees), name


def test_one_process_is_a_plain_loop(run: Run, tmp_path: Path) -> None:
    """Hugging Face's Llama from the same weights, whole batches, torch's own clipping and AdamW."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    transformers = pytest.importorskip("transformers")
    config = MODELS["dense"]
    first = Decoder(config)
    initialize(first, SEED)
    export(config, dict(named_parameters(first)).__getitem__, tmp_path / "first")
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "first").train()
    matrices = [p for p in plain.parameters() if p.dim() > 1]
    vectors = [p for p in plain.parameters() if p.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": RECIPE.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=RECIPE.learning_rate, betas=RECIPE.betas, eps=RECIPE.eps)
    losses = []
    for tokens, targets in batches():
        logits = plain(tokens).logits
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), RECIPE.clip)
        adam.step()
        adam.zero_grad()
        losses.append(float(loss.detach()))
    (alone,) = run(Trial(model="dense", layout="1"))
    np.testing.assert_allclose(alone.losses, losses, rtol=LOSS_RELATIVE, atol=0)
