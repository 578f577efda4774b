"""Scatter queries to every shard, merge what comes by the deadline, and say what it is worth.

Queries of several threads that want the same travel together (`together.py`).

Shape suffixes: Q queries in the batch, D dimensions, K hits a query.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.fleet import Answer, Deadline, Gather, Ledger, Missing
from sextant.search.filters import Filter
from sextant.search.local import Gang
from sextant.search.manifest import Manifest
from sextant.search.merge import Fuse, Hits, fused, merged
from sextant.search.statistics import Statistics
from sextant.search.together import Together
from sextant.search.wire import Floats, Mode, Reply, Request, Words, checked_groups

DEPTH = 100
"""Candidates of each kind that hybrid search fuses, or k if that is more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a batch of queries brought back.

    Attributes:
        hits: per query, best first.
        coverage: the share of the documents that live in the shards that answered.
        expected_recall: the share of the true top K that the hits are expected to hold.
        missing: the shards that did not answer, and why.
        fan_out_s: from the first message to the last answer, or the deadline.
        merge_s: decoding and merging.
        shards: the answers' own times, a shard.
    """

    hits: Hits
    coverage: float
    expected_recall: float
    missing: tuple[Missing, ...]
    fan_out_s: float
    merge_s: float
    shards: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Alike:
    """What queries of one message have in common."""

    k: int
    dims: int
    mode: Mode
    fuse: Fuse | None
    filter: Filter | None
    groups: tuple[str, ...] | None
    with_rows: bool

    def __hash__(self) -> int:
        return hash((self.k, self.dims, self.mode, self.groups))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """One caller's queries, and how they are asked."""

    alike: _Alike
    queries_QD: Floats
    words: tuple[Words, ...]


