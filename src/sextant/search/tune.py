"""Choosing a search's effort when an index is built: the least that reaches a recall.

Vectors of the index ask for their own neighbours, themselves left out, and an exact search says
which those are. Effort is tried from the least up; a cost law, not a clock, says which of the
settings that reach the recall is the cheapest, so that the same vectors always tune the same way.

The target is reached with a margin of two standard errors of the sample, because other queries
will ask. A vector that is in the index asks an unfair question of a graph: its node's own links are
the answer, and without them others are lost too. So a plain graph is asked by vectors that it does
not have yet; in one with something around it the links are cut.

Shape suffixes: Q queries, K true neighbours of each, C candidates of a query and shard, N rows of
a shard, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sextant.search.effort import (
    FACTOR,
    GRAPH,
    MAPPED,
    PROBES,
    effort_name,
    graph_of,
    most_effort,
    set_one,
)
from sextant.search.kinds import faiss_module, inverted_lists
from sextant.search.wire import Floats

K = 10
_QUERY_SHARE, _FEW_QUERIES, _MOST_QUERIES = 0.05, 512, 2048
# Exact neighbours of more would take longer than what they make more certain is worth.
_MOST_PRODUCTS = 2_000_000_000
_STEP = 1.25
_LEAST_EFFORT = {PROBES: 1, GRAPH: 16}
_FACTORS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48)
_FINE = 0.04
_MARGIN_ERRORS = 2.0
# What comparing one byte of a code takes, finding one list, one more vector that a graph walk
# keeps, and one candidate more: kept by the scan, then scored again (1,000,000 x 128; docs/log.md).
_BYTE_S, _LIST_S, _KEPT_S, _AGAIN_S = 1.2e-10, 3e-7, 4.5e-6, 8e-7


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """The effort chosen, and the recall@10 that the sample measured at it."""

    effort: dict[str, int] = field(default_factory=dict)
    recall: float = 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One shard to tune on: its index, the vectors that it was filled with, and whether its
    candidates are scored again by their raw vectors. `held_QD` are vectors that it was not filled
    with, to ask for; without, its own ask.
    """

    index: Any
    vectors_ND: Floats
    refined: bool
    held_QD: Floats | None = None


def open_to_tune(path: Path) -> Any:
    """The index in a file, in memory: a graph's links are cut while it is tuned."""
    return faiss_module().read_index(str(path))


