"""Questions over HTTP: whole and streamed, late, refused, abandoned, and what is counted."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from served import StubService, Told, result, serving, until

from sextant.errors import EngineError, InputError
from sextant.fleet import Missing
from sextant.search.filters import parse_filter
from sextant.systems.rag.serve.crew import LATE

MISSING = (Missing(member="shard/1", why="silent for 0.8 s"),)
PARTIAL = {"coverage": 0.5, "expected_recall": 0.5, "missing": MISSING}


def metric(text: bytes, line: str) -> float:
    """The value of a metric's line."""
    found = [one for one in text.decode().splitlines() if one.startswith(line + " ")]
    assert len(found) == 1, (line, found)
    return float(found[0].rpartition(" ")[2])


def test_an_answer_is_what_the_command_line_prints_with_the_wait_added() -> None:
    service = StubService(changes=PARTIAL)
    with serving(service) as server:
        told = server.post("/ask", {"question": "tides?", "deadline": "2 s"})
    assert told.status == 200
    expected = result("tides?", **PARTIAL, deadline_s=2.0).as_json()
    value = told.json
    timing, expected_timing = value.pop("timing"), expected.pop("timing")
    assert value == expected
    assert set(timing) == {*expected_timing, "queue_s"}
    assert sum(s for stage, s in timing.items() if stage != "total_s") == pytest.approx(
        timing["total_s"]
    )


def test_search_and_ask_pass_on_what_was_asked() -> None:
    service = StubService()
    with serving(service, deadline_s=3.0) as server:
        server.post("/search", {"question": "a"})
        server.post(
            "/ask",
            {
                "question": "b",
                "k": 7,
                "mode": "lexical",
                "filter": {"y": 2020},
                "groups": ["hr"],
            },
        )
    first, second = service.asked
    assert first.pop("deadline_s") == pytest.approx(3.0, abs=0.5)
    assert first == {
        "question": "a", "k": 10, "mode": "hybrid", "filter": None, "groups": None,
    }  # fmt: skip
    second.pop("deadline_s")
    assert second == {
        "question": "b", "k": 7, "mode": "lexical", "filter": parse_filter({"y": 2020}),
        "groups": ("hr",),
    }  # fmt: skip


def test_a_stream_has_the_hits_then_the_answer_then_the_end() -> None:
    with serving() as server:
        told = server.post("/ask", {"question": "tides?", "stream": True})
        whole = server.post("/ask", {"question": "tides?"}).json
    assert told.status == 200
    assert told.headers["content-type"] == "text/event-stream; charset=utf-8"
    names = [name for name, _ in told.events()]
    assert names == ["hits", "text", "text", "end"]
    hits, *texts, end = [data for _, data in told.events()]
    assert hits["hits"] == whole["hits"]
    assert (hits["answer"], hits["citations"]) == (None, [])
    assert "".join(text["text"] for text in texts) == whole["answer"] == end["answer"]
    assert [c for text in texts for c in text["citations"]] == whole["citations"]
    assert {**end, "timing": 0} == {**whole, "timing": 0}


def test_hits_are_sent_before_there_is_an_answer() -> None:
    go = threading.Event()
    with (
        serving(StubService(waits=lambda: go.wait(20))) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as line,
    ):
        line.sendall(request("/ask", b'{"question": "tides?", "stream": true}'))
        seen = b""
        while b"event: hits" not in seen:
            seen += line.recv(65_536)
        assert b"event: end" not in seen
        go.set()
        while b"event: end" not in seen:
            seen += line.recv(65_536)


def test_a_model_s_answer_comes_as_it_grows() -> None:
    class Talker(StubService):
        def ask(self, question: str, *, watch, **_how):  # type: ignore[no-untyped-def]
            for said in (None, "The moon", "The moon does it [1]."):
                watch(result(question, answer=said, citations=()))
            return result(question, answer="The moon does it [1].")

    with serving(Talker()) as server:
        events = server.post("/ask", {"question": "q", "stream": True}).events()
    assert [data["text"] for name, data in events if name == "text"] == [
        "The moon",
        " does it [1].",
    ]


