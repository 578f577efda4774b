"""Every kind of corpus is read; bad input is a clear error or a counted trouble."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sextant.errors import InputError
from sextant.systems.rag import files, jsonl
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.document import Document, Troubles
from sextant.systems.rag.stdlib import read_stdlib


def read(path: Path | str, limit: int | None = None) -> tuple[dict[str, Document], list[str]]:
    troubles = Troubles()
    found = open_corpus(str(path), limit=limit).documents(troubles)
    return {document.id: document for document in found}, troubles.lines()


def test_a_folder_of_text(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.txt").write_text("plain text")
    (tmp_path / "a.md").write_text("# A heading\n\nand text")
    (tmp_path / "deep" / "c.rst").write_text("=====\nTitle\n=====\n\ntext")
    (tmp_path / "deep" / "d.html").write_text(
        "<html><head><title>A page</title><style>p {}</style></head>"
        "<body><script>no()</script><p>One &amp; two.</p><p>Three.</p></body>"
    )
    (tmp_path / "e.jsonl").write_text('{"id": 7, "text": "a record"}\n')
    (tmp_path / ".hidden.txt").write_text("no")
    (tmp_path / "f.bin").write_bytes(b"\0\1")
    documents, troubles = read(tmp_path)
    assert list(documents) == ["a.md", "b.txt", "deep/c.rst", "deep/d.html", "e.jsonl#7"]
    assert documents["a.md"].title == "A heading"
    assert documents["b.txt"] == Document("b.txt", "b", "plain text")
    assert documents["deep/c.rst"].title == "Title"
    assert documents["deep/d.html"] == Document("deep/d.html", "A page", "One & two.\nThree.")
    assert len(troubles) == 1
    assert "f.bin" in troubles[0]


def test_a_beir_folder_and_a_jsonl_file(tmp_path: Path) -> None:
    lines = [
        {"_id": "1", "title": "T", "text": "one"},
        {"id": 2, "text": "two", "metadata": {}},
        {"text": "three"},
    ]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    documents, troubles = read(tmp_path)
    assert documents == read(path)[0]
    assert [(d.id, d.title, d.text) for d in documents.values()] == [
        ("1", "T", "one"),
        ("2", "", "two"),
        ("corpus.jsonl:3", "", "three"),
    ]
    assert not troubles
    assert list(read(path, limit=2)[0]) == ["1", "2"]


def test_bad_lines_are_skipped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "c.jsonl"
    path.write_bytes(
        b'{"id": "good", "text": "good"}\n'
        b"{broken\n[1]\n\n" + b"[" * 900 + b"\n"
        b'{"id": "none"}\n{"id": "good", "text": "again"}\n{"id": "empty", "text": " "}\n'
        b'{"id": "huge", "text": "' + b"x" * 5000 + b'"}\n'
        b'{"id": "latin", "text": "caf\xe9"}\n'
        b'{"id": "half", "text": "\\ud800 pair"}\n'
    )
    documents, troubles = read(path)
    assert list(documents) == ["good", "latin", "half"]
    assert documents["latin"].text == "caf\ufffd"
    documents["half"].text.encode("utf-8")
    assert len(troubles) == 7
    assert "line over 0 MiB" in "".join(troubles)


def test_a_link_that_leads_back_is_not_followed_for_ever(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "t.txt").write_text("text")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self.txt").symlink_to("self.txt")
    documents, troubles = read(tmp_path)
    assert list(documents) == ["a/t.txt"]
    assert any("leads back" in line for line in troubles)
    assert any("self.txt" in line for line in troubles)


def test_a_link_out_of_the_folder_is_left_out_and_counted(tmp_path: Path) -> None:
    secret, corpus = tmp_path / "secret", tmp_path / "corpus"
    (secret / "deep").mkdir(parents=True)
    corpus.mkdir()
    (secret / "key.txt").write_text("secret")
    (secret / "deep" / "more.md").write_text("secret")
    (secret / "corpus.jsonl").write_text('{"_id": "s", "text": "secret"}\n')
    (corpus / "own.txt").write_text("text")
    (corpus / "key.txt").symlink_to(secret / "key.txt")
    (corpus / "up.txt").symlink_to("../secret/key.txt")
    (corpus / "far").symlink_to(secret)
    (corpus / "chain.txt").symlink_to(".hop")
    (corpus / ".hop").symlink_to(secret / "key.txt")
    (corpus / "corpus.jsonl").symlink_to(secret / "corpus.jsonl")
    documents, troubles = read(corpus)
    assert list(documents) == ["own.txt"]
    assert len(troubles) == 1
    assert "leads out of the folder" in troubles[0]
    assert "and 4 more" in troubles[0]
    # Whoever indexes names the corpus, so a link in that place is followed.
    (tmp_path / "named").symlink_to(corpus)
    assert list(read(tmp_path / "named")[0]) == ["own.txt"]
    assert list(read(corpus / "key.txt")[0]) == ["key.txt"]


def test_what_links_within_the_folder_lead_to_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "own.txt").write_text("its own name")
    (tmp_path / "again.txt").symlink_to("z/own.txt")
    (tmp_path / "y").symlink_to("z")
    # As Kubernetes mounts files: every name is a link to what is hidden.
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "a.md").write_text("hidden otherwise")
    (tmp_path / ".now").symlink_to(".data")
    (tmp_path / "a.md").symlink_to(".now/a.md")
    (tmp_path / "b.md").symlink_to(".data/a.md")
    (tmp_path / "more").symlink_to(".data")
    (tmp_path / "most").symlink_to(".now")
    (tmp_path / "plain").write_text("of no kind")
    (tmp_path / "c.md").symlink_to("plain")
    (tmp_path / "d.md").symlink_to("plain")
    (tmp_path / "none.md").symlink_to("nothing")
    documents, troubles = read(tmp_path)
    assert list(documents) == ["a.md", "c.md", "z/own.txt"]
    assert any("read anyway" in line and "and 5 more" in line for line in troubles)
    assert any("leads nowhere" in line for line in troubles)


def test_bytes_that_are_not_utf8_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"\xff\xfe caf\xe9\r\nline\0")
    documents, troubles = read(tmp_path)
    assert documents["t.txt"].text == "\ufffd\ufffd caf\ufffd\nline\ufffd"
    assert troubles == [f"not UTF-8, bytes replaced: {tmp_path / 't.txt'}"]


def test_a_file_that_is_too_large_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    (tmp_path / "big.txt").write_text("x" * 11)
    (tmp_path / "small.txt").write_text("x")
    documents, troubles = read(tmp_path)
    assert list(documents) == ["small.txt"]
    assert "big.txt" in troubles[0]


@pytest.mark.parametrize(
    "page", ["<" * 5000, "<div>" * 20_000 + "text", "<![", "<!DOCTYPE", "", "<p>text"]
)
def test_broken_pages_are_read_somehow(tmp_path: Path, page: str) -> None:
    (tmp_path / "a.html").write_text(page)
    (tmp_path / "b.txt").write_text("text")
    assert "b.txt" in read(tmp_path)[0]


@pytest.mark.parametrize("name", ["absent", "empty", "binary.bin", "blank.txt", "x" * 5000])
def test_what_is_no_corpus_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary.bin").write_bytes(b"\0")
    (tmp_path / "blank.txt").write_text(" \n")
    with pytest.raises(InputError) as raised:
        read(tmp_path / name)
    assert raised.value.where


def test_a_limit_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 1"):
        open_corpus(str(tmp_path), limit=0)


def test_the_standard_library_is_read_without_importing_it(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text('"""A package."""\n')
    (tmp_path / "package" / "_private.py").write_text('"""Not shown."""\n')
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "module.py").write_text(
        '"""A module."""\nraise SystemExit\n\n'
        'def run(a: int, *, b=None):\n    """Runs."""\n\n'
        "def silent():\n    pass\n\n"
        'class Thing:\n    """A thing."""\n\n    def move(self, to):\n        """Moves."""\n'
    )
    documents = list(read_stdlib(tmp_path))
    assert documents == [
        Document("stdlib/module", "module (module)", "A module.\n\nrun(a: int, *, b=None)\nRuns."),
        Document(
            "stdlib/module.Thing",
            "module.Thing (class)",
            "A thing.\n\nmove(self, to)\nMoves.",
        ),
        Document("stdlib/package", "package (module)", "A package."),
    ]


def test_this_python_carries_documentation() -> None:
    documents, _ = read("stdlib", limit=400)
    assert len(documents) == 400
    assert "stdlib/json" in documents
    assert "topic/yield" in documents
    assert "yield" in documents["topic/yield"].text


def test_binary_files_are_no_documents_whatever_their_name(tmp_path: Path) -> None:
    (tmp_path / "noise.txt").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "broken.txt").write_bytes(bytes(range(128, 256)) * 20)
    (tmp_path / "latin.txt").write_bytes("Die Brücke hängt über dem Fluß".encode("latin-1"))
    troubles = Troubles()
    found = list(open_corpus(str(tmp_path)).documents(troubles))
    assert [document.id for document in found] == ["latin.txt"]
    assert troubles.counts["binary file, skipped"] == 2
