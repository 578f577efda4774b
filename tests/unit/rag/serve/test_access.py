"""Who may ask what: tokens and their groups, names of this machine, pages of others, drills."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from served import Serving, StubService, serving

from sextant.errors import InputError
from sextant.fleet import Fault, FaultKind, MemberState
from sextant.systems.rag.serve.tokens import Tokens

STAFF, PLAIN, CHIEF = "staff-token-0123456", "plain-token-0123456", "chief-token-0123456"
LINES = f"{STAFF} staff hr\n{PLAIN}\n{CHIEF} *\n"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    (tmp_path / "tokens").write_text(LINES)
    return Tokens.read(tmp_path / "tokens")


@pytest.fixture
def service() -> StubService:
    return StubService()


@pytest.fixture
def guarded(service: StubService, tokens: Tokens) -> Iterator[Serving]:
    with serving(service, tokens=tokens, loopback=False) as server:
        yield server


def test_without_a_token_nothing_is_told(guarded: Serving, service: StubService) -> None:
    for path in ("/search", "/ask", "/drill/stop"):
        for headers in ({}, bearer("wrong-token-0123456"), {"Authorization": CHIEF}):
            told = guarded.post(path, {"question": "q"}, headers=headers)
            assert told.problem(401)["where"] == "Authorization"
            assert told.headers["www-authenticate"] == "Bearer"
    for path in ("/metrics", "/shards", "/nowhere"):
        guarded.get(path).problem(401)
    assert service.asked == []
    for path in ("/", "/docs", "/openapi.json", "/health", "/ready", "/static/page.js"):
        assert guarded.get(path).status == 200


def test_a_stranger_s_body_is_not_read(guarded: Serving, service: StubService) -> None:
    """So that nobody without a token can fill the server's memory."""
    told = guarded.call(
        "POST", "/ask", None, headers={"Content-Length": "50000", "Expect": "100-continue"}
    )
    # It is answered though not a byte of the 50,000 ever comes.
    assert told.problem(401)["where"] == "Authorization"
    assert service.asked == []


def test_groups_come_from_the_token_alone(guarded: Serving, service: StubService) -> None:
    for token in (STAFF, PLAIN, CHIEF):
        assert guarded.post("/ask", {"question": "q"}, headers=bearer(token)).status == 200
    assert [one.get("groups") for one in service.asked] == [("staff", "hr"), (), None]
    for token in (STAFF, PLAIN, CHIEF):
        for groups in (["staff"], ["chiefs"], []):
            for path in ("/search", "/ask"):
                body = {"question": "q", "groups": groups}
                problem = guarded.post(path, body, headers=bearer(token)).problem(403)
                assert problem["where"] == "groups"
    assert len(service.asked) == 3


def test_no_header_or_query_speaks_for_a_group(guarded: Serving, service: StubService) -> None:
    tricks = {"X-Groups": "chiefs", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-User": "root"}
    told = guarded.post("/ask?groups=chiefs", {"question": "q"}, headers=bearer(PLAIN) | tricks)
    assert told.status == 200
    assert [one["groups"] for one in service.asked] == [()]
    for name in ("Groups", "groups ", "group", "GROUPS"):
        body = {"question": "q", name: ["chiefs"]}
        guarded.post("/ask", body, headers=bearer(PLAIN)).problem(422)


def test_two_tokens_at_once_are_none(guarded: Serving) -> None:
    import http.client

    line = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=20)
    line.putrequest("POST", "/search")
    for name, value in (
        ("Authorization", f"Bearer {PLAIN}"),
        ("Authorization", f"Bearer {CHIEF}"),
        ("Content-Type", "application/json"),
        ("Content-Length", "16"),
    ):
        line.putheader(name, value)
    line.endheaders(b'{"question":"q"}')
    assert line.getresponse().status == 401
    line.close()


def test_without_tokens_the_body_may_name_groups(service: StubService) -> None:
    with serving(service) as server:
        server.post("/ask", {"question": "q", "groups": ["staff"]})
        server.post("/ask", {"question": "q", "groups": []})
        server.post("/ask", {"question": "q"})
    assert [one.get("groups") for one in service.asked] == [("staff",), (), None]


def test_metrics_are_open_on_loopback_and_closed_beyond(tokens: Tokens) -> None:
    with serving(tokens=tokens, loopback=True) as server:
        assert server.get("/metrics").status == 200
        server.get("/shards").problem(401)
    with serving(tokens=tokens, loopback=False) as server:
        server.get("/metrics").problem(401)
        assert server.get("/metrics", headers=bearer(PLAIN)).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil", "["]
)
def test_a_name_that_is_not_this_machine_s_is_refused(host: str) -> None:
    """A page elsewhere may have its own name point here (DNS rebinding)."""
    with serving() as server:
        assert server.get("/shards", headers={"Host": host}).problem(403)["where"] == "Host"
        for mine in ("localhost", f"localhost:{server.port}", "[::1]:80", "127.0.0.1"):
            assert server.get("/shards", headers={"Host": mine}).status == 200


