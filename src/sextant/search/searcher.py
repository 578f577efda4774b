"""Scatter a batch of queries to every shard, merge what comes by the deadline, and say what it is
worth.

Shape suffixes: Q queries in the batch, D dimensions, K hits a query.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.fleet import Answer, Deadline, Gather, Ledger, Missing
from sextant.search.filters import Filter
from sextant.search.local import Gang
from sextant.search.manifest import Manifest
from sextant.search.merge import Fuse, Hits, fused, merged
from sextant.search.statistics import Statistics
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


class Searcher:
    """Searches one published index through the gang of its shards."""

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
        self._statistics = statistics
        self._cards = {card.name: card for card in manifest.shards}

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
        request = Request(
            space=space,
            queries_QD=queries_QD,
            k=k,
            mode=mode,
            depth=max(k, DEPTH) if mode == Mode.HYBRID else k,
            words=self._words(texts, mode),
            mean_length=self._statistics.mean_length if self._statistics else 1.0,
            filter=filter,
            groups=_checked(groups),
            with_rows=with_rows,
            generation=self.manifest.generation,
        )
        # The gang's own ledger has the waiting.
        gather = self._gang.ask(request.pack(), deadline)
        start_s = time.perf_counter()
        with self.ledger.busy(Axis.COORDINATION):
            replies, damaged = _unpacked(gather, len(queries_QD))
            if mode == Mode.HYBRID:
                assert fuse is not None, "candidates of both kinds need a fusion"
                hits = fused(replies, len(queries_QD), k, request.depth, fuse)
            else:
                hits = merged(replies, len(queries_QD), k, mode)
        return Found(
            hits=hits,
            coverage=self._share(replies, "documents"),
            expected_recall=self._share(replies, "vectors") * self.manifest.index_recall,
            missing=(*gather.missing, *damaged),
            fan_out_s=gather.seconds,
            merge_s=time.perf_counter() - start_s,
            shards=tuple(gather.answers.values()),
        )

    def _words(self, texts: Sequence[str], mode: Mode) -> tuple[Words, ...]:
        if mode == Mode.DENSE:
            return ()
        if self._statistics is None:
            raise InputError("this index was opened without its terms", hint="search by vectors")
        return tuple(self._statistics.words(text) for text in texts)

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
