"""A process that writes checkpoints without a pause, each with its number in every weight."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from sextant.systems.pretraining import checkpoint


def write(out: str) -> None:
    """Goes on from the newest until it is killed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    newest = checkpoint.newest(Path(out))
    step = newest[1].step if newest else 0
    writer = checkpoint.Writer(Path(out), identity="same", layout="1", keep=2, distributed=False)
    while True:
        step += 1
        state = {"weight": torch.full((1 << 18,), float(step))}
        writer.save(state, step=step, updates=step)
        state["weight"].fill_(-1.0)  # what was handed over is copied already
