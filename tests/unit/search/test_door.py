"""The vector door: batches give the answers of single queries, and nobody harms the others."""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sextant.errors import EngineError, InputError
from sextant.fleet import Deadline
from sextant.search import door as door_module
from sextant.search import entrance, frames
from sextant.search.door import Door
from sextant.search.door_client import DoorClient
from sextant.search.manifest import Manifest
from sextant.search.nearest import Near
from sextant.search.vectors import running, served
from sextant.search.wire import Floats

Build = Callable[..., tuple[Path, Manifest]]
DIMS = 4


class Slow:
    """Finds the row that a query's first number names; the first search can be held up."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.entered, self.let_go = threading.Event(), threading.Event()
        self.let_go.set()

    def search(self, queries_QD: Floats, k: int, deadline: Deadline) -> Near:  # noqa: ARG002
        self.sizes.append(len(queries_QD))
        self.entered.set()
        if len(self.sizes) == 1:
            self.let_go.wait(10)
        if queries_QD[0, 0] == 13:
            raise RuntimeError("unlucky")
        rows_Q1 = queries_QD[:, :1].astype(np.int64)
        return Near(scores_QK=queries_QD[:, :1], ordinals_QK=rows_Q1, coverage=0.5)


class Wide(Slow):
    """Finds as many rows as are wanted."""

    def search(self, queries_QD: Floats, k: int, deadline: Deadline) -> Near:  # noqa: ARG002
        shape = len(queries_QD), k
        return Near(
            scores_QK=np.zeros(shape, np.float32), ordinals_QK=np.ones(shape, int), coverage=1.0
        )


def vector(row: int) -> Floats:
    return np.array([row, 0, 0, 0], np.float32)


@contextmanager
def opened(slow: Slow, **options: object) -> Iterator[int]:
    with running(Door(slow.search, dims=DIMS, about={}, **options)) as door:
        yield door.port


def test_a_batch_gives_the_answers_of_single_queries(vectors: np.ndarray, build: Build) -> None:
    index_dir, _ = build(vectors, 3)
    with served(index_dir) as door, DoorClient("127.0.0.1", door.port) as client:
        assert client.about["dims"] == 32
        assert client.about["vectors"] == 600
        together = client.search_many(vectors[:100], 10, deadline_s=20)
        alone = [client.search(vector_D, 10, deadline_s=20) for vector_D in vectors[:100]]
    for one, other in zip(together, alone, strict=True):
        assert one.ordinals_K.tolist() == other.ordinals_K.tolist()
        assert one.scores_K.tobytes() == other.scores_K.tobytes()
        assert one.coverage == other.coverage == 1.0
    assert [one.ordinals_K[0] for one in alone[:50]] == list(range(50))


def test_what_waits_while_a_batch_is_searched_leaves_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door_module, "PATIENCE_S", 30.0)
    slow = Slow()
    slow.let_go.clear()
    door = Door(slow.search, dims=DIMS, about={})
    with running(door), ThreadPoolExecutor(8) as pool:
        port = door.port
        clients = [DoorClient("127.0.0.1", port) for _ in range(6)]
        first = pool.submit(clients[0].search, vector(0), 1, deadline_s=20)
        slow.entered.wait(10)
        rest = [
            pool.submit(client.search, vector(n), 1, deadline_s=20)
            for n, client in enumerate(clients[1:], 1)
        ]
        end_s = time.monotonic() + 10
        while len(door._waiting) < 5 and time.monotonic() < end_s:
            time.sleep(0.001)
        slow.let_go.set()
        found = [one.result(20).ordinals_K.tolist() for one in (first, *rest)]
        for client in clients:
            client.close()
    assert found == [[n] for n in range(6)]
    assert slow.sizes == [1, 5]


def test_nobody_waits_long_behind_a_search_that_hangs() -> None:
    slow = Slow()
    slow.let_go.clear()
    with (
        opened(slow) as port,
        ThreadPoolExecutor(1) as pool,
        DoorClient("127.0.0.1", port) as one,
        DoorClient("127.0.0.1", port) as other,
    ):
        first = pool.submit(one.search, vector(1), 1, deadline_s=20)
        slow.entered.wait(10)
        assert other.search(vector(2), 1, deadline_s=20).ordinals_K.tolist() == [2]
        assert not first.done()
        slow.let_go.set()
        assert first.result(10).coverage == 0.5


def test_a_query_after_its_deadline_is_refused_without_a_search() -> None:
    slow = Slow()
    with (
        opened(slow, clock=lambda: time.time() + 60) as port,
        DoorClient("127.0.0.1", port) as client,
        pytest.raises(InputError, match="the deadline had passed"),
    ):
        client.search(vector(1), 1, deadline_s=5)
    assert slow.sizes == []


@pytest.mark.parametrize(
    ("numbers", "k", "why"),
    [((np.nan, 0, 0, 0), 1, "finite"), ((np.inf, 0, 0, 0), 1, "finite"), ((1, 0, 0, 0), 0, "k ")],
)
def test_a_bad_query_is_refused_alone(numbers: tuple[float, ...], k: int, why: str) -> None:
    slow = Slow()
    with opened(slow) as port, DoorClient("127.0.0.1", port) as client:
        with pytest.raises(InputError, match=why):
            client.search(np.array(numbers, np.float32), k)
        # The connection goes on, and no answer is taken for another's.
        assert client.search(vector(3), 1).ordinals_K.tolist() == [3]
    assert slow.sizes == [1]


def test_a_search_that_breaks_says_so_and_the_door_stays() -> None:
    with opened(Slow()) as port, DoorClient("127.0.0.1", port) as client:
        with pytest.raises(InputError, match="RuntimeError"):
            client.search(vector(13), 1)
        assert client.search(vector(14), 1).ordinals_K.tolist() == [14]


def test_beyond_so_many_that_wait_queries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "MOST_WAITING", 3)
    monkeypatch.setattr(door_module, "PATIENCE_S", 30.0)
    slow = Slow()
    slow.let_go.clear()
    with (
        opened(slow) as port,
        ThreadPoolExecutor(1) as pool,
        DoorClient("127.0.0.1", port) as one,
        DoorClient("127.0.0.1", port) as other,
    ):
        first = pool.submit(one.search, vector(1), 1, deadline_s=20)
        slow.entered.wait(10)
        with pytest.raises(InputError, match="wait already"):
            other.search_many(np.stack([vector(n) for n in range(5)]), 1, deadline_s=20)
        slow.let_go.set()
        assert first.result(10).ordinals_K.tolist() == [1]
        assert other.search(vector(9), 1).ordinals_K.tolist() == [9]


def raw(port: int, sent: bytes) -> bytes:
    """What the door says to some bytes until it hangs up."""
    with closing(socket.create_connection(("127.0.0.1", port), 5)) as connection:
        connection.sendall(sent)
        came = b""
        try:
            while data := connection.recv(4096):
                came += data
        except ConnectionResetError:
            pass
    return came


QUERY = frames.query_frame(1, b"\0" * 16, 1, 4e9)
HOSTILE = {
    "no greeting": QUERY,
    "an endless frame": struct.pack("<IB", 0xFFFFFFFF, frames.HELLO),
    "an empty frame": struct.pack("<I", 0) + b"\1",
    "a short greeting": struct.pack("<IB", 2, frames.HELLO) + b"\1",
    "another version": struct.pack("<IBH", 3, frames.HELLO, 999),
    "a wrong token": frames.hello("wrong"),
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "another kind": frames.hello("secret") + frames.frame(77, b"x"),
    "too many dimensions": frames.hello("secret") + frames.query_frame(1, b"\0" * 20, 1, 4e9),
    "too few dimensions": frames.hello("secret") + frames.query_frame(1, b"\0" * 12, 1, 4e9),
    "two greetings": frames.hello("secret") * 2,
}


def test_a_hostile_frame_ends_its_connection_and_no_other() -> None:
    slow = Slow()
    with opened(slow, token="secret") as port:
        with DoorClient("127.0.0.1", port, token="secret") as client:
            for name, sent in HOSTILE.items():
                came = raw(port, sent)
                assert bytes([frames.REFUSED]) in came[4:5] or came[4] == frames.WELCOME, name
                assert b"Traceback" not in came, name
                assert client.search(vector(5), 1).ordinals_K.tolist() == [5], name
        with pytest.raises(InputError, match="token"):
            DoorClient("127.0.0.1", port, token="wrong")
    assert set(slow.sizes) == {1}
    assert len(slow.sizes) == len(HOSTILE)


def test_frames_may_come_byte_by_byte() -> None:
    sent = frames.hello("") + frames.query_frame(7, vector(6).tobytes(), 1, 4e9)
    with (
        opened(Slow()) as port,
        closing(socket.create_connection(("127.0.0.1", port), 5)) as connection,
    ):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(sent)):
            connection.sendall(sent[at : at + 1])
        came = b""
        while frames.HITS not in came:
            came += connection.recv(4096)
    assert struct.pack("<q", 6) in came


def test_a_client_that_does_not_read_is_cut_off_and_the_others_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door_module, "_MOST_UNREAD_BYTES", 1 << 16)
    many = frames.query_frame(1, vector(1).tobytes(), 1000, 4e9) * 2000
    with (
        opened(Wide()) as port,
        closing(socket.socket()) as deaf,
        DoorClient("127.0.0.1", port) as client,
    ):
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.settimeout(5)
        deaf.sendall(frames.hello(""))
        # Whether the rest can still be sent depends on the kernel's buffers.
        with suppress(OSError):
            deaf.sendall(many)
        came = 0
        with suppress(ConnectionResetError):
            while data := deaf.recv(1 << 20):
                came += len(data)
        assert came < 2000 * 12_000
        assert client.search(vector(8), 1).ordinals_K.tolist() == [1]


def test_whoever_does_not_greet_is_sent_away_and_whoever_did_may_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with opened(Slow()) as port, DoorClient("127.0.0.1", port) as client:
        monkeypatch.setattr(entrance, "GREETING_S", 0.2)
        # Both come back at all only because the door hangs up.
        assert b"no greeting" in raw(port, b"")
        assert b"no greeting" in raw(port, frames.hello("")[:3])
        assert client.search(vector(3), 1).ordinals_K.tolist() == [3]


def test_strangers_do_not_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "MOST_STRANGERS", 2)
    monkeypatch.setattr(entrance, "MOST_CONNECTIONS", 4)
    with opened(Slow()) as port:
        silent = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(8)]
        with DoorClient("127.0.0.1", port) as client:
            assert client.search(vector(4), 1).ordinals_K.tolist() == [4]
        # Those who have stood there longest had to go.
        assert b"no greeting" in silent[0].recv(4096)
        for one in silent:
            one.close()


def test_without_descriptors_the_door_waits_and_does_not_spin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accept, tries = socket.socket.accept, list[float]()

    def scarce(listener: socket.socket) -> object:
        tries.append(time.monotonic())
        if len(tries) <= 3:
            raise OSError(errno.EMFILE, "too many open files")
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", scarce)
    with opened(Slow()) as port, DoorClient("127.0.0.1", port) as client:
        assert client.search(vector(2), 1).ordinals_K.tolist() == [2]
    # No two of the first tries follow each other at once.
    assert all(later - earlier > 0.05 for earlier, later in pairwise(tries[:4]))


def test_beyond_loopback_a_token_is_needed() -> None:
    with pytest.raises(InputError, match="needs a token"):
        Door(Slow().search, dims=DIMS, about={}, host="0.0.0.0")


def test_a_client_says_when_nobody_is_there() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with pytest.raises(EngineError, match="no door at"):
        DoorClient("127.0.0.1", port)
