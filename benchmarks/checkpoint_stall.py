"""For how long training stands still for a checkpoint, beside one that it waits for."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.bench import Figure
from sextant.decoder.config import SIZES
from sextant.systems.pretraining.job import Recipe

_ROUNDS = 5
_STEPS_BETWEEN = 4


def run() -> list[Figure]:
    """Saves the 10M model's whole state, in turn beside training and waited for."""
    import torch

    from sextant.decoder.parallelize import Treatment
    from sextant.systems.pretraining.checkpoint import Writer
    from sextant.systems.pretraining.state import training_state
    from sextant.systems.pretraining.step import Stepper, build_parts

    config = SIZES["10m"]
    parts = build_parts(config, None, Treatment(), seed=0, device=torch.device("cpu"))
    stepper = Stepper(parts, None, Recipe(), micro_batch=2)
    tokens = torch.randint(config.vocab, (2, 129))
    beside: list[float] = []
    waited: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder), identity="", layout="1", keep=1, distributed=False)
        for step in range(2 * _ROUNDS + 2):
            state = training_state(stepper.parts, stepper.optimizer)
            wait = bool(step % 2)
            took = writer.save(state, step=step, updates=step, wait=wait).stalled_s
            if step >= 2:  # the first of each kind makes its threads and buffers
                (waited if wait else beside).append(took)
            for _ in range(_STEPS_BETWEEN):
                stepper.step(tokens[:, :-1], tokens[:, 1:], learning_rate=1e-4)
            begun_s = time.perf_counter()
            writer.finish()
            if not wait and step >= 2 and time.perf_counter() - begun_s > 0.01:
                beside[-1] += time.perf_counter() - begun_s
    share = statistics.median(beside) / statistics.median(waited)
    return [
        Figure(
            name="stall of a checkpoint",
            measured=share,
            unit="",
            bar="under 0.1 of one that is waited for",
            held=share < 0.1,
            beside={
                "beside, s": statistics.median(beside),
                "waited for, s": statistics.median(waited),
            },
        )
    ]