def refines_itself(index: Any) -> bool:
    """Whether the index scores its candidates again, by vectors of its own."""
    faiss = faiss_module()
    return isinstance(faiss.downcast_index(index), faiss.IndexRefine)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Queries, and where their true neighbours lie."""

    queries_QD: Floats
    own_shard_Q: npt.NDArray[np.int64]
    own_row_Q: npt.NDArray[np.int64]
    shard_QK: npt.NDArray[np.int64]
    row_QK: npt.NDArray[np.int64]


def tune(trials: Sequence[Trial], recall: float, *, mapped: bool = True) -> Tuned:
    """The cheapest effort of a search, the same in every shard, that reaches a recall@10.

    If none does, the one that comes nearest. `mapped` says how raw vectors will be read.
    """
    trials = [trial for trial in trials if len(trial.vectors_ND) and not _is_flat(trial.index)]
    if sum(len(trial.vectors_ND) for trial in trials) <= K:
        return Tuned()
    name = effort_name(trials[0].index)
    sizes = [len(trial.vectors_ND) for trial in trials]
    held = all(trial.held_QD is not None for trial in trials)
    own = [np.empty(0, np.int64) for _ in trials] if held else _own_rows(sizes)
    sample = _sample(trials, own)
    factors = _FACTORS if trials[0].refined else (1,)
    with ExitStack() as stack:
        for trial, rows in zip(trials, own, strict=True):
            stack.enter_context(_links_cut(trial.index, rows))
        settings = list(_ladder(trials, name, sample, factors, recall))
        settings += _finer(trials, name, sample, factors, recall, settings)
    reached = [one for one in settings if one.bound >= recall]
    best = min(reached, key=lambda one: one.cost_s, default=None)
    best = best or max(settings, key=lambda one: (one.recall, -one.cost_s))
    effort = {name: best.effort} if name else {}
    if trials[0].refined:
        effort |= {FACTOR: best.factor, MAPPED: int(mapped)}
    return Tuned(effort=effort, recall=best.recall)


@dataclass(frozen=True, slots=True)
class _Setting:
    """One effort and factor, what they cost a query, and the recall: measured, and less the
    margin.
    """

    effort: int
    factor: int
    cost_s: float
    recall: float
    bound: float


def _ladder(
    trials: Sequence[Trial], name: str, sample: _Sample, factors: Sequence[int], recall: float
) -> Iterator[_Setting]:
    """Settings by rising effort, until more of it only costs more."""
    most = min(most_effort(trial.index) for trial in trials) if name else 1
    effort, cheapest_s = min(_LEAST_EFFORT.get(name, 1), most), float("inf")
    while True:
        for one in _tried(trials, name, effort, sample, factors):
            if one.bound >= recall:
                cheapest_s = min(cheapest_s, one.cost_s)
            yield one
        if effort >= most or _cost_s(trials, effort, factors[0]) > cheapest_s:
            return
        effort = min(most, max(effort + 1, round(effort * _STEP)))


def _finer(
    trials: Sequence[Trial],
    name: str,
    sample: _Sample,
    factors: Sequence[int],
    recall: float,
    settings: Sequence[_Setting],
) -> list[_Setting]:
    """Settings between the cheapest that reaches the recall and the next lower effort of the
    ladder, halving the gap each time.
    """
    cheapest = min((s for s in settings if s.bound >= recall), key=lambda s: s.cost_s, default=None)
    if cheapest is None or not name:
        return []
    high, found = cheapest.effort, []
    low = max((s.effort for s in settings if s.effort < high), default=high)
    while high - low > max(1.0, _FINE * high):
        middle = (low + high) // 2
        tried = _tried(trials, name, middle, sample, factors)
        found += tried
        if any(s.bound >= recall and s.cost_s < cheapest.cost_s for s in tried):
            high = middle
        else:
            low = middle
    return found


def _tried(
    trials: Sequence[Trial], name: str, effort: int, sample: _Sample, factors: Sequence[int]
) -> list[_Setting]:
    """One effort with each of the factors that make sense beside it."""
    if name == GRAPH:
        # Faiss keeps as many candidates as it is asked for: more of them would be more effort.
        factors = [factor for factor in factors if factor * K <= effort] or factors[:1]
    ranks_QK = _ranks(trials, name, effort, sample, max(factors))
    settings = []
    for factor in factors:
        found_Q = (ranks_QK < factor * K).mean(axis=1)
        mean, error = float(found_Q.mean()), float(found_Q.std() / len(found_Q) ** 0.5)
        # All found leaves no room for doubt about fewer.
        bound = mean - _MARGIN_ERRORS * error
        cost_s = _cost_s(trials, effort, factor)
        settings.append(_Setting(effort, factor, cost_s, mean, bound))
    return settings


def _ranks(
    trials: Sequence[Trial], name: str, effort: int, sample: _Sample, most_factor: int
) -> npt.NDArray[np.int64]:
    """Each true neighbour's place among its own shard's candidates [Q, K]; beyond all if none."""
    beyond = most_factor * K
    ranks_QK = np.full(sample.row_QK.shape, beyond, np.int64)
    for number, trial in enumerate(trials):
        index = _finder(trial.index)
        if name:
            set_one(index, name, effort)
        # One more than wanted: the query itself is among them, and counts for nothing.
        _, rows_QC = index.search(sample.queries_QD, min(beyond + 1, index.ntotal))
        itself_QC = (rows_QC == sample.own_row_Q[:, None]) & (sample.own_shard_Q == number)[:, None]
        place_QC = np.arange(rows_QC.shape[1]) - np.cumsum(itself_QC, axis=1)
        for place in range(sample.row_QK.shape[1]):
            here_Q = np.flatnonzero(sample.shard_QK[:, place] == number)
            same_QC = rows_QC[here_Q] == sample.row_QK[here_Q, place, None]
            found_Q = same_QC.any(axis=1)
            ranks_QK[here_Q[found_Q], place] = place_QC[here_Q[found_Q], same_QC[found_Q].argmax(1)]
    return ranks_QK


def _cost_s(trials: Sequence[Trial], effort: int, factor: int) -> float:
    """Processor seconds of one query over all shards."""
    seconds = 0.0
    for trial in trials:
        index = _finder(trial.index)
        if (lists := inverted_lists(index)) is not None:
            scanned = index.ntotal * effort / lists.nlist
            seconds += scanned * lists.code_size * _BYTE_S + effort * _LIST_S
        else:
            seconds += effort * _KEPT_S
        seconds += factor * K * _AGAIN_S
    return seconds


def _num(own: Sequence[npt.NDArray[np.int64]]) -> int:
    return sum(len(rows) for rows in own)


def held_rows(num_rows: int) -> npt.NDArray[np.int64]:
    """The rows of a shard that a graph gets last, spread evenly."""
    return _own_rows([num_rows])[0] if num_rows > K else np.empty(0, np.int64)


def _own_rows(sizes: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """The rows of each shard that ask, spread evenly over all shards."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    most = min(_MOST_QUERIES, max(_FEW_QUERIES, _MOST_PRODUCTS // int(starts[-1])))
    count = max(1, min(most, round(_QUERY_SHARE * starts[-1])))
    places_Q = np.unique(np.linspace(0, starts[-1] - 1, count, dtype=np.int64))
    return [
        places_Q[(places_Q >= start) & (places_Q < end)] - start for start, end in pairwise(starts)
    ]


