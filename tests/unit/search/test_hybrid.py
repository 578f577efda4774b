"""Hybrid search: every candidate with both scores, and N shards that give one's ranking."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.fleet import Deadline
from sextant.search import searcher
from sextant.search.candidates import contenders, fused_order, hopeless
from sextant.search.manifest import Manifest
from sextant.search.merge import Fuse, Hits
from sextant.search.rows import Row, unpack_row
from sextant.search.searcher import Searcher
from sextant.search.service import open_local
from sextant.search.shard import Shard
from sextant.search.statistics import Statistics
from sextant.search.wire import Mode, Request

Publish = Callable[..., tuple[Path, Manifest]]
WORDS = [f"word{number}" for number in range(40)]
TEXTS = ["word1 word2", "word30", "word3 word3 word9 word17"]


def a_sum(dense_M: np.ndarray, lexical_M: np.ndarray) -> np.ndarray:
    """A fusion whose value hangs on all candidates, as the real one's does."""
    return dense_M / dense_M.std() + 0.3 * lexical_M / (lexical_M.max() or 1)


def words_alone(dense_M: np.ndarray, lexical_M: np.ndarray) -> np.ndarray:  # noqa: ARG001
    return lexical_M


def corpus(num: int = 400) -> tuple[list[Row], np.ndarray]:
    dice = random.Random(8)
    rows = [
        Row(f"doc{n // 2}", str(n).encode(), text=" ".join(dice.choices(WORDS, k=8)))
        for n in range(num)
    ]
    vectors_ND = np.random.default_rng(9).standard_normal((num, 16)).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    vectors_ND[60:90] = vectors_ND[60]
    return rows, vectors_ND


def queries() -> np.ndarray:
    return corpus()[1][[60, 3, 7]] + np.float32(0.01)


def find(
    index_dir: Path,
    manifest: Manifest,
    *,
    k: int = 10,
    mode: Mode = Mode.HYBRID,
    fuse: Fuse | None = a_sum,
    queries_QD: np.ndarray | None = None,
) -> Hits:
    gang = open_local(index_dir, manifest)
    found = Searcher(manifest, gang, statistics=Statistics(index_dir, manifest)).search(
        queries() if queries_QD is None else queries_QD,
        k=k,
        deadline=Deadline.after(30),
        space="test-space",
        texts=TEXTS,
        mode=mode,
        fuse=fuse,
    )
    gang.close()
    assert not found.missing
    return found.hits


def told(hits: Hits) -> list[list[tuple[int, float, float | None, float | None, bytes]]]:
    return [[(h.ordinal, h.score, h.dense, h.lexical, h.row.payload) for h in one] for one in hits]


@pytest.mark.parametrize("fuse", [a_sum, words_alone])
def test_more_shards_give_the_ranking_of_one_to_the_bit(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, fuse: Fuse
) -> None:
    # Fewer candidates than rows, or every row would be one.
    monkeypatch.setattr(searcher, "DEPTH", 25)
    rows, vectors_ND = corpus()
    alone = told(find(*publish(rows, 1, vectors_ND), fuse=fuse))
    assert all(len(one) == 10 for one in alone)
    for num_shards in (2, 7):
        assert told(find(*publish(rows, num_shards, vectors_ND), fuse=fuse)) == alone


def test_both_scores_are_those_that_each_kind_gives_alone(publish: Publish) -> None:
    rows, vectors_ND = corpus()
    index = publish(rows, 3, vectors_ND)
    dense = find(*index, k=400, mode=Mode.DENSE)
    by_words = find(*index, k=400, mode=Mode.LEXICAL)
    cosines = [{hit.ordinal: hit.score for hit in one} for one in dense]
    matches = [{hit.ordinal: hit.score for hit in one} for one in by_words]
    for query, hits in enumerate(find(*index, k=30)):
        assert len(hits) == 30
        for hit in hits:
            assert hit.dense == cosines[query][hit.ordinal]
            assert hit.lexical == matches[query].get(hit.ordinal, 0.0)
    for query, hits in enumerate(by_words):
        assert {hit.ordinal: hit.dense for hit in hits}.items() <= cosines[query].items()


