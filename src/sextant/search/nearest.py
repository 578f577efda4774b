"""The nearest rows of vectors, as arrays: what a vector service needs and nothing more.

The same messages go to the same shards as for a question, but no row is fetched and no hit becomes
an object, so that a batch costs a few calls whatever its size.

Shape suffixes: Q queries, D dimensions, K hits a query, M all shards' hits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sextant.errors import InputError
from sextant.fleet import Deadline
from sextant.search.local import Gang
from sextant.search.manifest import Manifest
from sextant.search.wire import Floats, Ordinals, Reply, Request


@dataclass(frozen=True, kw_only=True, slots=True)
class Near:
    """The K best rows of each query, best first; ordinal -1 where there are fewer.

    `coverage` is the share of the vectors that lie in the shards that answered in time.
    """

    scores_QK: Floats
    ordinals_QK: Ordinals
    coverage: float


class Nearest:
    """Searches one published index through a gang of its shards, by vectors.

    Args:
        manifest: the index.
        gang: its shards.
        groups: what the callers may read: without any what everybody may, None all.
    """

    def __init__(self, manifest: Manifest, gang: Gang, groups: tuple[str, ...] | None = ()) -> None:
        self.manifest = manifest
        self._gang = gang
        self._groups = groups
        whole = max(1, manifest.vectors)
        self._shares = {card.name: card.vectors / whole for card in manifest.shards}

    def search(self, queries_QD: Floats, k: int, deadline: Deadline) -> Near:
        """The K best rows among the shards that answer by the deadline."""
        request = Request(
            space=self.manifest.space,
            queries_QD=queries_QD,
            k=k,
            groups=self._groups,
            with_rows=False,
            generation=self.manifest.generation,
        )
        gather = self._gang.ask(request.pack(), deadline)
        replies = {}
        for name, answer in gather.answers.items():
            try:
                reply = Reply.unpack(answer.body)
            except InputError:
                # A shard that sends something else has not answered.
                continue
            if len(reply.scores_QK) == len(queries_QD):
                replies[name] = reply
        scores_QK, ordinals_QK = best(replies, len(queries_QD), k)
        coverage = sum(self._shares[name] for name in replies)
        return Near(scores_QK=scores_QK, ordinals_QK=ordinals_QK, coverage=min(1.0, coverage))


def best(replies: Mapping[str, Reply], num_queries: int, k: int) -> tuple[Floats, Ordinals]:
    """The K best of all shards' hits by falling score, then by rising ordinal; -1 fills."""
    scores_QK = np.full((num_queries, k), -np.inf, np.float32)
    ordinals_QK = np.full((num_queries, k), -1, np.int64)
    if not replies:
        return scores_QK, ordinals_QK
    scores_QM = np.concatenate([reply.scores_QK for reply in replies.values()], axis=1)
    ordinals_QM = np.concatenate([reply.ordinals_QK for reply in replies.values()], axis=1)
    # Each shard's own are in order already.
    if len(replies) > 1:
        order_QM = np.lexsort((ordinals_QM, -scores_QM), axis=-1)[:, :k]
        scores_QM = np.take_along_axis(scores_QM, order_QM, axis=1)
        ordinals_QM = np.take_along_axis(ordinals_QM, order_QM, axis=1)
    num = min(k, scores_QM.shape[1])
    scores_QK[:, :num], ordinals_QK[:, :num] = scores_QM[:, :num], ordinals_QM[:, :num]
    return scores_QK, ordinals_QK
