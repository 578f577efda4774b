"""The 10M model and a Hugging Face Llama of its shape, on the same tokens of real text.

Both take each step in turn, in one process, so that a busy machine slows both alike. The budget is
`SEXTANT_LEARN_STEPS` steps of 4,096 tokens (60 by default; the whole text once is 250).
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import Figure, needs
from benchmarks.plain_llama import PlainLlama
from sextant.decoder.config import DecoderConfig, named_config, vocab_for
from sextant.systems.pretraining import held
from sextant.systems.pretraining.job import Recipe
from sextant.systems.pretraining.prepare import Wish, prepare
from sextant.systems.pretraining.sampler import training_sampler
from sextant.systems.pretraining.text import Source
from sextant.systems.pretraining.tokens import Tokens

BATCH, SEQUENCE, MICRO_BATCH = 16, 256, 8
TEXTS = ("wikitext2.valid.txt", "2600_war_and_peace.txt")
_HELD_WINDOWS = 64


@dataclass
class Runs:
    """Both runs, step by step."""

    ours_s: list[float]
    theirs_s: list[float]
    ours_held: float
    theirs_held: float


def prepared(folder: Path) -> Tokens:
    """Tokens of the real text, a tenth of it held back."""
    text = needs("text")
    sources = tuple(Source(path=text / name) for name in TEXTS)
    prepare(
        Wish(sources=sources, num_ids=8192, held_fraction=0.1),
        folder / "tokens",
        lambda _done, _all: None,
    )
    return Tokens.open(folder / "tokens")


def run() -> list[Figure]:
    """Trains both, and compares."""
    steps = int(os.environ.get("SEXTANT_LEARN_STEPS", "60"))
    with tempfile.TemporaryDirectory() as folder:
        tokens = prepared(Path(folder))
        config = named_config("10m", vocab_for(tokens.card.num_ids))
        runs = both(tokens, config, steps)
    ours_s, theirs_s = sum(runs.ours_s), sum(runs.theirs_s)
    speed = statistics.median(b / a for a, b in zip(runs.ours_s, runs.theirs_s, strict=True))
    rate = BATCH * SEQUENCE / statistics.median(runs.ours_s)
    return [
        Figure(
            name="held bits a byte",
            measured=runs.ours_held,
            unit="",
            bar=f"at most 1.02x of the plain Llama's after {steps} steps",
            held=runs.ours_held <= 1.02 * runs.theirs_held,
            beside={"plain Llama": runs.theirs_held},
        ),
        Figure(
            name="time to learn it",
            measured=ours_s,
            unit="s",
            bar="no more than the plain Llama's",
            held=ours_s <= theirs_s,
            beside={"plain Llama": theirs_s},
        ),
        Figure(
            name="tokens a second",
            measured=rate,
            unit="/s",
            bar="at least 1.0x of the plain loop, median of steps in turn",
            held=speed >= 1.0,
            beside={"times plain": speed, "plain loop": rate / speed},
        ),
    ]


def both(tokens: Tokens, config: DecoderConfig, steps: int) -> Runs:
    """Steps both models in turn on the same sequences."""
    import torch

    from sextant.decoder.parallelize import Treatment
    from sextant.systems.pretraining.step import Stepper, build_parts

    recipe = Recipe(learning_rate=1e-3, warmup_steps=20)
    parts = build_parts(config, None, Treatment(), seed=0, device=torch.device("cpu"))
    ours = Stepper(parts, None, recipe, micro_batch=MICRO_BATCH)
    theirs = PlainLlama(config, recipe, micro_batch=MICRO_BATCH)
    sampler = training_sampler(tokens, sequence=SEQUENCE, seed=0)
    took: tuple[list[float], list[float]] = ([], [])
    for step in range(steps):
        ids = torch.from_numpy(sampler.batch(step * BATCH, BATCH))
        text, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
        rate = recipe.rate(step, steps)
        # Who goes first changes, for the caches' sake.
        for which in (0, 1) if step % 2 else (1, 0):
            begun_s = time.perf_counter()
            if which == 0:
                ours.step(text, targets, learning_rate=rate)
            else:
                theirs.step(text, targets, rate)
            took[which].append(time.perf_counter() - begun_s)
    return Runs(took[0], took[1], *_held(tokens, ours, theirs))


def _held(tokens: Tokens, ours: Any, theirs: PlainLlama) -> tuple[float, float]:
    """Bits a byte of held text, of both."""
    import torch

    parts = [part for part in tokens.card.parts if part.split == "held"]
    rows = list(held.windows([tokens.stream(part) for part in parts], SEQUENCE))
    rows = [row for row in rows[:: max(1, len(rows) // _HELD_WINDOWS)] if row[1].min() >= 0]
    rows = rows[: len(rows) // MICRO_BATCH * MICRO_BATCH]
    per_token = sum(p.text_bytes for p in parts) / sum(p.tokens for p in parts)
    sums, counted = [0.0, 0.0], 0
    for text, targets in held.batches(rows, MICRO_BATCH, 0, 1):
        some, wanted = torch.from_numpy(text), torch.from_numpy(targets)
        loss, num = ours.evaluate(some, wanted)
        with torch.no_grad():
            sums[1] += float(theirs.loss(some, wanted)) * num
        sums[0] += loss
        counted += num
    ours_bits, theirs_bits = (total / counted / per_token / math.log(2) for total in sums)
    return ours_bits, theirs_bits
