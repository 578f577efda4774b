"""Closed-loop clients over sockets, in a process of their own: one selector, no thread a client.

`python -m benchmarks.load` reads a job (pickled by its parent, from stdin) and prints JSON. The
clients of every server in a comparison are these, so that what a client costs is the same for all.
"""

from __future__ import annotations

import pickle
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

_READ_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What to send and for how long.

    Attributes:
        port: of the server on loopback.
        protocol: `door` or `http`, which says where an answer ends.
        hello: sent first on each connection, and answered; may be empty.
        requests: the queries, whole messages; each client takes every n-th, round and round.
        clients: connections, each with one query on its way.
        warm_s: not counted.
        seconds: counted.
        keep: the first so many queries' last answers are kept.
    """

    port: int
    protocol: str
    hello: bytes
    requests: list[bytes]
    clients: int = 32
    warm_s: float = 1.0
    seconds: float = 5.0
    keep: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What came of it; times in seconds, `answers` by the number of the query."""

    per_s: float
    p50_s: float
    p99_s: float
    answers: dict[int, bytes]


@dataclass(eq=False, slots=True)
class _Client:
    socket: socket.socket
    number: int
    sent_s: float = 0.0
    came: bytearray = field(default_factory=bytearray)


def drive(job: Job) -> Load:
    """Run a job in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=pickle.dumps(job),
        stdout=subprocess.PIPE,
        timeout=job.warm_s + job.seconds + 60,
        check=True,
    )
    load: Load = pickle.loads(done.stdout)
    return load


def _run(job: Job) -> Load:
    selector = selectors.DefaultSelector()
    whole = {"door": _door_end, "http": _http_end}[job.protocol]
    for number in range(job.clients):
        client = _Client(socket.create_connection(("127.0.0.1", job.port), 10), number)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if job.hello:
            client.socket.sendall(job.hello)
            while not whole(client.came):
                client.came += client.socket.recv(_READ_BYTES)
            client.came.clear()
        selector.register(client.socket, selectors.EVENT_READ, client)
    clock = time.perf_counter
    begin_s = clock() + job.warm_s
    end_s = begin_s + job.seconds
    times_s: list[float] = []
    answers: dict[int, bytes] = {}
    for key in selector.get_map().values():
        _ask(key.data, job, clock())
    now_s = clock()
    while now_s < end_s:
        ready = selector.select(10)
        assert ready, "nobody answers"
        for key, _ in ready:
            client = key.data
            data = client.socket.recv(_READ_BYTES)
            assert data, "the server has hung up"
            client.came += data
            if not whole(client.came):
                continue
            now_s = clock()
            if now_s >= begin_s:
                times_s.append(now_s - client.sent_s)
            if client.number < job.keep:
                answers[client.number] = bytes(client.came)
            client.number = (client.number + job.clients) % len(job.requests)
            client.came.clear()
            _ask(client, job, now_s)
    times_s.sort()
    return Load(
        per_s=len(times_s) / job.seconds,
        p50_s=times_s[len(times_s) // 2],
        p99_s=times_s[int(0.99 * len(times_s))],
        answers=answers,
    )


def _ask(client: _Client, job: Job, now_s: float) -> None:
    client.sent_s = now_s
    client.socket.sendall(job.requests[client.number])


def _door_end(came: bytearray) -> bool:
    return len(came) >= 4 and len(came) >= 4 + int.from_bytes(came[:4], "little")


def _http_end(came: bytearray) -> bool:
    """Whether an answer with a length, or in chunks, is whole."""
    head = came.find(b"\r\n\r\n")
    if head < 0:
        return False
    lines = bytes(came[:head]).lower()
    assert lines.startswith(b"http/1.1 200"), bytes(came[:2000])
    at = lines.find(b"content-length:")
    if at < 0:
        return came.endswith(b"0\r\n\r\n")
    length = int(lines[at + 15 :].split(b"\r\n", 1)[0])
    return len(came) >= head + 4 + length


def http_body(answer: bytes) -> bytes:
    """The body of an HTTP answer, its chunks joined."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" not in head.lower():
        return body
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        num = int(size, 16)
        whole, body = whole + body[:num], body[num + 2 :]
        if not num:
            break
    return whole


def main() -> None:
    """Runs the job on stdin. Its parent is this benchmark, so its pickle can be trusted."""
    from benchmarks import load

    job: Any = pickle.loads(sys.stdin.buffer.read())
    sys.stdout.buffer.write(pickle.dumps(load._run(job)))


if __name__ == "__main__":
    main()
