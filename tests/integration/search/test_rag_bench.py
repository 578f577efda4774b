"""`sextant rag bench`, small: it builds what it is told, serves it, and says what it measured."""

import json

import pytest

from sextant.cli.main import main


def test_bench_measures_what_it_serves(capsys: pytest.CaptureFixture[str]) -> None:
    told = ["rag", "bench", "--vectors", "20000", "--dims", "32", "--faiss", "HNSW16"]
    assert main([*told, "--seconds", "0.3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["key"], found["shards"]) == ("HNSW16", 1)
    assert found["recall"] >= 0.9
    assert found["per_s"] > 32
    assert 0 < found["p50_s"] <= found["p99_s"]
    assert found["faiss"]["Flat"]["recall"] > 0.999
    assert len(found["faiss"]) == 3


def test_bench_refuses_numbers_that_make_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rag", "bench", "--vectors", "3"]) == 2
    assert "--vectors" in capsys.readouterr().err
