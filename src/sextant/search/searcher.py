"""Scatter a batch of queries to every shard, merge what comes by the deadline, and say what it is
worth.

Shape suffixes: Q queries in the batch, D dimensions, K hits a query, M all candidates of a query.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.fleet import Answer, Deadline, Gather, Ledger, Missing
from sextant.search.local import Gang
from sextant.search.manifest import Manifest
from sextant.search.rows import Row, unpack_row
from sextant.search.wire import Floats, Reply, Request


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One row found: `ordinal` is its place in the whole index, `score` its inner product."""

    ordinal: int
    score: float
    shard: str
    row: Row


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

    hits: tuple[tuple[Hit, ...], ...]
    coverage: float
    expected_recall: float
    missing: tuple[Missing, ...]
    fan_out_s: float
    merge_s: float
    shards: tuple[Answer, ...]


class Searcher:
    """Searches one published index through the gang of its shards."""

    def __init__(self, manifest: Manifest, gang: Gang, ledger: Ledger | None = None) -> None:
        self.manifest = manifest
        self.ledger = ledger or Ledger()
        self._gang = gang
        self._cards = {card.name: card for card in manifest.shards}

    def search(
        self, queries_QD: Floats, *, k: int, deadline: Deadline, space: str, with_rows: bool = True
    ) -> Found:
        """The K best rows of each query among the shards that answer by the deadline.

        With flat shards that all answer, the hits are the same to the bit however many shards
        there are, and in the same order: equal scores come in the order of their ordinals.

        Raises:
            InputError: the queries are of another vector space, or k is less than 1.
        """
        if space != self.manifest.space:
            raise InputError(
                "these queries were made by another model than the index",
                hint="search with the model that the index was built with, or build it again",
            )
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        request = Request(space=space, queries_QD=queries_QD, k=k, with_rows=with_rows)
        # The gang's own ledger has the waiting.
        gather = self._gang.ask(request.pack(), deadline)
        start_s = time.perf_counter()
        with self.ledger.busy(Axis.COORDINATION):
            hits = _merge(list(gather.answers.values()), len(queries_QD), k)
        return Found(
            hits=hits,
            coverage=self._share(gather, "documents"),
            expected_recall=self._share(gather, "vectors") * self.manifest.index_recall,
            missing=gather.missing,
            fan_out_s=gather.seconds,
            merge_s=time.perf_counter() - start_s,
            shards=tuple(gather.answers.values()),
        )

    def _share(self, gather: Gather, of: str) -> float:
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
        here = sum(getattr(self._cards[name], of) for name in gather.answers)
        return float(here / whole) if whole else 0.0


def _merge(answers: Sequence[Answer], num_queries: int, k: int) -> tuple[tuple[Hit, ...], ...]:
    """The K best of all shards' hits, by falling score and then by rising ordinal."""
    if not answers:
        return ((),) * num_queries
    replies = [Reply.unpack(answer.body) for answer in answers]
    scores_QM = np.concatenate([reply.scores_QK for reply in replies], axis=1)
    ordinals_QM = np.concatenate([reply.ordinals_QK for reply in replies], axis=1)
    widths = [reply.scores_QK.shape[1] for reply in replies]
    shard_M = np.repeat(np.arange(len(replies)), widths)
    # Where in its reply's `rows` a hit's row is: fillers have none, so count the hits before it.
    places_QM = np.concatenate([_places(reply) for reply in replies], axis=1)
    order_QM = np.lexsort((ordinals_QM, -scores_QM), axis=-1)
    merged = []
    for query in range(num_queries):
        best = [m for m in order_QM[query][:k] if ordinals_QM[query, m] >= 0]
        merged.append(
            tuple(
                Hit(
                    ordinal=int(ordinals_QM[query, m]),
                    score=float(scores_QM[query, m]),
                    shard=answers[shard_M[m]].member,
                    row=_row(replies[shard_M[m]], int(places_QM[query, m])),
                )
                for m in best
            )
        )
    return tuple(merged)


def _places(reply: Reply) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    found_QK = reply.ordinals_QK >= 0
    return (np.cumsum(found_QK) - 1).reshape(found_QK.shape)


def _row(reply: Reply, place: int) -> Row:
    return unpack_row(reply.rows[place]) if reply.rows else Row("", b"")
