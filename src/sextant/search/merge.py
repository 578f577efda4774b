"""The shards' replies merged: the K best of all, in an order that does not depend on the shards.

Shape suffixes: Q queries, K hits a query, M all candidates of a query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sextant.search.candidates import contenders, fused_order
from sextant.search.rows import Row, unpack_row
from sextant.search.wire import Floats, Mode, Reply

Fuse = Callable[[Floats, Floats], Floats]
"""From the dense and the lexical scores of one query's candidates [M] to what they are ranked by.

More of either kind must never be less. A row that holds none of the words has a lexical score of 0.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One row found.

    Attributes:
        ordinal: its place in the whole index.
        score: what it is ranked by.
        shard: where it lies.
        row: what it is.
        dense: its inner product with the query, where that is known.
        lexical: what its words score, where that is known.
    """

    ordinal: int
    score: float
    shard: str
    row: Row
    dense: float | None = None
    lexical: float | None = None


Hits = tuple[tuple[Hit, ...], ...]


def merged(replies: Mapping[str, Reply], num_queries: int, k: int, mode: Mode) -> Hits:
    """The K best hits of all shards by falling score and then by rising ordinal, for each query."""
    if not replies:
        return ((),) * num_queries
    names, parts = list(replies), list(replies.values())
    scores_QM = np.concatenate([reply.scores_QK for reply in parts], axis=1)
    ordinals_QM = np.concatenate([reply.ordinals_QK for reply in parts], axis=1)
    shard_M = np.repeat(np.arange(len(parts)), [reply.scores_QK.shape[1] for reply in parts])
    # Where in its reply's `rows` a hit's row is: fillers have none, so count the hits before it.
    places_QM = np.concatenate([_places(reply) for reply in parts], axis=1)
    others = [reply.other_QK for reply in parts if reply.other_QK is not None]
    other_QM = np.concatenate(others, axis=1) if len(others) == len(parts) else None
    order_QM = np.lexsort((ordinals_QM, -scores_QM), axis=-1)

    def hit(query: int, m: int) -> Hit:
        score = float(scores_QM[query, m])
        other = None if other_QM is None else float(other_QM[query, m])
        return Hit(
            ordinal=int(ordinals_QM[query, m]),
            score=score,
            shard=names[shard_M[m]],
            row=_row(parts[shard_M[m]], int(places_QM[query, m])),
            dense=score if mode == Mode.DENSE else other,
            lexical=score if mode == Mode.LEXICAL else other,
        )

    return tuple(
        tuple(hit(query, m) for m in order_QM[query][:k] if ordinals_QM[query, m] >= 0)
        for query in range(num_queries)
    )


def fused(replies: Mapping[str, Reply], num_queries: int, k: int, depth: int, fuse: Fuse) -> Hits:
    """The K best contenders of all shards by fused score, for each query."""
    return tuple(_fused_one(replies, query, k, depth, fuse) for query in range(num_queries))


def _fused_one(
    replies: Mapping[str, Reply], query: int, k: int, depth: int, fuse: Fuse
) -> tuple[Hit, ...]:
    owners: list[tuple[str, int]] = []
    columns: list[tuple[Floats, Floats, npt.NDArray[np.int64]]] = []
    for name, reply in replies.items():
        found_K = reply.ordinals_QK[query] >= 0
        lexical_QK = reply.other_QK
        if lexical_QK is None or not found_K.any():
            continue
        places_K = _places(reply)[query]
        owners += [(name, int(place)) for place in places_K[found_K]]
        one = reply.scores_QK[query], lexical_QK[query], reply.ordinals_QK[query]
        columns.append((one[0][found_K], one[1][found_K], one[2][found_K]))
    if not columns:
        return ()
    dense_M, lexical_M, ordinals_M = (
        np.concatenate([column[at] for column in columns]) for at in range(3)
    )
    # By rising ordinal, so that sums over them do not depend on the shards either.
    kept = contenders(dense_M, lexical_M, ordinals_M, depth)
    dense_M, lexical_M, ordinals_M = dense_M[kept], lexical_M[kept], ordinals_M[kept]
    fused_M = fuse(dense_M, lexical_M)
    best = fused_order(fused_M, dense_M, lexical_M, ordinals_M)[:k]
    return tuple(
        Hit(
            ordinal=int(ordinals_M[m]),
            score=float(fused_M[m]),
            shard=owners[kept[m]][0],
            row=_row(replies[owners[kept[m]][0]], owners[kept[m]][1]),
            dense=float(dense_M[m]),
            lexical=float(lexical_M[m]),
        )
        for m in best
    )


def _places(reply: Reply) -> npt.NDArray[np.int64]:
    found_QK = reply.ordinals_QK >= 0
    places_QK: npt.NDArray[np.int64] = (np.cumsum(found_QK) - 1).reshape(found_QK.shape)
    return places_QK


def _row(reply: Reply, place: int) -> Row:
    return unpack_row(reply.rows[place]) if reply.rows else Row("", b"")
