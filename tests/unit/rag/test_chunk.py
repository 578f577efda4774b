"""Chunks fit the window, cover the document, and know exactly where they come from."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.systems.rag.chunk import Chunk, ChunkRule, chunks
from sextant.systems.rag.document import Document
from sextant.systems.rag.sentences import sentence_spans

TEXTS = st.lists(
    st.sampled_from(
        ["word", "Another", "x", ".", ". ", "! ", "\n", "\n\n", " ", "é", "日本", "y" * 700]
    )
).map(" ".join)


class Words:
    """Tokens are words and marks."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def cut(text: str, max_tokens: int = 16, overlap: int = 4, title: str = "") -> list[Chunk]:
    rule = ChunkRule(max_tokens=max_tokens, overlap_tokens=overlap)
    return list(chunks(Document("d", title, text), Words(), rule))


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, max_tokens=st.integers(8, 40), overlap=st.integers(0, 3))
def test_chunks_are_exact_bounded_and_complete(text: str, max_tokens: int, overlap: int) -> None:
    found = cut(text, max_tokens, overlap)
    covered = set()
    for chunk in found:
        assert chunk.text == text[chunk.start : chunk.end]
        assert len(Words().spans(chunk.text)) <= max_tokens
        assert len(chunk.text) <= 16 * max_tokens + 8 * max_tokens
        covered.update(range(chunk.start, chunk.end))
    assert all(at in covered for at, letter in enumerate(text) if not letter.isspace())
    starts = [chunk.start for chunk in found]
    assert starts == sorted(set(starts))


def test_a_document_that_fits_is_one_chunk() -> None:
    text = "  One sentence. Two sentences.\n"
    assert [chunk.text for chunk in cut(text)] == ["One sentence. Two sentences."]


def test_cuts_fall_at_the_ends_of_sentences_which_overlap_whole() -> None:
    text = " ".join(f"Sentence number {number} here." for number in range(8))
    found = cut(text, max_tokens=16, overlap=6)
    assert [chunk.text for chunk in found[:2]] == [
        "Sentence number 0 here. Sentence number 1 here. Sentence number 2 here.",
        "Sentence number 2 here. Sentence number 3 here. Sentence number 4 here.",
    ]
    assert cut(text, overlap=0)[1].text.startswith("Sentence number 3")


def test_the_title_is_embedded_and_takes_its_room() -> None:
    text = "word " * 30
    assert max(len(Words().spans(chunk.embedded)) for chunk in cut(text, title="A b c d")) == 16
    assert cut(text, title="A b c d")[0].embedded.startswith("A b c d word")


def test_a_title_alone_is_a_chunk() -> None:
    assert cut("", title="Only a title") == [Chunk("d", "Only a title", 0, 0, "")]


def test_a_word_of_a_megabyte_is_cut() -> None:
    found = cut("z" * 1_000_000)
    assert "".join(chunk.text for chunk in found) == "z" * 1_000_000
    assert max(len(chunk.text) for chunk in found) <= 16 * 16 * 2


def test_the_first_chunk_alone() -> None:
    document = Document("d", "", "word " * 100)
    rule = ChunkRule(max_tokens=10, overlap_tokens=0, first_only=True)
    assert len(list(chunks(document, Words(), rule))) == 1


@pytest.mark.parametrize(("tokens", "overlap"), [(4, 0), (20, 10), (20, -1)])
def test_impossible_rules_are_refused(tokens: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="cannot cut"):
        ChunkRule(max_tokens=tokens, overlap_tokens=overlap)


def test_sentences() -> None:
    text = 'Dr. A. Smith left. "Why?" he asked, e.g. in 3.5 s.\n\nA list:\n\n* one'
    assert [text[start:end] for start, end in sentence_spans(text)] == [
        "Dr. A. Smith left.",
        '"Why?" he asked, e.g. in 3.5 s.',
        "A list:",
        "* one",
    ]
    assert sentence_spans(" \n ") == []
