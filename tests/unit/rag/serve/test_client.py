"""The client: typed replies, other routers, full ones asked again, and no engine needed."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from served import StubService, result, serving, until

from sextant.errors import EngineError, InputError
from sextant.fleet import Missing
from sextant.search.filters import parse_filter
from sextant.systems.rag.client import BusyError, Client
from sextant.systems.rag.serve.tokens import Tokens

DEAD = "http://127.0.0.1:9"
TOKEN = "a-token-of-enough-chars"
Script = Callable[[http.server.BaseHTTPRequestHandler, dict[str, Any]], None]


@contextmanager
def scripted(script: Script) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that does what the script says; gives its address and the bodies it saw."""
    seen: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body)
            script(self, body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answering(status: int, body: Any, **headers: str) -> Script:
    def script(handler: http.server.BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return script


FULL = answering(429, {"error": "full", "retry_after_s": 0.4}, Retry_After="1")
GOOD = answering(200, result("q").as_json())


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def test_a_reply_is_typed_and_whole() -> None:
    missing = (Missing(member="shard/1", why="deadline"),)
    service = StubService(changes={"coverage": 0.5, "missing": missing})
    with serving(service) as server, Client(server.url) as client:
        reply = client.ask("tides?", k=3, mode="lexical", filter={"a": 1}, deadline_s=2.0)
        found = client.search("tides?")
    expected = result("tides?", **service.changes)
    assert reply.answer == expected.answer
    assert [(one.doc, one.start, one.end, one.text) for one in reply.citations] == [
        (one.doc, one.start, one.end, one.text) for one in expected.citations
    ]
    assert (reply.coverage, reply.whole, reply.missing[0].why) == (0.5, False, "deadline")
    assert (found.answer, len(found.hits)) == (None, 2)
    assert reply.timing["total_s"] > 0
    asked = service.asked[0]
    assert (asked["k"], asked["mode"], asked["filter"]) == (3, "lexical", parse_filter({"a": 1}))
    assert 1.0 < asked["deadline_s"] <= 2.0


def test_an_answer_is_streamed() -> None:
    with serving() as server, Client(server.url) as client:
        events = list(client.stream("tides?"))
        again = client.ask("tides?")
    assert [event.name for event in events] == ["hits", "text", "text", "end"]
    assert events[0].reply is not None
    assert events[0].reply.answer is None
    assert events[-1].reply is not None
    assert "".join(event.text for event in events) == events[-1].reply.answer == again.answer


def test_connections_are_kept_and_a_stale_one_is_no_failure() -> None:
    with serving(idle_s=0.2) as server, Client(server.url) as client:
        for _ in range(3):
            client.ask("q")
            list(client.stream("q"))
        assert len(server.server.server_state.connections) == 1
        until(lambda: not server.server.server_state.connections)
        assert client.ask("q").answer


def test_the_other_router_is_asked_and_then_kept_to() -> None:
    service = StubService()
    with serving(service) as server, Client([DEAD, server.url]) as client:
        for number in range(3):
            assert client.ask(f"q{number}").answer
            assert [event.name for event in client.stream("q")][-1] == "end"
        assert client._order() == [1, 0]


def hang_up(handler: http.server.BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
    handler.connection.shutdown(2)
    handler.close_connection = True


def half(handler: http.server.BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"query": ')
    handler.wfile.flush()
    handler.connection.shutdown(2)


@pytest.mark.parametrize("script", [hang_up, half, answering(503, {"error": "draining"})])
def test_a_router_that_dies_in_the_middle_costs_no_question(script: Script) -> None:
    with scripted(script) as (dying, seen), scripted(GOOD) as (good, _):
        for _ in range(3):
            with Client([dying, good]) as client:
                assert client.ask("q").answer == result().answer
    assert len(seen) == 3


def test_a_full_server_is_asked_again_when_it_said() -> None:
    clock = Clock()
    answers = iter([FULL, FULL, GOOD])
    with scripted(lambda handler, body: next(answers)(handler, body)) as (address, seen):
        client = Client(address, clock=clock, sleep=clock.sleep)
        assert client.ask("q", deadline_s=5.0).answer
        client.close()
    assert clock.slept == [0.4, 0.4]
    # What is left of the deadline goes along, so that the server never works longer than that.
    assert [round(body["deadline"], 3) for body in seen] == [5.0, 4.6, 4.2]


def test_retry_after_in_whole_seconds_is_heeded_too() -> None:
    clock = Clock()
    answers = iter([answering(429, {"error": "full"}, Retry_After="2"), GOOD])
    with (
        scripted(lambda handler, body: next(answers)(handler, body)) as (address, _),
        Client(address, clock=clock, sleep=clock.sleep) as client,
    ):
        client.ask("q")
    assert clock.slept == [2.0]


def test_the_other_router_is_asked_before_waiting() -> None:
    clock = Clock()
    with (
        scripted(FULL) as (full, _),
        scripted(GOOD) as (good, _),
        Client([full, good], clock=clock, sleep=clock.sleep) as client,
    ):
        assert client.ask("q").answer
    assert clock.slept == []


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    clock = Clock()
    with (
        scripted(FULL) as (address, seen),
        Client(address, clock=clock, sleep=clock.sleep) as client,
        pytest.raises(BusyError, match="full"),
    ):
        client.ask("q", deadline_s=1.0)
    assert clock.slept == [0.4, 0.4]
    assert len(seen) == 3


def test_nobody_there_is_said_by_the_deadline() -> None:
    clock = Clock()
    with (
        Client([DEAD, DEAD], clock=clock, sleep=clock.sleep) as client,
        pytest.raises(EngineError, match="refused") as error,
    ):
        client.ask("q", deadline_s=1.0)
    assert not isinstance(error.value, BusyError)
    assert sum(clock.slept) < 1.0
    assert clock.slept == sorted(clock.slept), "each pause is longer than the last"


def test_a_server_that_hangs_is_left_at_the_deadline() -> None:
    go = threading.Event()
    with scripted(lambda *_: go.wait(20) and None) as (address, _):
        with Client(address) as client, pytest.raises(EngineError, match="timed out"):
            client.ask("q", deadline_s=0.2)
        go.set()


def test_a_silent_router_costs_a_share_of_the_time_and_only_once() -> None:
    """As one that is stopped: it takes connections and requests, and never answers."""
    go = threading.Event()
    with (
        scripted(lambda *_: go.wait(20) and None) as (silent, asked),
        scripted(GOOD) as (good, seen),
        Client([silent, good]) as client,
    ):
        start_s = time.perf_counter()
        assert client.ask("q", deadline_s=4.0).answer
        first_s = time.perf_counter() - start_s
        assert client.ask("q", deadline_s=4.0).answer
        again_s = time.perf_counter() - start_s - first_s
        go.set()
    assert 0.9 < first_s < 2.5
    assert again_s < 0.9
    assert (len(asked), len(seen)) == (1, 2)
    assert seen[0]["deadline"] < 3.1


def test_who_is_slow_is_still_heard() -> None:
    """The other one is asked beside it, and not in its place."""
    go = threading.Event()

    def slow(handler: http.server.BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        time.sleep(0.5)
        GOOD(handler, body)

    with (
        scripted(slow) as (late, _),
        scripted(lambda *_: go.wait(20) and None) as (silent, asked),
        Client([late, silent]) as client,
    ):
        assert client.ask("q", deadline_s=1.2).answer
        assert client._order() == [0, 1]
        go.set()
    assert len(asked) == 1


def test_what_is_wrong_is_not_asked_twice(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(TOKEN)
    tokens = Tokens.read(tmp_path / "tokens")
    service = StubService()
    with serving(service, tokens=tokens) as server:
        with Client([server.url, server.url]) as stranger, pytest.raises(InputError) as error:
            stranger.ask("q")
        assert error.value.where == "Authorization"
        with Client(server.url, token=TOKEN) as known:
            assert known.ask("q").answer
            for bad in ({"k": 0}, {"deadline_s": 1e9}, {"mode": "x"}, {"bogus": 1}):
                with pytest.raises(InputError) as error:
                    known.ask("q", **bad)
                assert error.value.where
    assert len(service.asked) == 1


def test_an_answer_that_breaks_off_is_no_answer() -> None:
    def broken(handler: http.server.BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        data = json.dumps(result().as_json())
        handler.wfile.write(f"event: hits\ndata: {data}\n\n".encode())

    with scripted(broken) as (address, _), Client(address) as client:
        events = client.stream("q")
        assert next(events).name == "hits"
        with pytest.raises(EngineError, match="broke off"):
            next(events)


@pytest.mark.parametrize("body", [{}, [], {"query": 1}, "text"])
def test_something_else_is_not_taken_for_a_reply(body: Any) -> None:
    with (
        scripted(answering(200, body)) as (address, _),
        Client(address) as client,
        pytest.raises(EngineError, match="sextant rag serve"),
    ):
        client.ask("q", deadline_s=1.0)


@pytest.mark.parametrize("address", ["", "127.0.0.1:8765", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="not an address"):
        Client(address)


def test_it_needs_no_engine(tmp_path: Path) -> None:
    """Neither torch nor Faiss, nor anything of the extra `rag`."""
    for engine in ("torch", "faiss", "ray", "zenoh", "msgpack", "fastapi", "numpy", "tokenizers"):
        (tmp_path / f"{engine}.py").write_text(f"raise ImportError('{engine}')")
    with serving() as server:
        code = (
            "from sextant.systems.rag.client import Client\n"
            f"print(Client({server.url!r}).ask('tides?').answer)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        )
    assert done.stderr == ""
    assert done.stdout.strip() == result().answer
