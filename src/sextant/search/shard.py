"""One shard of one generation: its segments open, what is deleted from them hidden, and searched
as one.

Shape suffixes: N rows of a segment, Q queries, D dimensions, K hits a query, M all segments' hits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sextant.errors import InputError
from sextant.search.cards import SegmentCard, ShardCard
from sextant.search.directory import read_tombstones
from sextant.search.hybrid import by_both, by_words
from sextant.search.segment import Segment
from sextant.search.selection import Mask
from sextant.search.verify import verify_tombstones
from sextant.search.wire import Floats, Mode, Ordinals, Reply, Request

_MOST_HITS = 1 << 27
"""Hits of one reply: about a gigabyte of scores and ordinals."""


@dataclass(frozen=True, slots=True)
class Part:
    """A segment as one generation sees it: the rows that are not deleted; None allows all."""

    segment: Segment
    allowed_N: Mask | None

    def seen(self, request: Request) -> Mask | None:
        """The rows that a request may see: not deleted, meeting its filter, and readable for its
        caller. This is where access is decided, before anything is scored.
        """
        allowed_N = self.segment.fields.allowed(request.filter, request.groups)
        if self.allowed_N is None or allowed_N is None:
            return self.allowed_N if allowed_N is None else allowed_N
        return self.allowed_N & allowed_N


class Shard:
    """An open shard."""

    def __init__(self, index_dir: Path, card: ShardCard, beside: Shard | None = None) -> None:
        """Open every segment, or share those that `beside`, of another generation, has open.

        Raises:
            InputError: a file is missing, torn or changed; the shard and the file are named.
        """
        self.card = card
        opened = {part.segment.card.folder: part.segment for part in beside.parts} if beside else {}
        self.parts: list[Part] = []
        try:
            for one in card.segments:
                segment = opened.get(one.folder) or Segment(index_dir, one)
                self.parts.append(Part(segment, _allowed(index_dir, one)))
        except InputError as error:
            where = f"{card.name}: {error.where}"
            raise InputError(error.what, where=where, hint=error.hint) from error

    def search(self, request: Request) -> Reply:
        """The best rows of this shard for each query.

        Raises:
            InputError: the queries are of another vector space or have other dimensions, or a file
                has turned out to be corrupt.
        """
        if broken := next((p.segment.broken for p in self.parts if p.segment.broken), ""):
            raise InputError(broken, where=self.card.name)
        if request.space != self.card.space:
            raise InputError(f"queries of the space {request.space}, vectors of {self.card.space}")
        self._check(request)
        seen = [(part.segment, part.seen(request)) for part in self.parts]
        match request.mode:
            case Mode.HYBRID:
                return by_both(seen, request)
            case Mode.LEXICAL:
                found = [by_words(segment, request, allowed_N) for segment, allowed_N in seen]
            case Mode.DENSE:
                found = [
                    segment.dense(request.queries_QD, request.k, allowed_N)
                    for segment, allowed_N in seen
                ]
        return self._reply(found, request)

    def _check(self, request: Request) -> None:
        """Refuse what cannot be answered, or only at the price of all memory.

        Raises:
            InputError: the queries have other dimensions, or want too many hits in all.
        """
        dims = request.queries_QD.shape[1]
        if dims != self.card.dims and (dims or request.mode != Mode.LEXICAL):
            raise InputError(f"queries must have {self.card.dims} dimensions")
        wanted = min(max(request.k, request.depth), self.card.vectors)
        if len(request.queries_QD) * wanted > _MOST_HITS:
            raise InputError(f"{len(request.queries_QD)} queries for {wanted} hits each")

    def _reply(self, found: Sequence[tuple[Floats, Ordinals]], request: Request) -> Reply:
        """The K best of the segments' hits (scores_QK, rows_QK), by falling score and then by
        rising ordinal.
        """
        scores_QM = np.concatenate([scores_QK for scores_QK, _ in found], axis=1)
        rows_QM = np.concatenate([rows_QK for _, rows_QK in found], axis=1)
        ordinals_QM = np.concatenate(
            [
                _ordinals(part.segment, rows_QK)
                for part, (_, rows_QK) in zip(self.parts, found, strict=True)
            ],
            axis=1,
        )
        segment_M = np.repeat(np.arange(len(found)), [rows_QK.shape[1] for _, rows_QK in found])
        if len(found) > 1:
            order_QK = np.lexsort((ordinals_QM, -scores_QM), axis=-1)[:, : request.k]
            scores_QM = np.take_along_axis(scores_QM, order_QK, axis=1)
            rows_QM = np.take_along_axis(rows_QM, order_QK, axis=1)
            ordinals_QM = np.take_along_axis(ordinals_QM, order_QK, axis=1)
            segment_QM = segment_M[order_QK]
        else:
            segment_QM = np.broadcast_to(segment_M, rows_QM.shape)
        found_QM = rows_QM >= 0
        packed: tuple[bytes, ...] = ()
        if request.with_rows:
            packed = tuple(
                self.parts[segment].segment.rows.packed(int(row))
                for segment, row in zip(segment_QM[found_QM], rows_QM[found_QM], strict=True)
            )
        return Reply(
            scores_QK=scores_QM,
            ordinals_QK=ordinals_QM,
            other_QK=self._dense_too(rows_QM, segment_QM, request),
            rows=packed,
        )

    def _dense_too(
        self, rows_QM: Ordinals, segment_QM: Ordinals, request: Request
    ) -> Floats | None:
        """What rows that were found by their words score by their vectors, if vectors came."""
        if request.mode != Mode.LEXICAL or not request.queries_QD.shape[1]:
            return None
        dense_QM = np.zeros(rows_QM.shape, np.float32)
        for query, query_D in enumerate(request.queries_QD):
            for number, part in enumerate(self.parts):
                here_M = (segment_QM[query] == number) & (rows_QM[query] >= 0)
                rows = rows_QM[query][here_M]
                dense_QM[query, here_M] = part.segment.dense_of(query_D, rows)
        return dense_QM

    def read_through(self, ended: Callable[[float], bool]) -> None:
        """Check the files that were too large to check when they were opened."""
        for part in self.parts:
            part.segment.read_through(ended)


def _ordinals(segment: Segment, rows_QK: Ordinals) -> Ordinals:
    """The ordinals of some rows; -1 where there is none."""
    found_QK = rows_QK >= 0
    ordinals_QK = np.full(rows_QK.shape, -1, np.int64)
    ordinals_QK[found_QK] = segment.rows.ordinals_N[rows_QK[found_QK]]
    return ordinals_QK


def _allowed(index_dir: Path, card: SegmentCard) -> Mask | None:
    """Which rows of a segment are not deleted; None if none is.

    Raises:
        InputError: the tombstones are missing, torn or changed.
    """
    if card.dead is None:
        return None
    verify_tombstones(index_dir, card)
    allowed_N = np.ones(card.vectors, bool)
    allowed_N[read_tombstones(index_dir, card)] = False
    return allowed_N
