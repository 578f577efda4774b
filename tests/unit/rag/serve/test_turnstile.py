"""Questions that come to a full gate: refused by their heads, on connections that stay in step."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import StringIO

import pytest
from served import Serving, StubService, serving, until

from sextant.fleet import Deadline
from sextant.systems.rag.serve.gate import Gate
from sextant.systems.rag.serve.journal import Journal
from sextant.systems.rag.serve.measures import Measures
from sextant.systems.rag.serve.turnstile import Turnstile

HEAD = b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"question": "who earns what"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def full(**limits: float) -> Iterator[Serving]:
    """A server whose one place is taken and whose queue of one is full, until the block ends."""
    go = threading.Event()
    service = StubService(waits=lambda: go.wait(20))
    with (
        serving(service, at_once=1, waiting=1, **limits) as server,
        ThreadPoolExecutor(2) as pool,
    ):
        asked = {"question": "q", "deadline": 20}
        inside = [pool.submit(server.post, "/search", asked) for _ in range(2)]
        until(lambda: server.desk.gate.waiting == 1)
        yield server
        go.set()
        assert [one.result(20).status for one in inside] == [200, 200]


def answers(line: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """So many whole answers, in their order: status and body."""
    stream, found = line.makefile("rb"), []
    for _ in range(count):
        status = int(stream.readline().split()[1])
        length = 0
        while (header := stream.readline()) != b"\r\n":
            name, _, value = header.partition(b": ")
            length = int(value) if name.lower() == b"content-length" else length
        found.append((status, stream.read(length)))
    stream.close()
    return found


def test_the_refusal_does_not_wait_for_the_body_and_passes_over_it() -> None:
    with full() as server, socket.create_connection(("127.0.0.1", server.port), 10) as line:
        line.sendall(HEAD + LENGTH + b"\r\n")
        status, body = answers(line, 1)[0]
        assert (status, json.loads(body)["error"]) == (429, "1 questions wait already")
        line.sendall(BODY[:7])
        time.sleep(0.02)
        # The rest of it, another question, and what is answered in any case.
        line.sendall(BODY[7:] + HEAD + LENGTH + b"\r\n" + BODY + HEALTH)
        assert [status for status, _ in answers(line, 2)] == [429, 200]
        line.sendall(HEAD[:9])
        time.sleep(0.02)
        line.sendall(HEAD[9:] + LENGTH + b"\r\n" + BODY)
        assert answers(line, 1)[0][0] == 429, "in pieces it goes the long way"
    log = server.log.getvalue()
    assert "who earns what" not in log


def test_who_does_not_read_the_refusals_is_not_sent_more_and_more() -> None:
    with full(send_s=0.5) as server, socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", server.port))
        line.settimeout(0.5)
        num_bytes, question = 0, HEAD + LENGTH + b"\r\n" + BODY
        with suppress(OSError):
            for _ in range(2_000):
                num_bytes += line.send(question * 100)
        assert num_bytes < 2_000 * 100 * len(question)


def test_the_log_has_one_line_for_many_and_the_counters_have_each() -> None:
    with full() as server, socket.create_connection(("127.0.0.1", server.port), 10) as line:
        for _ in range(30):
            line.sendall(HEAD + LENGTH + b"\r\n" + BODY)
            assert answers(line, 1)[0][0] == 429
        metrics = server.get("/metrics").body.decode()
        assert 'sextant_refused_total{why="full"} 30.0' in metrics
        assert 'sextant_requests_total{route="/ask",status="429"} 30.0' in metrics
        until(lambda: '"turned away"' in server.log.getvalue())
    lines = [json.loads(line) for line in server.log.getvalue().splitlines()]
    away = [line["questions"] for line in lines if line["event"] == "turned away"]
    assert sum(away) == 30
    assert len(away) <= 5


@pytest.mark.parametrize("pieces", [[], [b"POST /as"]], ids=["silence", "half a line"])
def test_who_was_turned_away_is_let_go_in_time(pieces: list[bytes]) -> None:
    with (
        full(idle_s=0.3, header_s=0.3) as server,
        socket.create_connection(("127.0.0.1", server.port), 10) as line,
    ):
        line.sendall(HEAD + LENGTH + b"\r\n" + BODY)
        assert answers(line, 1)[0][0] == 429
        for piece in pieces:
            line.sendall(piece)
        start_s = time.perf_counter()
        with suppress(ConnectionResetError):
            assert line.recv(1) == b""
        assert 0.1 < time.perf_counter() - start_s < 5.0


async def _turnstile() -> Turnstile:
    gate = Gate(1, 0)
    await gate.enter(Deadline.after(60))
    return Turnstile(gate, Measures(), Journal(StringIO()), most_bytes=1000)


@pytest.mark.parametrize(
    "head",
    [
        b"POST /search HTTP/1.1\r\nHost: localhost\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n",
        HEAD + LENGTH + b"Transfer-Encoding: chunked\r\n",
        HEAD + LENGTH + LENGTH,
        HEAD + LENGTH + b"content-length: 7\r\n",
        HEAD + LENGTH + b"Content-Length: +7\r\n",
        HEAD + b"Content-Length: 7, 7\r\n",
        HEAD + b"Content-Length : 7\r\n",
        HEAD + b"Content-Length: 1001\r\n",
        HEAD + LENGTH + b"Expect: 100-continue\r\n",
        HEAD + LENGTH + b"Connection: close\r\n",
        HEAD + LENGTH + b"Upgrade: websocket\r\n",
        HEAD + LENGTH + b" folded: line\r\n",
        HEAD + LENGTH + b"X: \x00\r\n",
        HEAD + LENGTH.replace(b"\r", b""),
        (HEAD + LENGTH).replace(b"1.1", b"1.0"),
        (HEAD + LENGTH).replace(b"/ask", b"/documents"),
        (HEAD + LENGTH).replace(b"/ask", b"/ask?a=b"),
        (HEAD + LENGTH).replace(b"POST", b"GET"),
    ],
)
def test_what_is_unlike_the_plainest_request_is_judged_by_the_server(head: bytes) -> None:
    async def scenario() -> None:
        stile = await _turnstile()
        assert stile.turned_away(head + b"\r\n" + BODY) is None
        assert stile.turned_away(head) is None
        plain = stile.turned_away(HEAD + b"Connection: keep-alive\r\n" + LENGTH + b"\r\n")
        assert plain is not None

    asyncio.run(scenario())


def test_it_costs_less_than_a_third_of_a_millisecond() -> None:
    async def scenario() -> float:
        stile, data, took_s = await _turnstile(), HEAD + LENGTH + b"\r\n" + BODY, []
        for _ in range(300):
            start_s = time.thread_time()
            assert stile.turned_away(data) is not None
            took_s.append(time.thread_time() - start_s)
        return sorted(took_s)[150]

    assert asyncio.run(scenario()) < 0.0003


@pytest.mark.parametrize("filler", [b" ", b"a: b\r\n", b"Content-Length: 7\r\n", b"\t7"])
def test_no_head_takes_long_to_look_at(filler: bytes) -> None:
    async def scenario() -> float:
        stile = await _turnstile()
        data = HEAD + b"X: " + filler * (200_000 // len(filler)) + b"\x00"
        start_s = time.thread_time()
        assert stile.turned_away(data) is None
        return time.thread_time() - start_s

    assert asyncio.run(scenario()) < 0.05


def test_nobody_is_turned_away_while_there_is_room() -> None:
    stile = Turnstile(Gate(1, 1), Measures(), Journal(StringIO()), most_bytes=1000)
    assert stile.turned_away(HEAD + LENGTH + b"\r\n" + BODY) is None
