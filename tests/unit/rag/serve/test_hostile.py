"""Requests that mean harm, or are broken: a clear problem, in time, and the server goes on."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from served import Serving, StubService, serving, until


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with serving(header_s=0.5, body_s=0.5, idle_s=0.5) as found:
        yield found
        assert found.post("/search", {"question": "still there?"}).status == 200
        assert '"bug"' not in found.log.getvalue()


def sent(server: Serving, *pieces: bytes, within_s: float = 10.0) -> bytes:
    """What comes back for raw bytes, until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=within_s) as line:
        for piece in pieces:
            line.sendall(piece)
        found = b""
        try:
            while piece := line.recv(65_536):
                found += piece
        except ConnectionResetError:
            pass
        return found


DEEP = 5_000
BODIES = {
    "not JSON": (b"{", 422, "body"),
    "nothing": (b"", 422, "body"),
    "a list": (b"[]", 422, "body"),
    "a number": (b"7", 422, "body"),
    "null": (b"null", 422, "body"),
    "not UTF-8": (b'{"question": "\xff\xfe"}', 400, "body"),
    "UTF-16": ('{"question": "q"}'.encode("utf-16"), None, None),
    "a lone surrogate": (b'{"question": "\\ud800"}', 422, "question"),
    "a lone surrogate as a field": (b'{"question": "q", "\\udfff": 1}', 422, None),
    "deep lists": (b"[" * 30_000, 400, "body"),
    "deep objects": (b'{"a":' * 10_000, 400, "body"),
    "a deep filter": (
        b'{"question":"q","filter":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", None, None,
    ),
    "a filter 20 deep": (
        b'{"question":"q","filter":' + b'{"a":' * 20 + b"1" + b"}" * 20 + b"}", 422, "filter",
    ),
    "no question": (b"{}", 422, "question"),
    "a blank question": (b'{"question": " \\n\\t"}', 422, "question"),
    "a number as a question": (b'{"question": 7}', 422, "question"),
    "a long question": (json.dumps({"question": "x" * 5_000}).encode(), 422, "question"),
    "k of a billion": (b'{"question": "q", "k": 1000000000}', 422, "k"),
    "k of 10^400": (b'{"question": "q", "k": 1' + b"0" * 400 + b"}", 422, "k"),
    "k of 10^5000": (b'{"question": "q", "k": 1' + b"0" * 5000 + b"}", None, None),
    "k of nothing": (b'{"question": "q", "k": 0}', 422, "k"),
    "k below nothing": (b'{"question": "q", "k": -1}', 422, "k"),
    "k in words": (b'{"question": "q", "k": "5"}', 422, "k"),
    "k of a half": (b'{"question": "q", "k": 1.5}', 422, "k"),
    "k that is true": (b'{"question": "q", "k": true}', 422, "k"),
    "deadline NaN": (b'{"question": "q", "deadline": NaN}', 422, "deadline"),
    "deadline Infinity": (b'{"question": "q", "deadline": Infinity}', 422, "deadline"),
    "deadline 1e999": (b'{"question": "q", "deadline": 1e999}', 422, "deadline"),
    "deadline of an hour": (b'{"question": "q", "deadline": 3600}', 422, "deadline"),
    "deadline of nothing": (b'{"question": "q", "deadline": 0}', 422, "deadline"),
    "deadline in the past": (b'{"question": "q", "deadline": "-1 s"}', 422, "deadline"),
    "deadline in bytes": (b'{"question": "q", "deadline": "5 GB"}', 422, "deadline"),
    "a mode of its own": (b'{"question": "q", "mode": "telepathy"}', 422, "mode"),
    "groups as text": (b'{"question": "q", "groups": "all"}', 422, "groups"),
    "a group of none": (b'{"question": "q", "groups": [null]}', 422, "groups"),
    "65 groups": (json.dumps({"question": "q", "groups": ["g"] * 65}).encode(), 422, "groups"),
    "a filter as text": (b'{"question": "q", "filter": "1=1"}', 422, "filter"),
    "an unknown field": (b'{"question": "q", "__proto__": {}}', 422, "__proto__"),
    "a question twice": (b'{"question": "q", "question": 7}', 422, "question"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["/search", "/ask"])
def test_a_bad_body_is_a_clear_problem(server: Serving, path: str, name: str) -> None:
    body, status, where = BODIES[name]
    told = server.post(path, body)
    if status is None:
        # Whether Python's own parser takes it is not ours to say; that it is no bug is.
        assert told.status in (200, 400, 422), told
        return
    problem = told.problem(status)
    if where is not None:
        assert str(problem["where"]).startswith(where), problem
    assert len(told.body) < 1_000, "a problem does not repeat what it was sent"


def test_a_megabyte_of_question_is_refused_and_its_sender_hears_of_it(server: Serving) -> None:
    for size in (100_000, 1_000_000, 4_000_000):
        body = json.dumps({"question": "x" * size}).encode()
        problem = server.post("/ask", body).problem(413)
        assert problem["where"] == "body"
        assert "65,536" in problem["error"]


def test_a_body_without_a_length_is_bounded_too(server: Serving) -> None:
    head = b"POST /ask HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = sent(server, head, *[b"2710\r\n" + b"x" * 10_000 + b"\r\n"] * 20, b"0\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 413 ")


def test_a_length_that_is_a_lie_ends_in_time(server: Serving) -> None:
    start_s = time.perf_counter()
    head = b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    found = sent(server, head + b'{"question"')
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"took longer" in found
    assert time.perf_counter() - start_s < 5.0


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"POST"],
        [b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"X-A: b\r\n"],
        [b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea"],
    ],
    ids=["silence", "half a line", "half the headers", "half a second request"],
)
def test_a_slow_loris_is_let_go(server: Serving, pieces: list[bytes]) -> None:
    start_s = time.perf_counter()
    sent(server, *pieces)
    assert 0.3 < time.perf_counter() - start_s < 5.0
    until(lambda: not server.server.server_state.connections)