@pytest.mark.parametrize("key", ["HNSW16", "IVF4,Flat", "IVF4,SQ8", "PQ8x6"])
def test_an_index_of_any_kind_gives_whole_scores(publish: Publish, key: str) -> None:
    rows, vectors_ND = corpus(1000)
    index_dir, manifest = publish(rows, 2, vectors_ND, key)
    for query_D, hits in zip(queries(), find(index_dir, manifest), strict=True):
        assert len(hits) == 10
        for hit in hits:
            assert hit.dense == pytest.approx(float(vectors_ND[hit.ordinal] @ query_D), abs=1e-5)


def test_words_alone_need_no_vector(publish: Publish) -> None:
    rows, vectors_ND = corpus()
    index = publish(rows, 3, vectors_ND)
    bare = find(*index, mode=Mode.LEXICAL, queries_QD=np.empty((3, 0), np.float32))
    assert [[h.ordinal for h in one] for one in bare] == [
        [h.ordinal for h in one] for one in find(*index, mode=Mode.LEXICAL)
    ]
    assert all(hit.dense is None and hit.lexical == hit.score for one in bare for hit in one)


def test_rows_come_for_those_alone_that_can_win(publish: Publish) -> None:
    rows, vectors_ND = corpus()
    index_dir, manifest = publish(rows, 1, vectors_ND)
    statistics = Statistics(index_dir, manifest)
    request = Request(
        space="test-space",
        queries_QD=queries(),
        k=5,
        mode=Mode.HYBRID,
        depth=100,
        words=tuple(statistics.words(text) for text in TEXTS),
        mean_length=statistics.mean_length,
        groups=None,
    )
    reply = Shard(index_dir, manifest.shards[0]).search(request)
    sent = [row for row in reply.rows if row]
    assert len(reply.rows) == np.count_nonzero(reply.ordinals_QK >= 0) > 3 * 100
    assert 3 * 5 <= len(sent) < 3 * 40
    found = reply.ordinals_QK[reply.ordinals_QK >= 0]
    for ordinal, row in zip(found, reply.rows, strict=True):
        assert not row or unpack_row(row).payload == str(ordinal).encode()


def test_words_need_the_statistics_of_the_index(publish: Publish) -> None:
    index_dir, manifest = publish(*_split(corpus()))
    gang = open_local(index_dir, manifest)
    with pytest.raises(InputError, match="without its terms"):
        Searcher(manifest, gang).search(
            queries(),
            k=3,
            deadline=Deadline.after(10),
            space="test-space",
            texts=TEXTS,
            mode=Mode.LEXICAL,
        )
    gang.close()


def _split(made: tuple[list[Row], np.ndarray]) -> tuple[list[Row], int, np.ndarray]:
    return made[0], 2, made[1]


SCORES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@settings(max_examples=200)
@given(
    pairs=st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=24),
    weights=st.tuples(st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.7, 1.0])),
    k=st.integers(1, 5),
    depth=st.integers(5, 12),
    shards=st.integers(1, 4),
)
def test_no_row_is_spared_that_a_fusion_would_have_ranked(
    pairs: list[tuple[float, float]],
    weights: tuple[float, float],
    k: int,
    depth: int,
    shards: int,
) -> None:
    """Each shard's candidates and spared rows, against a ranking that sees every row at once."""
    dense_N, lexical_N = (np.array(one, np.float32) for one in zip(*pairs, strict=True))
    ordinals_N = np.arange(len(pairs))

    def best(places: np.ndarray) -> list[int]:
        dense_M, lexical_M = dense_N[places], lexical_N[places]
        fused_M = weights[0] * dense_M + weights[1] * lexical_M
        order = fused_order(fused_M, dense_M, lexical_M, ordinals_N[places])[:k]
        return [int(place) for place in places[order]]

    truth = best(contenders(dense_N, lexical_N, ordinals_N, depth))
    gathered, sent = [], set()
    for shard in range(shards):
        mine = ordinals_N[shard::shards]
        kept = mine[contenders(dense_N[mine], lexical_N[mine], mine, depth)]
        spared = hopeless(dense_N[kept], lexical_N[kept], kept, k)
        gathered.append(kept)
        sent |= set(kept[~spared].tolist())
    whole = np.concatenate(gathered)
    whole = whole[contenders(dense_N[whole], lexical_N[whole], ordinals_N[whole], depth)]
    assert best(whole) == truth
    assert set(truth) <= sent
