"""The quick embedding path beside sentence-transformers in float32, on SciFact's abstracts.

Both embed the same blocks in turn, so that a busier minute of the machine falls on both.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.bench import Figure, needs
from sextant.systems.rag.beir import read_qrels, read_queries
from sextant.systems.rag.document import Troubles
from sextant.systems.rag.embed import Floats, encode_blocks, open_embedder

_TIMES, _AIM, _OFF = 2.0, 3.0, 0.005
_BLOCK = 512
_QUESTIONS = 200

Encode = Callable[[Sequence[str]], Floats]


@dataclass(slots=True)
class Peer:
    """Who embeds: the seconds of each block, and all vectors [N, D]."""

    encode: Encode
    seconds: list[float] = field(default_factory=list)
    blocks: list[Floats] = field(default_factory=list)

    def embed(self, texts: Sequence[str]) -> None:
        """Embed the next block."""
        begun_s = time.perf_counter()
        self.blocks.append(self.encode(texts))
        self.seconds.append(time.perf_counter() - begun_s)


def run() -> list[Figure]:
    """Rates, vectors and nDCG@10 of both over all abstracts."""
    from sentence_transformers import SentenceTransformer

    folder = needs("scifact")
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
    texts = [f"{row.get('title', '')} {row['text']}".strip() for row in rows]
    quick = open_embedder()
    model = SentenceTransformer(str(quick.folder.path), device="cpu")
    ours = Peer(lambda block: encode_blocks(quick, block, lambda _: None))
    theirs = Peer(lambda block: model.encode(list(block), normalize_embeddings=True, batch_size=32))
    for peer in (ours, theirs):
        peer.encode(texts[:32])
    for start in range(0, len(texts), _BLOCK):
        for peer in (ours, theirs):
            peer.embed(texts[start : start + _BLOCK])
    queries = read_queries(folder / "queries.jsonl", Troubles())
    qrels = read_qrels(folder / "qrels" / "train.tsv")
    asked = {name: text for name, text in queries.items() if name in qrels}
    names = [str(row["_id"]) for row in rows]
    ndcg = [
        _ndcg(np.concatenate(peer.blocks), peer.encode(list(asked.values())), asked, names, qrels)
        for peer in (ours, theirs)
    ]
    return [
        _rate(ours, theirs, len(texts)),
        _same(ours, theirs, *ndcg),
        _question(quick.encode, list(queries.values())[:_QUESTIONS]),
    ]


def _rate(ours: Peer, theirs: Peer, num_texts: int) -> Figure:
    rates = [num_texts / sum(peer.seconds) for peer in (ours, theirs)]
    each = [t / o for o, t in zip(ours.seconds, theirs.seconds, strict=True)]
    return Figure(
        name="abstracts embedded",
        measured=rates[0],
        unit="passages/s",
        bar=f">= {_TIMES} times sentence-transformers in float32 (aim {_AIM}): "
        f"{rates[0] / rates[1]:.2f}, median of the blocks {statistics.median(each):.2f}",
        held=rates[0] >= _TIMES * rates[1],
        beside={"sentence-transformers fp32": rates[1]},
    )


def _same(ours: Peer, theirs: Peer, our_ndcg: float, their_ndcg: float) -> Figure:
    cosines = np.concatenate(
        [(o * t).sum(axis=1) for o, t in zip(ours.blocks, theirs.blocks, strict=True)]
    )
    return Figure(
        name="ndcg@10 of its vectors",
        measured=our_ndcg,
        unit="",
        bar=f"within {_OFF} of sentence-transformers'",
        held=abs(our_ndcg - their_ndcg) <= _OFF,
        beside={"sentence-transformers": their_ndcg, "least cosine": float(cosines.min())},
    )


def _question(encode: Encode, questions: Sequence[str]) -> Figure:
    seconds = []
    for question in questions:
        begun_s = time.perf_counter()
        encode([question])
        seconds.append(time.perf_counter() - begun_s)
    p50, p99 = np.quantile(seconds, (0.5, 0.99))
    return Figure(
        name="one claim embedded, p50", measured=float(p50), unit="s", beside={"p99": float(p99)}
    )


def _ndcg(
    documents_ND: Floats,
    queries_QD: Floats,
    asked: dict[str, str],
    names: Sequence[str],
    qrels: dict[str, dict[str, int]],
) -> float:
    """nDCG@10 by exact search and an independent implementation."""
    import ir_measures

    run = {}
    for query, scores_N in zip(asked, queries_QD @ documents_ND.T, strict=True):
        best = np.argpartition(-scores_N, 100)[:100]
        run[query] = {names[n]: float(scores_N[n]) for n in best}
    found = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)
    return float(next(iter(found.values())))
