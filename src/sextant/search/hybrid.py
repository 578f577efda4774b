"""A shard's part of lexical and hybrid search: rows by their words, and candidates of both kinds.

Shape suffixes: N rows of a segment, Q queries, D dimensions, K hits a query, M candidates of all
queries, C candidates of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sextant.search.candidates import contenders, hopeless
from sextant.search.lexical import best
from sextant.search.segment import Segment
from sextant.search.selection import Mask
from sextant.search.wire import Floats, Ordinals, Reply, Request

Seen = tuple[Segment, Mask | None]
"""A segment, and the rows [N] of it that this request may see; None is all."""


def by_words(segment: Segment, request: Request, allowed_N: Mask | None) -> tuple[Floats, Ordinals]:
    """The K best allowed rows of each query by its words: (scores_QK, rows_QK), row -1 for want of
    more.
    """
    shape = len(request.words), min(request.k, segment.card.vectors)
    scores_QK, rows_QK = np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)
    for query, words in enumerate(request.words):
        scores_N = segment.lexical.scores(words, request.mean_length)
        scores_K, rows_K = best(scores_N, request.k, allowed_N)
        scores_QK[query, : len(rows_K)] = scores_K
        rows_QK[query, : len(rows_K)] = rows_K
    return scores_QK, rows_QK


def by_both(seen: Sequence[Seen], request: Request) -> Reply:
    """The candidates of each query by rising ordinal, each with both its scores."""
    dense = [
        segment.dense(request.queries_QD, request.depth, allowed_N)[1]
        for segment, allowed_N in seen
    ]
    found = []
    for query in range(len(request.queries_QD)):
        pieces = [
            _candidates(segment, allowed_N, request, query, rows_QK[query])
            for (segment, allowed_N), rows_QK in zip(seen, dense, strict=True)
        ]
        found.append(_joined(pieces, request))
    shape = len(found), max((len(one.ordinals_C) for one in found), default=0)
    reply = Reply(
        scores_QK=np.full(shape, -np.inf, np.float32),
        other_QK=np.zeros(shape, np.float32),
        ordinals_QK=np.full(shape, -1, np.int64),
        rows=tuple(row for one in found for row in one.rows),
    )
    assert reply.other_QK is not None
    for query, one in enumerate(found):
        num = len(one.ordinals_C)
        reply.scores_QK[query, :num] = one.dense_C
        reply.other_QK[query, :num] = one.lexical_C
        reply.ordinals_QK[query, :num] = one.ordinals_C
    return reply


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Candidates of one query, with what they score; `rows` are packed, or not asked for."""

    dense_C: Floats
    lexical_C: Floats
    ordinals_C: Ordinals
    rows: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Candidates of one query that lie in one segment."""

    segment: Segment
    rows_C: Ordinals
    dense_C: Floats
    lexical_C: Floats


def _candidates(
    segment: Segment, allowed_N: Mask | None, request: Request, query: int, dense_K: Ordinals
) -> _Piece:
    """The rows that vectors have found already, and those that words find, with both scores."""
    scores_N = segment.lexical.scores(request.words[query], request.mean_length)
    _, lexical_K = best(scores_N, request.depth, allowed_N)
    rows_C = np.union1d(dense_K[dense_K >= 0], lexical_K)
    dense_C = segment.dense_of(request.queries_QD[query], rows_C)
    return _Piece(segment, rows_C, dense_C, scores_N[rows_C])


def _joined(pieces: Sequence[_Piece], request: Request) -> _Candidates:
    """The contenders among the candidates of all segments, with the rows that can win."""
    dense_C = np.concatenate([piece.dense_C for piece in pieces])
    lexical_C = np.concatenate([piece.lexical_C for piece in pieces])
    ordinals_C = np.concatenate(
        [piece.segment.rows.ordinals_N[piece.rows_C] for piece in pieces]
    ).astype(np.int64)
    owners = [(piece.segment, int(row)) for piece in pieces for row in piece.rows_C]
    kept = contenders(dense_C, lexical_C, ordinals_C, request.depth)
    dense_C, lexical_C, ordinals_C = dense_C[kept], lexical_C[kept], ordinals_C[kept]
    rows: tuple[bytes, ...] = ()
    if request.with_rows:
        spared_C = hopeless(dense_C, lexical_C, ordinals_C, request.k)
        rows = tuple(
            b"" if spared else owners[place][0].rows.packed(owners[place][1])
            for place, spared in zip(kept, spared_C, strict=True)
        )
    return _Candidates(dense_C, lexical_C, ordinals_C, rows)
