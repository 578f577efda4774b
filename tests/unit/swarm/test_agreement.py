"""Agreement: whatever is lost, doubled or late, all come to the same map and the same tasks."""

import itertools
import math
import struct

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.systems.swarm.agreement.auction import NOBODY, Auction, Beliefs, Claim
from sextant.systems.swarm.agreement.neighbours import Neighbour, Neighbours, Promise
from sextant.systems.swarm.agreement.shared_map import MOST, Change, SharedMap
from sextant.systems.swarm.agreement.targets import Estimate
from sextant.systems.swarm.agreement.words import Word
from sextant.systems.swarm.drone.bids import first_share

CELLS = 60


def some(rng: np.random.Generator) -> np.ndarray:
    return np.unique(rng.integers(0, CELLS, 8))


@given(seed=st.integers(0, 100_000), drones=st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_maps_become_equal_whatever_is_lost_doubled_or_late(seed: int, drones: int) -> None:
    rng = np.random.default_rng(seed)
    maps = [SharedMap(i, CELLS) for i in range(drones)]
    late = []
    for _ in range(30):
        for shared in maps:
            shared.observe(some(rng), some(rng)[:2], some(rng)[:3])
        one, two = rng.choice(drones, 2, replace=False)
        for change in maps[one].news_for(maps[two].versions(), most=12):
            late += [(two, change)] * int(rng.integers(0, 3))
        rng.shuffle(late)
        for to, change in late[: len(late) // 2]:
            maps[to].take(change)
        late = late[len(late) // 2 :]
    for _ in range(3 * drones * 20):
        one, two = rng.choice(drones, 2, replace=False)
        for change in maps[one].news_for(maps[two].versions(), most=40):
            maps[two].take(change)
    for shared in maps[1:]:
        assert shared.versions() == maps[0].versions()
        np.testing.assert_array_equal(shared.evidence_C, maps[0].evidence_C)
        np.testing.assert_array_equal(shared.seen_C, maps[0].seen_C)


def test_only_changes_travel_and_the_dead_are_handed_on() -> None:
    a, b, c = (SharedMap(i, CELLS) for i in range(3))
    cells = np.arange(5)
    a.observe(cells, np.array([7]), cells[:1])
    for change in a.news_for({}, most=99):
        b.take(change)
    assert a.news_for(b.versions(), most=99) == []
    for change in b.news_for({}, most=99):  # a is gone by now
        c.take(change)
    np.testing.assert_array_equal(c.evidence_C, a.evidence_C)
    assert c.evidence_C[0] == -1
    assert c.evidence_C[7] == 2
    assert c.seen_C.tolist() == [True] + [False] * (CELLS - 1)
    for _ in range(20):
        a.observe(cells, np.array([7]), cells[:1])
    assert len(a.news_for(c.versions(), most=99)[0].cells_K) == 6


@pytest.mark.parametrize(("cells", "values"), [([3, 3], [-1, -1]), ([3], [MOST + 1])])
def test_a_word_with_a_cell_twice_or_evidence_out_of_bounds_is_none(
    cells: list[int], values: list[int]
) -> None:
    change = Change(
        source=2,
        after=0,
        upto=len(cells),
        cells_K=np.array(cells, np.int32),
        values_K=np.array(values, np.int8),
        stamps_K=np.arange(1, len(cells) + 1),
    )
    still_2 = np.zeros(2)
    speaker = Neighbour(name=2, at_s=0.0, position_2=still_2, velocity_2=still_2, landed=False)
    word = Word(speaker=speaker, mission=1, abort=False, changes=(change,))
    with pytest.raises(InputError, match="twice"):
        Word.unpack(word.pack(), CELLS)


def test_a_word_comes_back_as_it_was_said_and_half_of_one_is_none() -> None:
    still_2 = np.zeros(2)
    word = Word(
        speaker=Neighbour(
            name=2,
            at_s=1.5,
            position_2=still_2,
            velocity_2=still_2,
            promise=Promise(course=(1.0, -2.0), veer_m_s=0.5),
        ),
        mission=1,
        versions={0: 70_000, 2: 3},
        beliefs=Beliefs(
            sender=2, at_s=1.5, claims={4: Claim(3, 0.25), 9: NOBODY}, heard_s={0: 1.25, 2: 1.5}
        ),
        estimates={(2, 0): Estimate(1.0, 2.5, 3)},
    )
    body = word.pack()
    heard = Word.unpack(body, CELLS)
    assert (heard.versions, heard.beliefs) == (word.versions, word.beliefs)
    assert (heard.estimates, heard.speaker.promise) == (word.estimates, word.speaker.promise)
    for end in range(0, len(body), 7):
        with pytest.raises(InputError):
            Word.unpack(body[:end], CELLS)
    told = msgpack.unpackb(body)
    who, (promise, rank, way) = told["who"], told["flies"]
    for hostile in (
        {"claims": b"12345"},
        {"claims": struct.pack("<Iid", 4, 3, math.nan)},
        {"heard": struct.pack("<Hd", 4, math.inf)},
        {"who": [70_000, *who[1:]]},
        {"who": [1e300, *who[1:]]},
        {"flies": [[0.0, 0.0, -1.0], rank, way]},
        {"flies": [[1e300, 0.0, 1.0], rank, way]},
        {"flies": [[0.0, 1.0], rank, way]},
        {"flies": [promise, rank, [[0.0, 0.0]] * 50_000]},
        {"changes": [[1 << 32, 0, 0, b"", b"", b""]]},
        {"changes": [[2, 0, 1 << 32, b"", b"", b""]]},
        {"targets": [[2, 1e300, 0.0, 0.0, 1]]},
        {"targets": [[2, 0, 1e308, 0.0, 1]]},
        {"targets": [[2, 0, 0.0, 0.0, "9" * 40]]},
    ):
        with pytest.raises(InputError):
            Word.unpack(msgpack.packb({**told, **hostile}), CELLS)


def test_a_change_with_a_gap_before_it_is_refused() -> None:
    a, b = SharedMap(0, CELLS), SharedMap(1, CELLS)
    a.observe(np.arange(10), np.arange(0), np.arange(0))
    first = a.news_for({}, most=4)[0]
    second = a.news_for({0: first.upto}, most=4)[0]
    b.take(second)
    assert not b.evidence_C.any()
    b.take(first)
    b.take(second)
    assert np.count_nonzero(b.evidence_C) == 8


def positions(seed: int, drones: int, tasks: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 50, (drones, 2)), rng.uniform(0, 50, (tasks, 2))


def scored(at: np.ndarray, tasks: np.ndarray):
    def score(path, task) -> float:
        points = [at, *(tasks[t] for t in path), tasks[task]]
        length = sum(np.hypot(*(b - a)) for a, b in itertools.pairwise(points))
        return 100.0 * 0.97**length

    return score


def settle(
    auctions, scores, open_tasks, rounds: int, rng, loss: float, groups=None, now: float = 0.0
) -> int:
    """Rounds until nothing changed for ten of them, or all rounds."""
    still, last = 0, None
    for count in range(rounds):
        now += 0.1
        for auction, score in zip(auctions, scores, strict=True):
            auction.build(sorted(open_tasks), score)
        told = [auction.beliefs(now) for auction in auctions]
        for i, auction in enumerate(auctions):
            for j, beliefs in enumerate(told):
                apart = groups is not None and groups[i] != groups[j]
                if i != j and not apart and rng.random() >= loss:
                    auction.hear(beliefs, open_tasks)
        bundles = [list(auction.bundle) for auction in auctions]
        still = still + 1 if bundles == last else 0
        last = bundles
        if still == 10:
            return count
    return rounds


@given(seed=st.integers(0, 100_000), loss=st.sampled_from([0.0, 0.2, 0.5]))
@settings(max_examples=30, deadline=None)
def test_an_auction_settles_without_conflict_under_loss(seed: int, loss: float) -> None:
    at, tasks = positions(seed, 6, 15)
    auctions = [Auction(i) for i in range(6)]
    scores = [scored(p, tasks) for p in at]
    rng = np.random.default_rng(seed)
    assert settle(auctions, scores, set(range(15)), 200, rng, loss) < 200
    taken = [task for auction in auctions for task in auction.bundle]
    assert len(taken) == len(set(taken)) == 15


def test_a_dead_drones_tasks_are_taken_by_the_others() -> None:
    at, tasks = positions(1, 4, 8)
    auctions = [Auction(i) for i in range(4)]
    scores = [scored(p, tasks) for p in at]
    rng = np.random.default_rng(1)
    settle(auctions, scores, set(range(8)), 200, rng, 0.2)
    lost = set(auctions[3].bundle)
    assert lost
    left, left_scores = auctions[:3], scores[:3]
    for auction in left:
        auction.forget({3})
    settle(left, left_scores, set(range(8)), 200, rng, 0.2, now=100.0)
    taken = [task for auction in left for task in auction.bundle]
    assert lost <= set(taken)
    assert len(taken) == len(set(taken))


def test_two_halves_go_on_and_agree_when_joined() -> None:
    at, tasks = positions(2, 6, 9)
    auctions = [Auction(i) for i in range(6)]
    scores = [scored(p, tasks) for p in at]
    rng = np.random.default_rng(2)
    settle(auctions, scores, set(range(9)), 200, rng, 0.2, groups=[0, 0, 0, 1, 1, 1])
    for half in (auctions[:3], auctions[3:]):
        assert len({task for auction in half for task in auction.bundle}) == 9
    assert settle(auctions, scores, set(range(9)), 300, rng, 0.2, now=100.0) < 300
    taken = [task for auction in auctions for task in auction.bundle]
    assert len(taken) == len(set(taken)) == 9


def test_done_tasks_are_dropped() -> None:
    at, tasks = positions(3, 1, 5)
    auction = Auction(0)
    auction.build(range(5), scored(at[0], tasks))
    first = auction.bundle[0]
    auction.keep(set(range(5)) - {first})
    assert first not in auction.bundle
    assert auction.claim(first).winner is None


def test_where_there_are_few_tasks_none_holds_more_than_its_share() -> None:
    at, tasks = positions(3, 1, 5)
    auction = Auction(0)
    auction.build(range(5), scored(at[0], tasks))
    assert len(auction.bundle) == 3
    first, second, third = auction.bundle
    auction.build(range(5), scored(at[0], tasks), bidders=2)
    assert auction.bundle == [first, second]
    auction.build(range(5), scored(at[0], tasks), bidders=12)
    assert auction.bundle == [first]
    assert auction.claim(second) == auction.claim(third) == NOBODY


@given(seed=st.integers(0, 100_000), drones=st.integers(1, 5), tasks=st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_the_first_share_is_of_an_assignment_with_the_least_sum(
    seed: int, drones: int, tasks: int
) -> None:
    metres_NT = np.random.default_rng(seed).uniform(0.0, 30.0, (drones, tasks))
    seats = list(range(tasks)) * -(-drones // tasks)
    best = min(
        itertools.permutations(range(len(seats)), drones),
        key=lambda chosen: sum(metres_NT[n, seats[s]] for n, s in enumerate(chosen)),
    )
    assert first_share(metres_NT) == seats[best[0]]


def test_neighbours_are_known_by_freshness() -> None:
    def word(at_s: float, x: float) -> Neighbour:
        where = np.array([x, 0.0])
        return Neighbour(name=1, at_s=at_s, position_2=where, velocity_2=np.zeros(2))

    known = Neighbours(fresh_s=1.0)
    known.hear(word(2.0, 5.0), 2.0)
    known.hear(word(1.0, 9.0), 2.1)
    assert known.alive(2.5)[0].position_2[0] == 5.0
    assert known.gone(2.5) == set()
    assert known.alive(3.5) == []
    assert known.gone(3.5) == {1}
    with pytest.raises(AttributeError):
        known.alive(2.5)[0].at_s = 9.0  # type: ignore[misc]
