"""Which tokens a step sees: a function of the seed and the sample's number alone.

Sample g of a run is window `g'` of one of the parts, the same whatever the number of ranks, and
after any resume. Nothing is drawn twice before everything was drawn once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sextant.errors import InputError
from sextant.systems.pretraining.tokens import Stream, Tokens

_ROUNDS = 4
_BLOCK = 1024
"""Samples among which the parts are mixed: each has its exact share of every block's end."""


class Windows(Protocol):
    """Where windows are cut from."""

    def __len__(self) -> int: ...

    def window(self, start: int, length: int) -> npt.NDArray[np.int64]:
        """The ids from `start` on, `length` of them."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a sample lies: its part, how often the part was gone through before, its window."""

    part: int
    epoch: int
    window: int


class Sampler:
    """Samples of `sequence` + 1 tokens (the last is only a target) from weighted parts."""

    def __init__(
        self, streams: Sequence[Windows], weights: Sequence[float], *, sequence: int, seed: int
    ) -> None:
        """Lay the windows out.

        Raises:
            InputError: a part is too short for one window.
        """
        self._streams = streams
        self._sequence = sequence
        self._seed = seed
        self.num_windows = [(len(stream) - 1) // sequence for stream in streams]
        if not streams or min(self.num_windows) < 1:
            raise InputError(
                f"a source is shorter than one sequence of {sequence} tokens",
                hint="more text, or a shorter sequence",
            )
        shares = np.asarray(weights, np.float64) / np.sum(weights)
        self._bounds = np.concatenate([[0.0], np.cumsum(shares)])
        self._bounds[-1] = 1.0

    def place(self, sample: int) -> Place:
        """Where sample number `sample` lies."""
        block, offset = divmod(sample, _BLOCK)
        before = self._counts(block * _BLOCK)
        quota = self._counts((block + 1) * _BLOCK) - before
        # Within a block the parts come in an order that the seed shuffles.
        order = np.repeat(np.arange(len(quota)), quota)
        np.random.default_rng((self._seed, 1, block)).shuffle(order)
        part = int(order[offset])
        drawn = int(before[part] + np.count_nonzero(order[:offset] == part))
        epoch, index = divmod(drawn, self.num_windows[part])
        key = f"{self._seed}/{part}/{epoch}"
        return Place(part=part, epoch=epoch, window=permuted(index, self.num_windows[part], key))

    def sample(self, sample: int) -> npt.NDArray[np.int64]:
        """The ids of a sample [sequence + 1]."""
        place = self.place(sample)
        start = place.window * self._sequence
        return self._streams[place.part].window(start, self._sequence + 1)

    def batch(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Samples `first` to `first + count` [count, sequence + 1]."""
        return np.stack([self.sample(number) for number in range(first, first + count)])

    def _counts(self, samples: int) -> npt.NDArray[np.int64]:
        """How many of the first `samples` fall to each part; they sum to `samples` exactly."""
        ends: npt.NDArray[np.int64] = np.floor(self._bounds * samples).astype(np.int64)
        return ends[1:] - ends[:-1]


def training_sampler(tokens: Tokens, *, sequence: int, seed: int) -> Sampler:
    """The sampler over the training side of prepared tokens.

    Raises:
        InputError: a source is too short.
    """
    parts = [part for part in tokens.card.parts if part.split == "train"]
    streams: list[Stream] = [tokens.stream(part) for part in parts]
    return Sampler(streams, [part.weight for part in parts], sequence=sequence, seed=seed)


def permuted(index: int, size: int, key: str) -> int:
    """The place of `index` in a permutation of range(size) that `key` names, without a table.

    A Feistel network over the next power of four, walked along its cycle until it is within range.
    Source: Black and Rogaway 2002, Ciphers with arbitrary finite domains.
    """
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half_bits) - 1
    keys = hashlib.sha256(key.encode()).digest()
    value = index
    while True:
        left, right = value >> half_bits, value & mask
        for round_ in range(_ROUNDS):
            salt = int.from_bytes(keys[8 * round_ : 8 * round_ + 8], "little")
            left, right = right, left ^ (_mixed(right ^ salt) & mask)
        value = (left << half_bits) | right
        if value < size:
            return value


def _mixed(value: int) -> int:
    """64 well-mixed bits. Source: Steele et al. 2014, SplitMix64's finaliser."""
    value &= 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 31)