def test_a_page_of_another_site_cannot_ask(service: StubService) -> None:
    with serving(service) as server:
        for origin in ("https://evil.example", "null", f"http://127.0.0.1:{server.port + 1}"):
            told = server.post("/ask", {"question": "q"}, headers={"Origin": origin})
            assert told.problem(403)["where"] == "Origin"
        # What a form of another site can send without asking first is not taken as JSON.
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            server.post("/ask", b'{"question":"q"}', headers={"Content-Type": kind}).problem(422)
        assert service.asked == []
        assert server.post("/ask", {"question": "q"}, headers={"Origin": server.url}).status == 200
        preflight = server.call("OPTIONS", "/ask", headers={"Origin": "https://evil.example"})
        assert preflight.status in (403, 405)
        assert not [name for name in preflight.headers if name.startswith("access-control")]


class Drilled:
    """A gang whose members can be stopped."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    replicas: ClassVar = {"shard/0": ("shard/0",), "shard/1": ("shard/1",)}

    def states(self) -> dict[str, MemberState]:
        return {"shard/0": MemberState.UP, "shard/1": MemberState.STOPPED}

    def missing(self) -> tuple[Any, ...]:
        return (SimpleNamespace(member="shard/1", why="silent for 0.3 s"),)

    def pid(self, replica: str) -> int:
        return 7 + int(replica[-1])

    def inject(self, fault: Fault) -> Any:
        if fault.member not in self.states():
            raise InputError(f"{fault.member} is not in the gang")
        self.faults.append(fault)
        return SimpleNamespace(landed=True, why="process 7 is stopped")


def test_a_shard_is_stopped_for_some_seconds(service: StubService) -> None:
    service.gang = Drilled()
    with serving(service) as server:
        shards = server.get("/shards").json
        told = server.post("/drill/stop", {"member": "shard/0", "seconds": 2.5})
        server.post("/drill/stop", {"member": "shard/9"}).problem(422)
        for seconds in (0, -1, 31, float("inf"), "5"):
            body = {"member": "shard/0", "seconds": seconds}
            assert server.post("/drill/stop", body).problem(422)["where"] == "seconds"
    assert shards["may_stop"] is True
    assert shards["shards"][1]["members"] == [
        {"member": "shard/1", "state": "stopped", "why": "silent for 0.3 s", "pid": 8}
    ]
    assert told.json == {
        "member": "shard/0", "landed": True, "why": "process 7 is stopped", "lasts_s": 2.5,
    }  # fmt: skip
    assert service.gang.faults == [
        Fault(kind=FaultKind.STOP, member="shard/0", at_s=0.0, lasts_s=2.5)
    ]
    assert '"event": "drill"' in server.log.getvalue()


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_nobody_drills_through_a_proxy(service: StubService, header: str) -> None:
    service.gang = Drilled()
    with serving(service) as server:
        proxied = {header: "203.0.113.9"}
        server.post("/drill/stop", {"member": "shard/0"}, headers=proxied).problem(403)
        told = server.get("/shards", headers=proxied).json
        assert (told["may_stop"], told["pid"]) == (False, None)
    assert service.gang.faults == []


def test_drills_are_for_loopback_and_for_tokens_that_see_everything(
    service: StubService, tokens: Tokens
) -> None:
    service.gang = Drilled()
    body = {"member": "shard/0"}
    with serving(service, tokens=tokens, loopback=False) as server:
        server.post("/drill/stop", body, headers=bearer(CHIEF)).problem(403)
    with serving(service, tokens=tokens, loopback=True) as server:
        server.post("/drill/stop", body, headers=bearer(STAFF)).problem(403)
        assert service.gang.faults == []
        assert server.post("/drill/stop", body, headers=bearer(CHIEF)).status == 200


def test_only_whoever_runs_the_server_is_told_of_its_processes(
    service: StubService, tokens: Tokens
) -> None:
    service.gang = Drilled()
    service.trouble = "/srv/index/shard-000: torn"
    with serving(service, tokens=tokens) as server:
        told = {
            token: server.get("/shards", headers=bearer(token)).json for token in (STAFF, CHIEF)
        }
    chief, staff = told[CHIEF], told[STAFF]
    assert chief["pid"] == os.getpid()
    assert chief["trouble"] == service.trouble
    assert [one["members"][0]["pid"] for one in chief["shards"]] == [7, 8]
    assert staff["pid"] is None
    assert "srv" not in staff["trouble"]
    assert [one["members"][0]["state"] for one in staff["shards"]] == ["up", "stopped"]
    assert all(
        (one["members"][0]["pid"], one["members"][0]["why"]) == (None, "")
        for one in staff["shards"]
    )


def test_threads_cannot_be_stopped() -> None:
    with serving() as server:
        assert server.get("/shards").json["may_stop"] is False
        assert "threads" in server.post("/drill/stop", {"member": "shard/0"}).problem(409)["error"]
