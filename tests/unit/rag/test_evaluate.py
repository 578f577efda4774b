"""Metrics agree with trec_eval; queries, judgements and runs are BEIR's and TREC's."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from sextant.errors import InputError
from sextant.systems.rag.beir import read_qrels, read_queries, write_run
from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.document import Troubles
from sextant.systems.rag.evaluate import evaluate
from sextant.systems.rag.metrics import ndcg, recall, reciprocal_rank
from sextant.systems.rag.service import open_service


def test_metrics_agree_with_trec_eval() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    dice = random.Random(3)
    qrels = {
        f"q{q}": {f"d{d}": dice.choice([0, 0, 1, 1, 2, 3]) for d in dice.sample(range(300), 30)}
        for q in range(50)
    }
    rankings = {query: [f"d{d}" for d in dice.sample(range(300), 150)] for query in qrels}
    run = {
        query: {name: 1.0 / rank for rank, name in enumerate(ranking, start=1)}
        for query, ranking in rankings.items()
    }
    wanted = {"ndcg_cut_10", "recall_100", "recip_rank"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)
    for query, ranking in rankings.items():
        judged = qrels[query]
        assert ndcg(ranking, judged) == pytest.approx(theirs[query]["ndcg_cut_10"])
        assert recall(ranking, judged) == pytest.approx(theirs[query]["recall_100"])
        assert reciprocal_rank(ranking, judged, at=150) == pytest.approx(
            theirs[query]["recip_rank"]
        )


def test_an_evaluation_agrees_with_trec_eval_on_its_run_file(tmp_path: Path, embedder: Any) -> None:
    ir_measures = pytest.importorskip("ir_measures")
    words = [f"word{number}" for number in range(30)]
    dice = random.Random(5)
    corpus = tmp_path / "corpus.jsonl"
    texts = {f"d{n}": " ".join(dice.choices(words, k=40)) + "." for n in range(120)}
    corpus.write_text("\n".join(json.dumps({"_id": n, "text": t}) for n, t in texts.items()))
    queries = tmp_path / "queries.jsonl"
    asked = {f"q{n}": " ".join(dice.choices(words, k=3)) for n in range(20)}
    queries.write_text("\n".join(json.dumps({"_id": n, "text": t}) for n, t in asked.items()))
    qrels = tmp_path / "qrels.tsv"
    qrels.write_text(
        "query-id\tcorpus-id\tscore\n"
        + "".join(f"q{n % 20}\td{dice.randrange(120)}\t{1 + n % 2}\n" for n in range(60))
    )
    build_index(open_corpus(str(corpus)), tmp_path / "index", embedder, num_shards=3)
    judgements = read_qrels(qrels)
    with open_service(tmp_path / "index", embedder=embedder) as service:
        scores = evaluate(service, read_queries(queries, Troubles()), judgements)
    assert scores.queries == 20
    assert all(len(ranking) == 100 for ranking in scores.rankings.values())
    write_run(tmp_path / "run.trec", scores.rankings)
    measures = ir_measures.nDCG @ 10, ir_measures.R @ 100, ir_measures.RR @ 10
    theirs = ir_measures.calc_aggregate(
        measures,
        [
            ir_measures.Qrel(q, d, gain)
            for q, gains in judgements.items()
            for d, gain in gains.items()
        ],
        list(ir_measures.read_trec_run(str(tmp_path / "run.trec"))),
    )
    # The run file carries six digits, so two scores may tie there that do not tie here.
    for measure, ours in zip(measures, list(scores.as_json().values())[:3], strict=True):
        assert ours == pytest.approx(theirs[measure], abs=0.005)


def test_judgements_of_both_forms(tmp_path: Path) -> None:
    path = tmp_path / "qrels"
    path.write_text("query-id\tcorpus-id\tscore\n1\td1\t1\n1\td2\t0\n")
    assert read_qrels(path) == {"1": {"d1": 1, "d2": 0}}
    path.write_text("1 0 d1 2\n\n2 0 d2 1\n")
    assert read_qrels(path) == {"1": {"d1": 2}, "2": {"d2": 1}}


@pytest.mark.parametrize("text", ["", "a\tb\tc\n", "1\td1\t1\nbroken\n", "1 2 3 4 5\n"])
def test_what_is_no_judgements_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "qrels").write_text(text)
    with pytest.raises(InputError):
        read_qrels(tmp_path / "qrels")


def test_no_queries_are_refused(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "1"}\n')
    with pytest.raises(InputError, match="no queries"):
        read_queries(tmp_path / "queries.jsonl", Troubles())
    with pytest.raises(InputError, match="cannot read"):
        read_queries(tmp_path / "absent", Troubles())