def _sample(trials: Sequence[Trial], own: Sequence[npt.NDArray[np.int64]]) -> _Sample:
    """Queries with the K true neighbours of each among all shards, itself left out."""
    faiss = faiss_module()
    queries_QD = _asking(trials, own)
    scores, rows, shards = [], [], []
    for number, trial in enumerate(trials):
        wanted = min(K + 1, len(trial.vectors_ND))
        vectors_ND = np.ascontiguousarray(trial.vectors_ND)
        found = faiss.knn(queries_QD, vectors_ND, wanted, metric=faiss.METRIC_INNER_PRODUCT)
        scores.append(found[0])
        rows.append(found[1])
        shards.append(np.full_like(found[1], number))
    score_QM, row_QM, shard_QM = (np.concatenate(one, axis=1) for one in (scores, rows, shards))
    # Those that were held out have no row of their own.
    strangers = np.full(len(queries_QD) - _num(own), -1)
    own_shard_Q = np.append(np.repeat(np.arange(len(own)), [len(one) for one in own]), strangers)
    own_row_Q = np.append(np.concatenate(own), strangers)
    itself_QM = (shard_QM == own_shard_Q[:, None]) & (row_QM == own_row_Q[:, None])
    order_QK = np.lexsort((row_QM, np.where(itself_QM, np.inf, -score_QM)), axis=-1)[:, :K]
    return _Sample(
        queries_QD,
        own_shard_Q,
        own_row_Q,
        np.take_along_axis(shard_QM, order_QK, axis=1),
        np.take_along_axis(row_QM, order_QK, axis=1),
    )


def _asking(trials: Sequence[Trial], own: Sequence[npt.NDArray[np.int64]]) -> Floats:
    """The vectors that ask: rows of the shards, or of those held out as many as rows would ask."""
    if _num(own):
        return np.concatenate(
            [trial.vectors_ND[rows] for trial, rows in zip(trials, own, strict=True)]
        )
    held_QD = np.concatenate([trial.held_QD for trial in trials if trial.held_QD is not None])
    sizes = [len(one.vectors_ND) + len(one.held_QD) for one in trials if one.held_QD is not None]
    most = _num(_own_rows(sizes))
    spread_Q = np.linspace(0, len(held_QD) - 1, min(most, len(held_QD)), dtype=np.int64)
    return np.ascontiguousarray(held_QD[np.unique(spread_Q)])


def _is_flat(index: Any) -> bool:
    faiss = faiss_module()
    return isinstance(faiss.downcast_index(index), faiss.IndexFlat)


def _finder(index: Any) -> Any:
    """What finds the candidates: the index under a refinement of Faiss's own."""
    faiss = faiss_module()
    index = faiss.downcast_index(index)
    return index.base_index if isinstance(index, faiss.IndexRefine) else index


@contextmanager
def _links_cut(index: Any, rows: npt.NDArray[np.int64]) -> Iterator[None]:
    """Without the links of some rows in the ground layer of a graph, while the block runs."""
    faiss = faiss_module()
    graph = graph_of(index)
    if graph is None:
        yield
        return
    links = faiss.rev_swig_ptr(graph.neighbors.data(), graph.neighbors.size())
    width = graph.nb_neighbors(0)
    places = np.array([graph.offsets.at(int(row)) for row in rows], dtype=np.int64)
    spots = places[:, None] + np.arange(width)
    kept = links[spots]
    links[spots] = -1
    try:
        yield
    finally:
        links[spots] = kept