def test_drops_of_a_header_do_not_keep_a_connection(server: Serving) -> None:
    start_s = time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")

        def dropped() -> bool:
            try:
                line.sendall(b"X-Drop: 1\r\n")
            except OSError:
                return True
            time.sleep(0.05)
            return False

        until(dropped)
    assert time.perf_counter() - start_s < 3.0


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Bad: a\x00b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: 1\r\n" * 20_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    ],
    ids=["bytes", "null", "two hosts", "negative", "two lengths", "long path",
         "many headers", "TLS"],
)  # fmt: skip
def test_what_is_no_request_is_refused(server: Serving, raw: bytes) -> None:
    found = sent(server, raw)
    assert found == b"" or found.split()[1] in (b"400", b"403", b"404"), found[:200]
    assert b"Traceback" not in found


def test_no_header_can_be_brought_in(server: Serving) -> None:
    evil = "q\r\nX-Evil: 1\r\n\r\n<script>alert(1)</script>"
    told = server.post("/ask", {"question": evil, "stream": True})
    assert "x-evil" not in told.headers
    assert [name for name, _ in told.events()][-1] == "end"
    for path in ("/%0d%0aX-Evil:%201", "/static/%0d%0aX-Evil:1", "/static/..%2f..%2fapp.py"):
        told = server.get(path)
        told.problem(404)
        assert "x-evil" not in told.headers


def test_an_event_cannot_be_forged_by_a_document() -> None:
    forged = 'x\n\nevent: end\ndata: {"answer": "forged"}\n\n\u2028\x85'
    changes = {"answer": forged, "citations": ()}
    with serving(StubService(changes=changes)) as server:
        events = server.post("/ask", {"question": "q", "stream": True}).events()
    assert [name for name, _ in events] == ["hits", "text", "end"]
    assert events[1][1]["text"] == events[2][1]["answer"] == forged


def test_methods_and_paths_that_are_not_there(server: Serving) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        told = server.call(method, "/ask")
        told.problem(405)
        assert told.headers["allow"] == "POST"
    for path in ("/ask/", "//ask", "/ASK", "/../etc/passwd", "/static/", "/static/page.py"):
        server.call("POST" if path[1] != "s" else "GET", path, {"question": "q"}).problem(404)


def test_a_slow_reader_holds_no_place() -> None:
    """What is answered is answered; only the connection waits, and not for ever."""
    big = {"answer": "x" * 20_000_000, "citations": ()}
    with (
        serving(StubService(changes=big), at_once=1, send_s=0.3) as server,
        socket.socket() as line,
    ):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", server.port))
        body = b'{"question": "q"}'
        line.sendall(
            b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        until(lambda: '"route": "/ask"' in server.log.getvalue())
        assert server.desk.gate.inside == 0
        until(lambda: not server.server.server_state.connections)


def test_more_connections_than_there_may_be_are_turned_away() -> None:
    with serving(connections=8) as server:
        lines = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(12)]
        until(lambda: len(server.server.server_state.connections) >= 8)
        told = server.get("/health")
        assert "too many connections" in told.problem(429)["error"]
        assert (told.headers["connection"], told.headers["retry-after"]) == ("close", "1")
        for line in lines:
            line.close()
        until(lambda: not server.server.server_state.connections)
        assert server.get("/health").status == 200


def test_a_hundred_askers_at_once_are_all_told_something() -> None:
    go = threading.Event()
    with serving(StubService(waits=lambda: go.wait(20)), at_once=4, waiting=8) as server:
        statuses: list[int] = []
        threads = [
            threading.Thread(
                target=lambda: statuses.append(server.post("/ask", {"question": "q"}).status)
            )
            for _ in range(100)
        ]
        for thread in threads:
            thread.start()
        until(lambda: len(statuses) == 88)
        go.set()
        for thread in threads:
            thread.join(20)
    assert sorted(statuses) == [200] * 12 + [429] * 88
