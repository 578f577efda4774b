"""Retrieval metrics over document rankings, as trec_eval defines them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def ndcg(ranking: Sequence[str], judged: Mapping[str, int], at: int = 10) -> float:
    """Normalised discounted cumulative gain of the first `at` documents.

    DCG sums gain / log2(rank + 1), the gain being the judgement itself (not 2^gain - 1), and nDCG
    divides it by the DCG of the best ranking there could be.

    Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002,
        in the
    form of trec_eval's `ndcg_cut`.
    """
    best = sorted((gain for gain in judged.values() if gain > 0), reverse=True)[:at]
    ideal = _dcg(best)
    if not ideal:
        return 0.0
    return _dcg([max(judged.get(document, 0), 0) for document in ranking[:at]]) / ideal


def recall(ranking: Sequence[str], judged: Mapping[str, int], at: int = 100) -> float:
    """The share of the relevant documents that are among the first `at`."""
    relevant = {document for document, gain in judged.items() if gain > 0}
    return len(relevant.intersection(ranking[:at])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranking: Sequence[str], judged: Mapping[str, int], at: int = 10) -> float:
    """One over the rank of the first relevant document, 0 if none is among the first `at`."""
    for rank, document in enumerate(ranking[:at], start=1):
        if judged.get(document, 0) > 0:
            return 1.0 / rank
    return 0.0


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
