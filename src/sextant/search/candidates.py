"""Hybrid search's candidates: which rows are fused, and which of them can be among the K best.

A row is a contender if it is among the `depth` best of all shards by vector, or by words. A shard
sends its own `depth` best of each kind, which hold every contender that it has. Each comes with
both its scores, so that nothing is missing when they are fused; what is fused is the same rows with
the same scores however many shards there are.

Shape suffixes: M candidates of one query.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sextant.search.wire import Floats, Ordinals

Places = npt.NDArray[np.int64]
# A comparison of each with each: beyond so many, looking costs more than sending.
_MOST_COMPARED = 1024


def contenders(dense_M: Floats, lexical_M: Floats, ordinals_M: Ordinals, depth: int) -> Places:
    """The places of the rows among the `depth` best of either kind, by rising ordinal.

    A row without any of the words is nobody's by words. Equal scores rank by rising ordinal.
    """
    ranks = _ranks(dense_M, ordinals_M), _ranks(lexical_M, ordinals_M)
    kept_M = (ranks[0] < depth) | ((ranks[1] < depth) & (lexical_M > 0))
    places: Places = np.flatnonzero(kept_M)
    return places[np.argsort(ordinals_M[places])]


def hopeless(
    dense_M: Floats, lexical_M: Floats, ordinals_M: Ordinals, k: int
) -> npt.NDArray[np.bool_]:
    """The rows [M] that no fusion can rank among the K best, so that nobody need send them.

    A fusion may weigh the two kinds as it likes, as long as more of either is never less. A row
    that K others outrank in both kinds is then behind all of them, and they are contenders
    wherever it is one.
    """
    if not k < len(dense_M) <= _MOST_COMPARED:
        return np.zeros(len(dense_M), bool)
    dense_ranks, lexical_ranks = _ranks(dense_M, ordinals_M), _ranks(lexical_M, ordinals_M)
    ahead_MM = (dense_ranks[None, :] < dense_ranks[:, None]) & (
        lexical_ranks[None, :] < lexical_ranks[:, None]
    )
    hopeless_M: npt.NDArray[np.bool_] = np.count_nonzero(ahead_MM, axis=1) >= k
    return hopeless_M


def fused_order(
    fused_M: Floats, dense_M: Floats, lexical_M: Floats, ordinals_M: Ordinals
) -> Places:
    """The places by falling fused score.

    Equal ones come by falling dense, then lexical score, then rising ordinal: a row that others
    outrank in both kinds stays behind them even where rounding makes them equal.
    """
    return np.lexsort((ordinals_M, -lexical_M, -dense_M, -fused_M))


def _ranks(scores_M: Floats, ordinals_M: Ordinals) -> Places:
    """Each row's rank [M] by falling score, then by rising ordinal."""
    ranks_M = np.empty(len(scores_M), np.int64)
    ranks_M[np.lexsort((ordinals_M, -scores_M))] = np.arange(len(scores_M))
    return ranks_M