def request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_what_is_there_by_the_deadline_is_the_answer() -> None:
    go = threading.Event()
    with serving(StubService(waits=lambda: go.wait(20))) as server:
        start_s = time.perf_counter()
        told = server.post("/ask", {"question": "q", "deadline": 0.2}).json
        seconds = time.perf_counter() - start_s
        streamed = server.post("/ask", {"question": "q", "deadline": 0.2, "stream": True}).events()
        late = server.post("/search", {"question": "q", "deadline": 0.2}).problem(504)
        go.set()
    assert (told["answer"], told["note"], len(told["hits"])) == (None, LATE, 2)
    assert 0.2 <= seconds < 1.0
    assert [name for name, _ in streamed] == ["hits", "end"]
    assert streamed[-1][1]["note"] == LATE
    assert "deadline" in late["error"]


@pytest.mark.parametrize(
    ("why", "status"), [("deadline", 504), ("silent for 2.0 s", 503), ("down: killed", 503)]
)
def test_no_shard_at_all_is_no_answer(why: str, status: int) -> None:
    missing = tuple(Missing(member=f"shard/{n}", why=why) for n in (0, 1))
    nothing = {"hits": (), "coverage": 0.0, "missing": missing, "shards": ()}
    with serving(StubService(changes=nothing)) as server:
        for body in ({"question": "q"}, {"question": "q", "stream": True}):
            problem = server.post("/ask", body).problem(status)
            assert why in problem["error"]


def test_nobody_is_told_where_the_index_lies() -> None:
    missing = (Missing(member="shard/1", why="/srv/index/shard-001: torn: /srv/index/rows.bin"),)
    with serving(StubService(changes={"missing": missing})) as server:
        told = server.post("/search", {"question": "q"}).json["missing"]
    assert told == [{"shard": "shard/1", "why": "shard-001: torn: rows.bin"}]


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (InputError("no such field", where="filter", hint="year"), 422,
         {"error": "no such field", "where": "filter", "hint": "year"}),
        (EngineError("the wire is cut"), 503,
         {"error": "the wire is cut", "where": None, "hint": None}),
    ],
)  # fmt: skip
def test_errors_of_the_service_have_a_status(
    error: Exception, status: int, told: dict[str, object]
) -> None:
    with serving(StubService(error=error)) as server:
        assert server.post("/search", {"question": "q"}).problem(status) == told
        # Hits were sent already: only an event can say it.
        name, data = server.post("/ask", {"question": "q", "stream": True}).events()[-1]
    assert (name, data) == ("error", {**told, "status": status})


def test_a_bug_says_where_to_look_and_nothing_else() -> None:
    secret = "what the asker wrote"
    with serving(StubService(error=ZeroDivisionError(secret))) as server:
        problem = server.post("/search", {"question": secret}).problem(500)
        assert server.get("/health").status == 200
    assert problem["where"].startswith("request ")
    assert secret not in json.dumps(problem)
    bug = next(json.loads(line) for line in server.log.getvalue().splitlines() if '"bug"' in line)
    assert bug["kind"] == "ZeroDivisionError"
    assert any("served.py" in place for place in bug["places"])
    assert problem["where"] == f"request {bug['request']}"
    assert secret not in server.log.getvalue()


def test_too_many_questions_are_told_when_to_come_again() -> None:
    go = threading.Event()
    with (
        serving(StubService(waits=lambda: go.wait(20)), at_once=2, waiting=3) as server,
        ThreadPoolExecutor(5) as pool,
    ):

        def ask() -> Told:
            return server.post("/ask", {"question": "q", "deadline": 20})

        inside = [pool.submit(ask) for _ in range(5)]
        until(lambda: server.desk.gate.waiting == 3)
        text = server.get("/metrics").body
        refused = [ask() for _ in range(4)]
        go.set()
        answered: list[Told] = [one.result(20) for one in inside]
    assert [one.status for one in answered] == [200] * 5
    for one in refused:
        problem = one.problem(429)
        assert int(one.headers["retry-after"]) >= 1
        assert problem["retry_after_s"] > 0
    assert metric(text, "sextant_in_flight") == 2
    assert metric(text, "sextant_queued") == 3


