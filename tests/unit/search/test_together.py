"""Queries that wait leave together; a lone one waits for nobody, nor anybody for one held up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sextant.errors import InputError
from sextant.fleet import Deadline, Gather
from sextant.search import together
from sextant.search.local import LocalGang
from sextant.search.manifest import Manifest
from sextant.search.searcher import Found, Searcher
from sextant.search.service import open_local
from sextant.search.together import MOST_BATCH, Together
from sextant.search.wire import Request

Build = Callable[..., tuple[Path, Manifest]]


class Counter:
    """Answers a query by its double; the first batch is held up until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.held, self.let_go = threading.Event(), threading.Event()

    def run(self, queries: Sequence[int], deadline: Deadline) -> list[int]:  # noqa: ARG002
        self.batches.append(list(queries))
        if len(self.batches) == 1:
            self.held.set()
            self.let_go.wait(10)
        return [2 * query for query in queries]


def stopped() -> float:
    """A clock on which nobody's patience ends."""
    return 0.0


def waiting(room: Together[int, int], num: int) -> None:
    """Returns once so many wait in the room."""
    end_s = time.monotonic() + 10
    while len(room._waiting) < num and time.monotonic() < end_s:
        time.sleep(0.001)


def test_all_who_wait_leave_in_one_batch() -> None:
    counter = Counter()
    room = Together(counter.run, at_once=1, clock=stopped)
    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(room.ask, 0, "a", Deadline.after(30))
        counter.held.wait(10)
        rest = [pool.submit(room.ask, n, "a", Deadline.after(30)) for n in range(1, 13)]
        waiting(room, 12)
        counter.let_go.set()
        assert [one.result(10) for one in (first, *rest)] == [2 * n for n in range(13)]
    assert [len(batch) for batch in counter.batches] == [1, 12]


def test_only_what_is_alike_and_due_at_about_the_same_time_shares_a_batch() -> None:
    counter = Counter()
    room = Together(counter.run, at_once=1, clock=stopped)
    asked = [(1, "a", 30.0), (2, "b", 30.0), (3, "a", 29.0), (4, "a", 5.0), (5, "b", 30.0)]
    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(room.ask, 0, "a", Deadline.after(30))
        counter.held.wait(10)
        rest = [pool.submit(room.ask, n, alike, Deadline.after(s)) for n, alike, s in asked]
        waiting(room, 5)
        counter.let_go.set()
        assert [one.result(10) for one in (first, *rest)] == [0, 2, 4, 6, 8, 10]
    assert sorted(sorted(batch) for batch in counter.batches) == [[0], [1, 3], [2, 5], [4]]


def test_a_batch_is_bounded() -> None:
    counter = Counter()
    room = Together(counter.run, at_once=1, clock=stopped)
    with ThreadPoolExecutor(16) as pool:
        pool.submit(room.ask, 0, "a", Deadline.after(30))
        counter.held.wait(10)
        rest = [pool.submit(room.ask, n, "a", Deadline.after(30), 30) for n in (1, 2, 3)]
        waiting(room, 3)
        counter.let_go.set()
        assert [one.result(10) for one in rest] == [2, 4, 6]
    assert MOST_BATCH == 64
    assert sorted(len(batch) for batch in counter.batches) == [1, 1, 2]


def test_nobody_waits_long_behind_a_batch_that_is_held_up() -> None:
    counter = Counter()
    room = Together(counter.run, at_once=1)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(room.ask, 0, "a", Deadline.after(30))
        counter.held.wait(10)
        assert pool.submit(room.ask, 1, "a", Deadline.after(0.1)).result(5) == 2
        assert not counter.let_go.is_set()
        counter.let_go.set()


class Held:
    """A lock that one thread does not get before it is let go."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.let_go = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if threading.current_thread() is self.thread:
            self.let_go.wait(10)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_two_that_come_back_at_once_leave_nobody_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "PATIENCE_S", 60.0)
    last_ran, let_go = threading.Event(), threading.Event()

    def run(queries: Sequence[int], deadline: Deadline) -> list[bool]:  # noqa: ARG001
        if queries == [3]:
            last_ran.set()
        # The third is back only after the fourth has left, or after too long.
        return [last_ran.wait(10) if queries == [2] else let_go.wait(10)]

    room = Together(run, at_once=2)
    room._lock = lock = Held()  # type: ignore[assignment]
    with ThreadPoolExecutor(4, thread_name_prefix="room") as pool:
        asked = []
        for number in range(4):
            asked.append(pool.submit(room.ask, number, number, Deadline.after(300)))
            end_s = time.monotonic() + 10
            while room._away + len(room._waiting) <= number and time.monotonic() < end_s:
                time.sleep(0.001)
        lock.thread = next(one for one in threading.enumerate() if one.name == "room_2")
        let_go.set()
        assert asked[0].result(10)
        assert asked[1].result(10)
        lock.let_go.set()
        assert asked[2].result(20), "the last one slept"
        assert asked[3].result(20)


def test_an_error_reaches_everybody_and_the_room_goes_on() -> None:
    def run(queries: Sequence[int], deadline: Deadline) -> list[int]:  # noqa: ARG001
        if 13 in queries:
            raise InputError("unlucky")
        return list(queries)

    room = Together(run)
    with pytest.raises(InputError, match="unlucky"):
        room.ask(13, "a", Deadline.after(1))
    assert room.ask(14, "a", Deadline.after(1)) == 14


class Watched:
    """A gang that remembers how many queries each message had; the first is held up."""

    def __init__(self, gang: LocalGang) -> None:
        self._gang = gang
        self.sizes: list[int] = []
        self.let_go = threading.Event()

    def ask(self, body: bytes, deadline: Deadline) -> Gather:
        self.sizes.append(len(Request.unpack(body).queries_QD))
        if len(self.sizes) <= 2:
            self.let_go.wait(10)
        return self._gang.ask(body, deadline)

    def close(self) -> None:
        self._gang.close()


def test_concurrent_queries_get_the_answers_that_they_get_alone(
    vectors: np.ndarray, build: Build
) -> None:
    index_dir, manifest = build(vectors, 3)
    gang = Watched(open_local(index_dir, manifest))
    searcher = Searcher(manifest, gang)
    searcher._together._clock = stopped

    def find(number: int) -> Found:
        query_QD = vectors[number, None]
        return searcher.search(query_QD, k=10, deadline=Deadline.after(60), space="test-space")

    with ThreadPoolExecutor(24) as pool:
        found = [pool.submit(find, number) for number in range(24)]
        end_s = time.monotonic() + 10
        while len(searcher._together._waiting) < 22 and time.monotonic() < end_s:
            time.sleep(0.001)
        gang.let_go.set()
        together = [one.result(30) for one in found]
    assert sorted(gang.sizes) == [1, 1, 22]
    alone = [find(number) for number in range(24)]
    gang.close()
    assert [one.hits for one in together] == [one.hits for one in alone]
    assert {one.coverage for one in together} == {1.0}


def test_a_query_that_a_shard_would_refuse_does_not_come_along(
    vectors: np.ndarray, build: Build
) -> None:
    index_dir, manifest = build(vectors, 2)
    gang = open_local(index_dir, manifest)
    searcher = Searcher(manifest, gang)
    broken_QD = np.full((1, 32), np.nan, np.float32)
    with pytest.raises(InputError, match="finite"):
        searcher.search(broken_QD, k=1, deadline=Deadline.after(5), space="test-space")
    gang.close()
