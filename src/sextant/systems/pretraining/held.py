"""Windows of text that is only evaluated: each token but the first of a text is predicted once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sextant.systems.pretraining.sampler import Windows

Ids = npt.NDArray[np.int64]
IGNORED = -100
"""A target that does not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What an evaluation found.

    Attributes:
        loss_per_token: in nats.
        bits_per_byte: of the text in UTF-8; compares across tokenizers.
        tokens: that were predicted.
        bytes: of the text that they stand for.
    """

    loss_per_token: float
    bits_per_byte: float
    tokens: int
    bytes: int


def score(loss_sum: float, tokens: int, num_bytes: float) -> Score:
    """The score of a sum of losses in nats, over a text of so many bytes."""
    return Score(
        loss_per_token=loss_sum / max(1, tokens),
        bits_per_byte=loss_sum / math.log(2.0) / max(1.0, num_bytes),
        tokens=tokens,
        bytes=round(num_bytes),
    )


def windows(streams: Sequence[Windows], sequence: int) -> Iterator[tuple[Ids, Ids]]:
    """Tokens and targets [sequence] of all streams, one window after the other, the last padded."""
    for stream in streams:
        for start in range(0, max(0, len(stream) - 1), sequence):
            have = min(sequence, len(stream) - 1 - start)
            ids = stream.window(start, have + 1)
            tokens = np.zeros(sequence, np.int64)
            targets = np.full(sequence, IGNORED, np.int64)
            tokens[:have], targets[:have] = ids[:-1], ids[1:]
            yield tokens, targets


def batches(
    all_windows: Sequence[tuple[Ids, Ids]], batch: int, rank: int, ranks: int
) -> Iterator[tuple[Ids, Ids]]:
    """This rank's part of each batch [batch / ranks, sequence]; the last is filled with nothing."""
    each = batch // ranks
    sequence = len(all_windows[0][0])
    nothing = (np.zeros(sequence, np.int64), np.full(sequence, IGNORED, np.int64))
    for first in range(0, len(all_windows), batch):
        chosen = list(all_windows[first : first + batch])
        chosen += [nothing] * (batch - len(chosen))
        own = chosen[rank * each : (rank + 1) * each]
        yield np.stack([w[0] for w in own]), np.stack([w[1] for w in own])
