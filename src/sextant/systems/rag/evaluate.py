"""Evaluation as BEIR does it: rank documents by their best passage, score against judgements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from sextant.errors import EngineError, InputError
from sextant.fleet import Deadline
from sextant.search.merge import Hit
from sextant.search.wire import Mode
from sextant.systems.rag.beir import Qrels
from sextant.systems.rag.metrics import ndcg, recall, reciprocal_rank
from sextant.systems.rag.progress import Progress, Silent
from sextant.systems.rag.service import Service
from sextant.systems.rag.wanted import Wanted

_DEPTH = 100
_BATCH = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Means over the queries that have a relevant document, and every query's ranking."""

    ndcg_at_10: float
    recall_at_100: float
    mrr_at_10: float
    queries: int
    rankings: dict[str, list[tuple[str, float]]]

    def as_json(self) -> dict[str, float]:
        """As `sextant rag eval --json` prints it."""
        return {
            "ndcg@10": self.ndcg_at_10,
            "recall@100": self.recall_at_100,
            "mrr@10": self.mrr_at_10,
            "queries": self.queries,
        }


def evaluate(
    service: Service,
    queries: dict[str, str],
    qrels: Qrels,
    *,
    mode: str | None = None,
    deadline_s: float = 60.0,
    progress: Progress | None = None,
) -> Scores:
    """Score the service on the judged queries, a batch of queries to a message, as a caller who may
    see every document.

    A judged query without a text does not count, nor one without a relevant document.

    Raises:
        InputError: no query is judged.
        EngineError: a shard did not answer: scores over part of an index would be nobody's.
    """
    progress = progress or Silent()
    judged = [q for q, gains in qrels.items() if q in queries and max(gains.values()) > 0]
    if not judged:
        raise InputError("no query has a judgement", hint="do queries and qrels belong together?")
    progress.stage("asking", len(judged))
    rankings: dict[str, list[tuple[str, float]]] = {}
    for start in range(0, len(judged), _BATCH):
        batch = judged[start : start + _BATCH]
        texts = [queries[query] for query in batch]
        ranked = rank_documents(service, texts, mode=mode, deadline_s=deadline_s)
        rankings |= dict(zip(batch, ranked, strict=True))
        progress.advance(len(batch))
    names = {query: [document for document, _ in rankings[query]] for query in judged}
    return Scores(
        ndcg_at_10=fmean(ndcg(names[query], qrels[query]) for query in judged),
        recall_at_100=fmean(recall(names[query], qrels[query]) for query in judged),
        mrr_at_10=fmean(reciprocal_rank(names[query], qrels[query]) for query in judged),
        queries=len(judged),
        rankings=rankings,
    )


def rank_documents(
    service: Service,
    questions: Sequence[str],
    *,
    mode: str | None = None,
    depth: int = _DEPTH,
    deadline_s: float = 60.0,
) -> list[list[tuple[str, float]]]:
    """The best `depth` documents of each question with their scores, a document scored by its best
    passage.

    By words fewer are found where fewer hold any of them.

    Raises:
        EngineError: a shard did not answer.
    """
    wanted = Wanted.of(depth, mode, None, None, has_text=True)
    if wanted.mode == Mode.LEXICAL:
        questions_QD = np.empty((len(questions), 0), np.float32)
    else:
        questions_QD = service.embed(questions)
    manifest = service.manifest
    # Passages of one document crowd each other: look deeper until enough documents are in sight.
    crowded = manifest.vectors > manifest.documents
    k = min(2 * depth if crowded else depth, max(manifest.vectors, 1))
    while True:
        found = service.search_vectors(
            questions_QD,
            k=k,
            deadline=Deadline.after(deadline_s),
            texts=questions,
            wanted=replace(wanted, k=k),
        )
        if found.missing:
            raise EngineError(
                f"{len(found.missing)} shards did not answer: {', '.join(map(str, found.missing))}"
            )
        ranked = [_by_document(hits) for hits in found.hits]
        # Fewer than k passages are all that there are.
        enough = min(depth, manifest.documents)
        if k >= manifest.vectors or all(
            len(documents) >= enough or len(hits) < k
            for documents, hits in zip(ranked, found.hits, strict=True)
        ):
            return [documents[:depth] for documents in ranked]
        k = min(4 * k, manifest.vectors)


def _by_document(hits: Sequence[Hit]) -> list[tuple[str, float]]:
    best: dict[str, float] = {}
    for hit in hits:
        best.setdefault(hit.row.document, hit.score)
    return list(best.items())
