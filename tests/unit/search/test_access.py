"""Who may read what: every way round it that we could think of finds what everybody may read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from sextant.errors import InputError
from sextant.fleet import Deadline, Ledger
from sextant.search.change import IndexChange
from sextant.search.filters import parse_filter
from sextant.search.manifest import Manifest
from sextant.search.member import ShardMember
from sextant.search.merge import Hit
from sextant.search.rows import Row
from sextant.search.searcher import Found, Searcher
from sextant.search.service import open_local
from sextant.search.statistics import Statistics
from sextant.search.wire import Mode, Reply, Request

Publish = Callable[..., tuple[Path, Manifest]]
Groups = tuple[str, ...]
AUDIENCES: tuple[Groups, ...] = (
    (),
    ("hr",),
    ("hr", "legal"),
    ("HR",),
    ("hr,legal",),
    ("hr legal",),
    ("h\u0441",),  # a Cyrillic letter
    ("\uff48\uff52",),  # full width: NFKC makes hr of it
    ("caf\u00e9",),
    ("cafe\u0301",),  # the same to the eye
    ("",),
    ("*",),
    ("None",),
    ("null",),
    ("trusted",),
    ("groups",),
    ("hr\x00",),
    ("\U0001f511" * 250,),
)
CALLERS: tuple[Groups, ...] = (
    (),
    ("hr",),
    ("legal",),
    ("HR",),
    ("hr,legal",),
    ("hr", "hr"),
    ("hr ",),
    (" hr",),
    ("hr\u200b",),
    ("hr\n",),
    ("h%",),
    ("h.",),
    ("[hr]",),
    ("['hr']",),
    ('","hr',),
    ("hr", "legal", "caf\u00e9"),
    ("cafe\u0301",),
    ("\uff48\uff52",),
    ("*",),
    ("**",),
    ("None",),
    ("true",),
    ("trusted",),
    ("\U0001f511" * 250,),
    tuple(f"g{n}" for n in range(1000)),
)
FILTERS: tuple[dict[str, Any], ...] = (
    {"groups": "hr"},
    {"groups": {"in": ["hr", ""]}},
    {"groups": {"exists": False}},
    {"not": {"groups": "hr"}},
    {"or": [{"and": []}, {"restricted": {"exists": True}}]},
    {"not": {"or": []}},
    {"level": {"gte": 0}},
    {"audience": "hr"},
    {"not": {"audience": "nobody"}},
    {"trusted": True},
)
NUM = 5 * len(AUDIENCES)


def marker(n: int) -> bytes:
    """What gives a row away, wherever in a message it stands."""
    return f"<secret-{n}>".encode()


def rows() -> list[Row]:
    return [
        Row(
            f"doc{n}",
            marker(n),
            {"audience": "hr", "level": n},
            AUDIENCES[n % len(AUDIENCES)],
            f"tide comet word{n % 7} unique{n}",
        )
        for n in range(NUM)
    ]


def vectors() -> np.ndarray:
    vectors_ND = np.random.default_rng(3).standard_normal((NUM, 8)).astype(np.float32)
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)


QUERY = vectors()[:1] + np.float32(0.3)
TEXT = "tides, comets word1 word2 unique1 unique7 unique10"


def readable(groups: Groups | None) -> set[str]:
    """What a caller may read, row by row."""
    return {
        row.document
        for row in rows()
        if groups is None or not row.groups or set(row.groups) & set(groups)
    }


def documents(hits: Sequence[Hit]) -> set[str]:
    return {hit.row.document for hit in hits}


def a_sum(dense_M: np.ndarray, lexical_M: np.ndarray) -> np.ndarray:
    return dense_M - dense_M.mean() + (lexical_M - lexical_M.mean())


class Asker:
    """Asks one index, whose members stay open: what one caller saw must not serve the next."""

    def __init__(self, index_dir: Path, manifest: Manifest) -> None:
        self.gang = open_local(index_dir, manifest)
        self.manifest = manifest
        statistics = Statistics(index_dir, manifest)
        self._searcher = Searcher(manifest, self.gang, statistics=statistics)

    def __call__(self, mode: Mode, groups: Groups | None = (), **how: Any) -> Found:
        found = self._searcher.search(
            QUERY,
            **{"k": 4 * NUM, **how},
            deadline=Deadline.after(30),
            space="test-space",
            texts=[TEXT],
            mode=mode,
            fuse=a_sum,
            groups=groups,
        )
        assert not found.missing
        return found


@pytest.fixture(params=["Flat", "IVF2,Flat"])
def asker(publish: Publish, request: pytest.FixtureRequest) -> Iterator[Asker]:
    one = Asker(*publish(rows(), 3, vectors(), request.param))
    yield one
    one.gang.close()


@pytest.fixture
def graph(publish: Publish) -> Iterator[Asker]:
    one = Asker(*publish(rows(), 2, vectors(), "HNSW8"))
    yield one
    one.gang.close()


@pytest.mark.parametrize("mode", Mode)
def test_a_graph_shows_no_more(graph: Asker, mode: Mode) -> None:
    assert len(graph(mode, None).hits[0]) > len(readable(("hr",)))
    for groups in CALLERS:
        assert documents(graph(mode, groups).hits[0]) <= readable(groups), groups


@pytest.mark.parametrize("mode", Mode)
def test_every_caller_sees_what_they_may_and_all_of_it(asker: Asker, mode: Mode) -> None:
    for groups in CALLERS:
        assert documents(asker(mode, groups).hits[0]) == readable(groups), groups
    assert documents(asker(mode).hits[0]) == readable(()), "nobody in particular"
    if mode != Mode.DENSE or asker.manifest.index_recall == 1.0:
        assert documents(asker(mode, None).hits[0]) == readable(None)
    assert len(readable(())) < len(readable(("hr",))) < NUM


@pytest.mark.parametrize("mode", Mode)
def test_no_filter_widens_what_a_caller_sees(asker: Asker, mode: Mode) -> None:
    for value in FILTERS:
        asked = parse_filter(value)
        everything = documents(asker(mode, None, filter=asked).hits[0])
        for groups in CALLERS[:4]:
            seen = documents(asker(mode, groups, filter=asked).hits[0])
            assert seen == everything & readable(groups), (value, groups)


@pytest.mark.parametrize("k", [1, 5, 10**6, 2**31 - 1])
@pytest.mark.parametrize("mode", Mode)
def test_no_k_reaches_further(asker: Asker, mode: Mode, k: int) -> None:
    hits = asker(mode, ("hr",), k=k).hits[0]
    assert len(hits) == min(k, len(readable(("hr",))))
    assert documents(hits) <= readable(("hr",))


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("groups", [(), ("hr",), ("nobody",)])
def test_what_is_forbidden_moves_nothing(publish: Publish, mode: Mode, groups: Groups) -> None:
    """An index that never had the forbidden documents gives the same hits with the same scores."""
    index = publish(rows(), 3, vectors())
    kept = [n for n, row in enumerate(rows()) if row.document in readable(groups)]
    less = publish([rows()[n] for n in kept], 2, vectors()[kept])
    ours = Asker(*index)
    theirs = Asker(*less)
    for k in (3, NUM):
        here, there = ours(mode, groups, k=k), theirs(mode, None, k=k)
        assert [(h.row, h.score, h.dense, h.lexical) for h in here.hits[0]] == [
            (h.row, h.score, h.dense, h.lexical) for h in there.hits[0]
        ]
        assert here.coverage == ours(mode, None, k=k).coverage == 1.0
        assert here.expected_recall == ours(mode, None, k=k).expected_recall
    for one in (ours, theirs):
        one.gang.close()


def message(changes: Mapping[Any, Any]) -> bytes:
    """A request made by hand, by default without a word of who asks."""
    words = [["tide", 1.0], ["comet", 1.0]]
    value: dict[Any, Any] = {
        "space": "test-space",
        "shape": [1, 8],
        "k": NUM,
        "depth": NUM,
        "words": [words],
        "queries": QUERY.astype("<f4").tobytes(),
        **changes,
    }
    return bytes(msgpack.packb(value))


def member(index_dir: Path, name: str) -> ShardMember:
    one = ShardMember(str(index_dir), name)
    one.ledger = Ledger()
    one.warm()
    return one


@pytest.mark.parametrize("mode", Mode)
def test_a_request_past_the_searcher_sees_what_everybody_may(publish: Publish, mode: Mode) -> None:
    index_dir, manifest = publish(rows(), 2, vectors())
    public = {n for n, row in enumerate(rows()) if not row.groups}
    seen: set[int] = set()
    for card in manifest.shards:
        shard = member(index_dir, card.name)
        trusted = Reply.unpack(
            shard.handle(message({"mode": mode.value, "trusted": True}), Deadline.after(9))
        )
        assert trusted.ordinals_QK.max() in range(NUM)
        for extra in (
            {},
            {"groups": []},
            {"groups": ["nobody"]},
            {"trusted": False},
            {"ordinals": trusted.ordinals_QK.tolist()[0], "rows": list(range(NUM))},
            {"allowed": [True] * NUM, "Trusted": True, "TRUSTED": True, b"trusted": True},
            {"caller": None, "user": "root", "admin": True},
        ):
            body = shard.handle(message({"mode": mode.value, **extra}), Deadline.after(9))
            reply = Reply.unpack(body)
            found = {int(n) for n in reply.ordinals_QK.ravel() if n >= 0}
            assert found <= public
            assert not [n for n in set(range(NUM)) - public if marker(n) in body]
            seen |= found
        shard.close()
    assert seen == public


@pytest.mark.parametrize(
    "who",
    [
        {"trusted": 1},
        {"trusted": "true"},
        {"trusted": None},
        {"trusted": []},
        {"trusted": [True]},
        {"trusted": True, "groups": []},
        {"trusted": True, "groups": ["hr"]},
        {"groups": None},
        {"groups": "hr"},
        {"groups": b"hr"},
        {"groups": {"hr": 1}},
        {"groups": [b"hr"]},
        {"groups": [["hr"]]},
        {"groups": [None]},
        {"groups": [""]},
        {"groups": ["hr", ""]},
        {"groups": ["x" * 1001]},
        {"groups": ["g"] * 1025},
    ],
    ids=repr,
)
def test_a_request_that_says_it_badly_is_refused(who: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not a search request"):
        Request.unpack(message(who))


@pytest.mark.parametrize("groups", [("",), ("hr", ""), ("x" * 1001,), ("g",) * 1025, ("\ud800",)])
def test_the_searcher_refuses_what_is_no_group(publish: Publish, groups: Groups) -> None:
    asker = Asker(*publish(rows(), 1, vectors()))
    with pytest.raises(InputError, match="groups"):
        asker(Mode.DENSE, groups)
    asker.gang.close()


@pytest.mark.parametrize("groups", [(), ("hr",), None, ("hr", "h\u0441", "\U0001f511" * 250)])
def test_who_asks_survives_the_wire(groups: Groups | None) -> None:
    request = Request(space="s", queries_QD=QUERY, k=1, groups=groups)
    assert Request.unpack(request.pack()).groups == groups


def test_a_document_that_is_restricted_later_is_gone_at_once(publish: Publish) -> None:
    index_dir, manifest = publish(rows(), 2, vectors())
    assert "doc0" in readable(())
    with IndexChange(index_dir, manifest) as change:
        change.add([Row("doc0", b"secret-0", {}, ("board",), "tide comet")], vectors()[:1])
        changed = change.publish()
    asker = Asker(index_dir, changed)
    for mode in Mode:
        assert documents(asker(mode, ("hr",)).hits[0]) == readable(("hr",)) - {"doc0"}
        assert "doc0" in documents(asker(mode, ("board",)).hits[0])
    asker.gang.close()
