"""Threads that stand in for a fleet keep its promises: the deadline, a reason for the missing."""

from __future__ import annotations

import threading
import time

import pytest

from sextant.errors import InputError
from sextant.fleet import Deadline, Member, MemberSpec
from sextant.search import local
from sextant.search.local import LocalGang
from sextant.search.wire import Request


class Echo(Member):
    """Answers its name; or is slow, breaks or refuses."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.released = threading.Event()

    def warm(self) -> None:
        if self.name == "refuses":
            raise InputError("will not")

    def handle(self, body: bytes, deadline: Deadline) -> bytes:  # noqa: ARG002
        if self.name == "slow":
            self.released.wait(0.5)
        if self.name == "breaks":
            raise RuntimeError("broken")
        if self.name == "declines":
            raise InputError("not this one")
        return self.name.encode() + body


@pytest.fixture
def gang(monkeypatch: pytest.MonkeyPatch) -> LocalGang:
    monkeypatch.setattr(local, "build", lambda _factory, arguments: Echo(**arguments))
    names = ("quick", "slow", "breaks", "declines", "refuses")
    specs = [
        MemberSpec(name=f"test/{name}", factory="a:B", arguments={"name": name}) for name in names
    ]
    return LocalGang(specs)


def test_what_is_late_or_broken_is_missing_with_its_reason(gang: LocalGang) -> None:
    start_s = time.perf_counter()
    gather = gang.ask(b"!", Deadline.after(0.1))
    assert time.perf_counter() - start_s < 0.4
    gang.close()
    assert {name: answer.body for name, answer in gather.answers.items()} == {
        "test/quick": b"quick!"
    }
    assert {missing.member: missing.why for missing in gather.missing} == {
        "test/slow": "deadline",
        "test/breaks": "RuntimeError: broken",
        "test/declines": "not this one",
        "test/refuses": "will not",
    }


def test_an_answer_says_where_its_time_went(gang: LocalGang) -> None:
    answer = gang.ask(b"!", Deadline.after(1)).answers["test/slow"]
    gang.close()
    parts_s = answer.wire_s + answer.queue_s + answer.handle_s
    assert parts_s == pytest.approx(answer.total_s)
    assert answer.handle_s >= 0.4


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", b"not msgpack", b"\x93\x01\x02\x03"])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InputError, match="not a search request"):
        Request.unpack(body)