class Searcher:
    """Searches one published index through the gang of its shards; for many threads."""

    def __init__(
        self,
        manifest: Manifest,
        gang: Gang,
        ledger: Ledger | None = None,
        statistics: Statistics | None = None,
    ) -> None:
        """Search the gang's shards; without statistics of the index's terms, by vectors alone."""
        self.manifest = manifest
        self.ledger = ledger or Ledger()
        self._gang = gang
        self.statistics = statistics
        self._cards = {card.name: card for card in manifest.shards}
        self._together = Together(self._search)

    def search(
        self,
        queries_QD: Floats,
        *,
        k: int,
        deadline: Deadline,
        space: str,
        with_rows: bool = True,
        texts: Sequence[str] = (),
        mode: Mode = Mode.DENSE,
        fuse: Fuse | None = None,
        filter: Filter | None = None,  # noqa: A002
        groups: tuple[str, ...] | None = (),
    ) -> Found:
        """The K best rows of each query among the shards that answer by the deadline.

        With flat shards that all answer, the hits are the same to the bit however many shards
        there are, and in the same order: equal scores come in the order of their ordinals.

        Args:
            queries_QD: vectors; D may be 0 if words alone are searched.
            k: hits a query.
            deadline: when the hits are due.
            space: the vector space of the queries.
            with_rows: whether the rows are wanted too.
            texts: the questions as they were asked, where words are searched.
            mode: by what rows are found.
            fuse: what candidates of both kinds are ranked by.
            filter: conditions that a row must meet.
            groups: the caller's; without any the caller sees what everybody may read, None is a
                trusted caller, who sees all.

        Raises:
            InputError: the queries are of another vector space, k is less than 1, a group's name is
                none, or the index was opened without its terms.
        """
        if space != self.manifest.space:
            raise InputError(
                "these queries were made by another model than the index",
                hint="search with the model that the index was built with, or build it again",
            )
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        # One message carries many callers' queries: what a shard would refuse must not come along.
        if not np.isfinite(queries_QD).all():
            raise InputError("a query vector must be finite")
        alike = _Alike(
            k=k,
            dims=queries_QD.shape[1],
            mode=mode,
            fuse=fuse,
            filter=filter,
            groups=_checked(groups),
            with_rows=with_rows,
        )
        asked = _Asked(
            alike=alike, queries_QD=queries_QD, words=self._words(texts, mode, alike.groups)
        )
        return self._together.ask(asked, alike, deadline, len(queries_QD))

    def _search(self, batch: Sequence[_Asked], deadline: Deadline) -> list[Found]:
        """What each caller's queries bring back; all that they want alike."""
        alike = batch[0].alike
        request = Request(
            space=self.manifest.space,
            queries_QD=np.concatenate([asked.queries_QD for asked in batch]),
            k=alike.k,
            mode=alike.mode,
            depth=max(alike.k, DEPTH) if alike.mode == Mode.HYBRID else alike.k,
            words=tuple(words for asked in batch for words in asked.words),
            mean_length=self.statistics.mean_length if self.statistics else 1.0,
            filter=alike.filter,
            groups=alike.groups,
            with_rows=alike.with_rows,
            generation=self.manifest.generation,
        )
        # The gang's own ledger has the waiting.
        gather = self._gang.ask(request.pack(), deadline)
        start_s = time.perf_counter()
        with self.ledger.busy(Axis.COORDINATION):
            replies, damaged = _unpacked(gather, len(request.queries_QD))
            hits = _merged(replies, request, alike.fuse)
        merge_s = time.perf_counter() - start_s
        ends = accumulate((len(asked.queries_QD) for asked in batch), initial=0)
        return [
            Found(
                hits=hits[start:end],
                coverage=self._share(replies, "documents"),
                expected_recall=self._share(replies, "vectors") * self.manifest.index_recall,
                missing=(*gather.missing, *damaged),
                fan_out_s=gather.seconds,
                merge_s=merge_s,
                shards=tuple(gather.answers.values()),
            )
            for start, end in pairwise(ends)
        ]

    def _words(
        self, texts: Sequence[str], mode: Mode, groups: tuple[str, ...] | None
    ) -> tuple[Words, ...]:
        if mode == Mode.DENSE:
            return ()
        if self.statistics is None:
            raise InputError("this index was opened without its terms", hint="search by vectors")
        return tuple(self.statistics.words(text, groups) for text in texts)

    def _share(self, answered: Collection[str], of: str) -> float:
        """The share of the index's documents or vectors that the answering shards hold.

        By vectors it is the law of expected recall. Documents go to shards by a hash of their id,
        so a shard is a random sample of the index, and each of the true top K vectors lies in the
        answering shards with probability (their vectors / all vectors), whatever the query:

            E[recall@K] = sum over answering shards of vectors_s / vectors

        One query scatters about that mean: its deviation is about sqrt(p (1 - p) / K), somewhat
        more where several of the top K come from one document. An approximate index multiplies it
        by its own recall.
        """
        whole = sum(getattr(card, of) for card in self._cards.values())
        here = sum(getattr(self._cards[name], of) for name in answered)
        return float(here / whole) if whole else 0.0


def _merged(replies: Mapping[str, Reply], request: Request, fuse: Fuse | None) -> Hits:
    num_queries = len(request.queries_QD)
    if request.mode != Mode.HYBRID:
        return merged(replies, num_queries, request.k, request.mode)
    assert fuse is not None, "candidates of both kinds need a fusion"
    return fused(replies, num_queries, request.k, request.depth, fuse)


def _checked(groups: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The caller's groups, if they can be sent and compared as they are.

    Raises:
        InputError: one of them is none, or they are too many.
    """
    if groups is None:
        return None
    try:
        for group in checked_groups(groups):
            group.encode("utf-8")
    except ValueError as error:
        raise InputError(f"not a list of groups: {error}", where="groups") from error
    return tuple(groups)


def _unpacked(gather: Gather, num_queries: int) -> tuple[dict[str, Reply], list[Missing]]:
    """The replies to so many queries, and the shards that sent something else."""
    replies, damaged = {}, []
    for name, answer in gather.answers.items():
        try:
            reply = Reply.unpack(answer.body)
        except InputError as error:
            damaged.append(Missing(member=name, why=str(error)))
            continue
        if len(reply.scores_QK) == num_queries:
            replies[name] = reply
        else:
            damaged.append(Missing(member=name, why="a reply to other queries"))
    return replies, damaged