def test_a_client_that_goes_away_is_worked_for_no_longer() -> None:
    heard: list[str] = []
    go = threading.Event()

    class Patient(StubService):
        def ask(self, question: str, *, watch, **_how):  # type: ignore[no-untyped-def]
            watch(result(question, answer=None))
            go.wait(20)
            try:
                watch(result(question))
            except BaseException as error:
                heard.append(type(error).__name__)
                raise
            return result(question)

    with serving(Patient(), at_once=1) as server:

        def abandoned() -> float:
            return metric(server.get("/metrics").body, "sextant_abandoned_total")

        for stream in (False, True):
            go.clear()
            with socket.create_connection(("127.0.0.1", server.port)) as line:
                body = json.dumps({"question": "q", "stream": stream, "deadline": 20}).encode()
                line.sendall(request("/ask", body))
                until(lambda: server.desk.gate.inside == 1)
            until(lambda: abandoned() == 1 + stream)  # noqa: B023 - called at once
            go.set()
            until(lambda: server.desk.gate.inside == 0)
    assert heard == ["Unheard", "Unheard"]


def test_a_client_that_leaves_the_queue_never_reaches_the_service() -> None:
    go = threading.Event()
    service = StubService(waits=lambda: go.wait(20))
    with serving(service, at_once=1) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.post, "/search", {"question": "first", "deadline": 20})
        until(lambda: server.desk.gate.inside == 1)
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            line.sendall(request("/search", b'{"question": "second", "deadline": 20}'))
            until(lambda: server.desk.gate.waiting == 1)
        until(lambda: server.desk.gate.waiting == 0)
        go.set()
        assert first.result(20).status == 200
    assert [one["question"] for one in service.asked] == ["first"]


def test_metrics_count_requests_stages_coverage_and_refusals() -> None:
    with serving(StubService(changes=PARTIAL)) as server:
        for _ in range(3):
            server.post("/ask", {"question": "q"})
        server.post("/ask", {"question": ""})
        server.get("/nowhere/at/all?secret=1")
        told = server.get("/metrics")
    assert told.headers["content-type"].startswith("text/plain; version=")
    for line, value in {
        'sextant_requests_total{route="/ask",status="200"}': 3,
        'sextant_requests_total{route="/ask",status="422"}': 1,
        'sextant_requests_total{route="other",status="404"}': 1,
        'sextant_request_seconds_count{route="/ask"}': 4,
        'sextant_stage_seconds_count{stage="embed"}': 3,
        'sextant_stage_seconds_count{stage="queue"}': 3,
        'sextant_stage_seconds_bucket{le="0.01",stage="embed"}': 3,
        "sextant_coverage_count": 3,
        'sextant_coverage_bucket{le="0.5"}': 3,
        'sextant_coverage_bucket{le="0.25"}': 0,
        'sextant_missing_total{shard="shard/1"}': 3,
        'sextant_shards{state="up"}': 2,
        "sextant_in_flight": 0,
        "sextant_queued": 0,
    }.items():
        assert metric(told.body, line) == value, line
    assert b"secret" not in told.body


def test_the_log_has_lines_of_json_and_questions_only_if_asked_to() -> None:
    secret = "who earns what"
    for questions in (False, True):
        with serving(questions=questions) as server:
            server.post("/ask", {"question": secret})
            server.get(f"/?q={secret.replace(' ', '+')}")
            server.get(f"/{secret.replace(' ', '-')}")
        lines = [json.loads(line) for line in server.log.getvalue().splitlines()]
        other = [line["event"] for line in lines if line["event"] not in ("question", "request")]
        assert other == ["serving", "stopping"]
        assert all(line["at"].endswith("+00:00") for line in lines)
        assert [line["route"] for line in lines if line["event"] == "request"] == [
            "/ask", "/", "other",
        ]  # fmt: skip
        text = server.log.getvalue()
        assert (secret in text) is questions
        assert secret.replace(" ", "+") not in text
        assert secret.replace(" ", "-") not in text


def test_ready_tells_whether_questions_are_taken() -> None:
    service = StubService()
    with serving(service) as server:
        assert server.get("/health").json == {"status": "live"}
        assert server.get("/ready").json == {"status": "ready", "members": {"up": 2}}
        service.gang.refused = {"shard/0": "torn", "shard/1": "torn"}
        assert "no shard" in server.get("/ready").problem(503)["error"]
        service.gang.refused = {"shard/0": "torn"}
        assert server.get("/ready").json["members"] == {"up": 1, "refused": 1}
        shard = server.get("/shards").json["shards"][0]
        assert [(one["state"], one["why"]) for one in shard["members"]] == [("refused", "torn")]
        server.desk.draining = True
        assert "going away" in server.get("/ready").problem(503)["error"]
        assert server.get("/health").status == 200
