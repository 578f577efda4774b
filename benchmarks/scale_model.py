"""A fan-out to any number of shards, simulated from what was measured with few.

Nothing here runs a shard: every number that it gives is of a simulation, and says so.

Shape suffixes: Q queries, N shards, G groups of shards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HEDGE_AT = 0.95
_QUERIES, _SEED, _CHUNK = 1_000, 1, 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What was measured; all times in seconds.

    Attributes:
        date: when, and on what: `machine`.
        rows: vectors of one shard, of `dims` dimensions; the best `k` are asked for.
        alone: quantiles, evenly spaced from 0 to 1, of what one shard takes that is asked alone:
            the way there, its search, and the way back.
        search_p50_s: the median of its search by itself.
        fan_out: the median of asking so many members that do nothing, and hearing from all.
        merge: the median of unpacking and merging the replies of so many shards.
    """

    date: str
    machine: str
    rows: int
    dims: int
    k: int
    alone: tuple[float, ...]
    search_p50_s: float
    fan_out: tuple[tuple[int, float], ...]
    merge: tuple[tuple[int, float], ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The sample that was kept."""
        plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        pairs = {name: tuple((n, s) for n, s in plain[name]) for name in ("fan_out", "merge")}
        return cls(**{**plain, **pairs, "alone": tuple(plain["alone"])})

    @property
    def member_s(self) -> float:
        """What one more member costs whoever asks: the slope of the fan-outs."""
        return float(np.polyfit(*zip(*self.fan_out, strict=True), 1)[0])

    def merge_s(self, num_shards: int) -> float:
        """What merging takes, on a line between the counts that were measured."""
        return float(np.interp(num_shards, *zip(*self.merge, strict=True)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How a query is spread.

    Attributes:
        num_shards: of the index.
        hedged: whether every shard has a second replica, asked when the first is late.
        levels: 1 if one router asks all; 2 if it asks routers that each ask their share.
        stopped: shards of which one replica takes requests and never answers.
    """

    num_shards: int
    hedged: bool = False
    levels: int = 1
    stopped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of the simulated queries.

    Attributes:
        p50_s: until the merged answer.
        p99_s: the same.
        coverage: the mean share of the shards in it.
        extra: requests beyond one a shard, as a share of those.
    """

    p50_s: float
    p99_s: float
    coverage: float
    extra: float


@cache
def simulate(sample: Sample, shape: Shape, deadline_s: float, seed: int = _SEED) -> Outcome:
    """Draws every shard's time from what was measured, each by itself, and follows the messages.

    One thread writes the requests, one after the other, and one reads the answers: each takes half
    of `member_s` a message, which one that was asked alone took too. A hedge goes out at the 95th
    percentile. What has not been read by the deadline is left out.
    """
    dice = np.random.default_rng(seed)
    took, covered, extra = [], [], []
    for _ in range(_QUERIES // _CHUNK):
        took_Q, covered_Q, extra_Q = _spread(sample, shape, deadline_s, dice)
        took.append(took_Q)
        covered.append(covered_Q)
        extra.append(extra_Q)
    took_s = np.concatenate(took)
    p50_s, p99_s = np.quantile(took_s, [0.5, 0.99])
    return Outcome(
        p50_s=float(p50_s),
        p99_s=float(p99_s),
        coverage=float(np.mean(covered)),
        extra=float(np.mean(extra)),
    )


def _spread(
    sample: Sample, shape: Shape, deadline_s: float, dice: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Of `_CHUNK` queries: the time until the answer, the coverage, the share of extra requests."""
    if shape.levels == 1:
        return _asked(sample, shape, deadline_s, dice)
    groups = round(shape.num_shards**0.5)
    sizes = [len(part) for part in np.array_split(np.arange(shape.num_shards), groups)]
    # The stopped one, if any, is in the first group. The last answers have to travel up.
    way_s = sample.member_s * groups + sample.merge_s(groups)
    parts = []
    for number, size in enumerate(sizes):
        below = Shape(
            num_shards=size, hedged=shape.hedged, stopped=shape.stopped if number == 0 else 0
        )
        parts.append(_asked(sample, below, deadline_s - way_s, dice))
    took_GQ, covered_GQ, extra_GQ = (np.array(one) for one in zip(*parts, strict=True))
    half_s = sample.member_s / 2
    sent_G = half_s * (np.arange(groups) + 1.0)
    _, read_QG = _read((took_GQ + sent_G[:, None]).T, half_s)
    weights = np.array(sizes) / shape.num_shards
    took_Q = np.minimum(read_QG[:, -1] + sample.merge_s(groups), deadline_s)
    return took_Q, weights @ covered_GQ, weights @ extra_GQ


def _asked(
    sample: Sample, shape: Shape, deadline_s: float, dice: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """The same, where one router asks all the shards."""
    half_s, merge_s = sample.member_s / 2, sample.merge_s(shape.num_shards)
    size = (_CHUNK, shape.num_shards)
    took_QN = _drawn(sample, dice, size)
    if shape.stopped:
        # One of two replicas is stopped: it is drawn first half of the time.
        caught_QN = dice.random((_CHUNK, shape.stopped)) < (0.5 if shape.hedged else 1.0)
        took_QN[:, : shape.stopped][caught_QN] = np.inf
    late_QN = np.zeros(size, dtype=bool)
    if shape.hedged:
        late_s = max(0.0, float(np.quantile(sample.alone, HEDGE_AT)) - sample.member_s)
        late_QN = took_QN > late_s
        again_QN = late_s + half_s + _drawn(sample, dice, size)
        took_QN = np.where(late_QN, np.minimum(took_QN, again_QN), took_QN)
    sent_N = half_s * (np.arange(shape.num_shards) + 1.0)
    # What is never answered holds up nothing that is read before.
    arrived_QN, read_QN = _read(took_QN + sent_N, half_s)
    due_s = deadline_s - merge_s
    in_time_QN = (read_QN <= due_s) & np.isfinite(arrived_QN)
    took_Q = np.where(in_time_QN.all(axis=1), read_QN[:, -1], due_s) + merge_s
    return took_Q, in_time_QN.mean(axis=1), late_QN.mean(axis=1)


def _read(arrived_QN: Floats, each_s: float) -> tuple[Floats, Floats]:
    """Answers in the order in which they come, and when each has been read by the one reader."""
    arrived_QN = np.sort(arrived_QN, axis=1)
    before_N = each_s * np.arange(arrived_QN.shape[1])
    return arrived_QN, np.maximum.accumulate(arrived_QN - before_N, axis=1) + before_N + each_s


def _drawn(sample: Sample, dice: np.random.Generator, size: tuple[int, int]) -> Floats:
    alone_s = np.interp(dice.random(size), np.linspace(0, 1, len(sample.alone)), sample.alone)
    return np.maximum(0.0, alone_s - sample.member_s)
