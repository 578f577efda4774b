"""SciFact: our dense index beside the same model in sentence-transformers with exact search, and
hybrid search beside dense."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.bench import Figure, needs
from sextant.systems.rag.beir import read_qrels, read_queries
from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.document import Troubles
from sextant.systems.rag.embed import open_embedder
from sextant.systems.rag.evaluate import evaluate
from sextant.systems.rag.model import find_model
from sextant.systems.rag.service import open_service

_OFF, _HYBRID = 0.005, 0.04


def run() -> list[Figure]:
    """nDCG@10 of all over the train claims, and what embedding took."""
    folder = needs("scifact")
    queries = read_queries(folder / "queries.jsonl", Troubles())
    qrels = read_qrels(folder / "qrels" / "train.tsv")
    with tempfile.TemporaryDirectory() as name:
        report = build_index(open_corpus(str(folder)), Path(name), open_embedder(), num_shards=4)
        with open_service(Path(name)) as service:
            ours, lexical, hybrid = (
                evaluate(service, queries, qrels, mode=mode).ndcg_at_10
                for mode in ("dense", "lexical", "hybrid")
            )
    theirs, their_rate = _sentence_transformers(folder, queries, qrels)
    our_rate = report.embedded / report.embed_s
    off = ours - theirs
    return [
        Figure(
            name="scifact ndcg@10, dense",
            measured=ours,
            unit="",
            bar=f"within {_OFF} of sentence-transformers with exact search",
            held=abs(off) <= _OFF,
            beside={"sentence-transformers": theirs},
        ),
        Figure(
            name="scifact ndcg@10, hybrid",
            measured=hybrid,
            unit="",
            bar=f"at least {_HYBRID} above dense: {hybrid - ours:+.4f}",
            held=hybrid - ours >= _HYBRID,
            beside={"dense": ours, "BM25 alone": lexical},
        ),
        Figure(
            name="scifact embedding rate",
            measured=our_rate,
            unit="passages/s",
            beside={"sentence-transformers fp32": their_rate},
        ),
    ]


def _sentence_transformers(
    folder: Path, queries: dict[str, str], qrels: dict[str, dict[str, int]]
) -> tuple[float, float]:
    """The peer's nDCG@10 by an independent implementation, and its rate."""
    import ir_measures
    from sentence_transformers import SentenceTransformer

    rows = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
    model = SentenceTransformer(str(find_model(None).path), device="cpu")
    texts = [f"{row.get('title', '')} {row['text']}".strip() for row in rows]
    start_s = time.perf_counter()
    documents_ND = model.encode(texts, normalize_embeddings=True, batch_size=32)
    rate = len(texts) / (time.perf_counter() - start_s)
    asked = [query for query in queries if query in qrels]
    vectors_QD = model.encode([queries[q] for q in asked], normalize_embeddings=True)
    scores_QN = vectors_QD @ documents_ND.T
    run = {}
    for query, scores_N in zip(asked, scores_QN, strict=True):
        best = np.argpartition(-scores_N, 100)[:100]
        run[query] = {str(rows[int(n)]["_id"]): float(scores_N[n]) for n in best}
    found = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)
    return float(next(iter(found.values()))), rate
