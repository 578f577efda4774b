"""BM25: terms, postings, the weights of the whole index, and N shards that give one's ranking."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.fleet import Deadline
from sextant.search import lexical
from sextant.search.analysis import LONGEST_TERM, terms
from sextant.search.change import IndexChange
from sextant.search.compact import compact
from sextant.search.lexical import Lexical, LexicalWriter, best
from sextant.search.manifest import Manifest
from sextant.search.merge import Hits
from sextant.search.rows import Row
from sextant.search.searcher import Searcher
from sextant.search.service import open_local
from sextant.search.statistics import Statistics
from sextant.search.wire import Mode

Publish = Callable[..., tuple[Path, Manifest]]
WORDS = [f"word{number}" for number in range(60)]
QUESTIONS = ["word1 word2 word59", "word0 word0 word7", "word55", "nowhere to be found", ""]


def rows_of_words(num: int, seed: int = 4) -> list[Row]:
    """Passages of few words that come unequally often, so that scores tie now and then."""
    dice = random.Random(seed)
    often = [1 / (rank + 1) for rank in range(len(WORDS))]
    return [
        Row(f"doc{n // 2}", b"", text=" ".join(dice.choices(WORDS, often, k=dice.randint(0, 12))))
        for n in range(num)
    ]


def find(
    index_dir: Path, manifest: Manifest, texts: Sequence[str] = QUESTIONS, k: int = 10
) -> Hits:
    gang = open_local(index_dir, manifest)
    searcher = Searcher(manifest, gang, statistics=Statistics(index_dir, manifest))
    found = searcher.search(
        np.empty((len(texts), 0), np.float32),
        k=k,
        deadline=Deadline.after(30),
        space="test-space",
        texts=texts,
        mode=Mode.LEXICAL,
    )
    gang.close()
    assert not found.missing
    return found.hits


def ranking(hits: Hits) -> list[list[tuple[int, float]]]:
    return [[(hit.ordinal, hit.score) for hit in one] for one in hits]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The retrieval of Retrieved", ["retriev", "retriev"]),
        ("json.loads() and snake_case", ["json", "load", "snake", "case"]),
        ("CAFÉ Straße ﬁne", ["café", "strass", "fine"]),
        ("日本語 x 中", ["日本", "本語", "x", "中"]),
        ("the of and", []),
        ("B12 -- 3.14", ["b12", "3", "14"]),
        ("x" * 200, ["x" * LONGEST_TERM]),
    ],
)
def test_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


@given(st.text(max_size=60))
def test_any_text_has_terms_of_bounded_length(text: str) -> None:
    assert all(0 < len(term) <= LONGEST_TERM for term in terms(text))


def test_scores_are_those_of_bm25s(publish: Publish) -> None:
    bm25s = pytest.importorskip("bm25s")
    rows = rows_of_words(300)
    peer = bm25s.BM25(k1=lexical.K1, b=lexical.B, method="lucene")
    tokens = [terms(row.text) for row in rows]
    peer.index(tokens, show_progress=False)
    index_dir, manifest = publish(rows, 3)
    for question, hits in zip(QUESTIONS[:3], find(index_dir, manifest, k=300), strict=False):
        theirs = peer.get_scores(list(dict.fromkeys(terms(question))))
        # bm25s counts a word of the question once, however often it is there.
        if "word0 word0" in question:
            theirs = theirs + peer.get_scores(terms("word0"))
        assert len(hits) == np.count_nonzero(theirs) > 0
        for hit in hits:
            assert hit.score == pytest.approx(theirs[hit.ordinal], rel=1e-5)


def test_more_shards_give_the_ranking_of_one_to_the_bit(publish: Publish) -> None:
    rows = rows_of_words(500)
    alone = ranking(find(*publish(rows, 1), k=40))
    assert [len(one) > 0 for one in alone] == [True, True, True, False, False]
    scores = [score for _, score in alone[0]]
    assert len(set(scores)) < len(scores), "no tie: the test would not see how they are broken"
    for num_shards in (2, 7):
        assert ranking(find(*publish(rows, num_shards), k=40)) == alone


def test_a_block_of_postings_at_a_time_gives_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder: Path) -> dict[str, bytes]:
        folder.mkdir()
        writer = LexicalWriter(folder)
        for ordinal, row in enumerate(rows_of_words(200)):
            writer.append(ordinal, row)
        assert writer.finish()["lexical"]["passages"] == 200
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    whole = write(tmp_path / "whole")
    monkeypatch.setattr(lexical, "_BLOCK", 17)
    assert write(tmp_path / "blocks") == whole
    assert set(whole) == {
        lexical.TERMS_BIN,
        lexical.TERMS_NPY,
        lexical.ROWS_NPY,
        lexical.CODES_NPY,
    }


def test_lengths_and_counts_survive_their_codes(tmp_path: Path) -> None:
    lengths = [1, 5, 62, 63, 64, 200, 767, 768, 5_000, 90_000]
    writer = LexicalWriter(tmp_path)
    for ordinal, length in enumerate(lengths):
        writer.append(ordinal, Row("d", b"", text="tide " * length))
    writer.finish()
    scores_N = Lexical(tmp_path, len(lengths)).scores([("tide", 2.0)], 100.0)
    for length, score in zip(lengths, scores_N, strict=True):
        often = min(length, 63)
        norm = lexical.K1 * (1 - lexical.B + lexical.B * length / 100.0)
        assert score == pytest.approx(
            2.0 * often / (often + norm), rel=0.021 * (length > 767) + 1e-6
        )


def test_the_best_rows_are_those_of_a_full_sort() -> None:
    dice = np.random.default_rng(5)
    for _ in range(50):
        scores_N = dice.choice(np.array([0, 0, 1, 2, 2.5], np.float32), size=40)
        allowed_N = dice.random(40) < 0.7
        for mask in (None, allowed_N):
            seen = [n for n in range(40) if scores_N[n] > 0 and (mask is None or mask[n])]
            truth = sorted(seen, key=lambda n: (-scores_N[n], n))
            for k in (1, 7, 39, 100):
                scores_K, rows_K = best(scores_N, k, mask)
                assert rows_K.tolist() == truth[:k]
                assert scores_K.tolist() == [scores_N[n] for n in truth[:k]]


def test_a_newer_generation_s_statistics_share_what_both_have(publish: Publish) -> None:
    index_dir, manifest = publish(rows_of_words(60), 2)
    before = Statistics(index_dir, manifest)
    with IndexChange(index_dir, manifest) as change:
        change.add([Row("more", b"", text="word3 word3")], np.ones((1, manifest.dims), np.float32))
        added = change.publish()
    beside, alone = Statistics(index_dir, added, before), Statistics(index_dir, added)
    assert set(before._segments) < set(beside._segments)
    assert beside.words("word1 word3 word9") == alone.words("word1 word3 word9")
    assert beside.passages == 61


def test_what_is_deleted_is_not_found_and_stops_counting_once_it_is_folded(
    publish: Publish,
) -> None:
    rows = rows_of_words(200)
    index_dir, manifest = publish(rows, 3)
    gone = {f"doc{n}" for n in range(40)}
    with IndexChange(index_dir, manifest) as change:
        assert all(change.delete(document) for document in gone)
        deleted = change.publish()
    assert not {hit.row.document for one in find(index_dir, deleted) for hit in one} & gone
    assert Statistics(index_dir, deleted).passages == 200
    folded = compact(index_dir, deleted)
    kept = publish([row for row in rows if row.document not in gone], 3)
    ours, fresh = find(index_dir, folded), find(*kept)
    assert [[(hit.row, hit.score) for hit in one] for one in ours] == [
        [(hit.row, hit.score) for hit in one] for one in fresh
    ]


def test_a_segment_more_changes_no_score(publish: Publish) -> None:
    rows = rows_of_words(200)
    whole = publish(rows, 2)
    index_dir, manifest = publish(rows[:120], 2)
    with IndexChange(index_dir, manifest) as change:
        change.add(rows[120:], np.ones((80, 16), np.float32))
        grown = change.publish()
    assert len(list(grown.segments())) == 4
    assert ranking(find(index_dir, grown)) == ranking(find(*whole))


def test_rows_without_text_are_found_by_nobody(publish: Publish) -> None:
    index_dir, manifest = publish([Row(f"d{n}", b"") for n in range(9)], 4)
    assert find(index_dir, manifest) == ((),) * len(QUESTIONS)
    assert Statistics(index_dir, manifest).words("word1") == ()


def test_weights_are_of_the_whole_index(publish: Publish) -> None:
    rows = [Row(f"d{n}", b"", text="tide" + " comet" * (n % 4 == 0)) for n in range(40)]
    weights = dict(Statistics(*publish(rows, 5)).words("Tides and comets: comets! Nebulae?"))
    assert weights == pytest.approx(
        {"comet": 2 * np.log(1 + 30.5 / 10.5), "tide": np.log(1 + 0.5 / 40.5)}
    )


def test_a_long_question_keeps_its_heaviest_words(publish: Publish) -> None:
    rows = [Row(f"d{n}", b"", text=f"common unique{n}") for n in range(400)]
    words = Statistics(*publish(rows, 2)).words(" ".join(row.text for row in rows))
    assert len(words) == 256
    assert all(term.startswith("uniqu") for term, _ in words), "all rarer than the common one"
    assert [term for term, _ in words] == sorted(term for term, _ in words), "ties go by name"


def test_a_torn_dictionary_costs_its_segment_alone(publish: Publish) -> None:
    index_dir, manifest = publish(rows_of_words(100), 2)
    torn = index_dir / manifest.shards[0].segments[0].folder / lexical.TERMS_BIN
    torn.write_bytes(torn.read_bytes()[:-1])
    statistics = Statistics(index_dir, manifest)
    assert statistics.passages == manifest.shards[1].vectors
    assert statistics.words("word1")
