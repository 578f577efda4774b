"""Asking a gang of real processes."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator

import pytest

from sextant.errors import InputError
from sextant.fleet import Deadline, Fleet, Gang, MemberSpec, MemberState, messages


@pytest.fixture(scope="module")
def echo(fleet: Fleet) -> Iterator[Gang]:
    specs = [MemberSpec(name=f"echo/{i}", factory="fleet_members:Echo") for i in range(3)]
    gang = fleet.gang("echo", specs)
    gang.ready(30)
    yield gang
    gang.close()


@pytest.fixture(scope="module")
def pair(fleet: Fleet) -> Iterator[Gang]:
    factory = "fleet_members:Obedient"
    gang = fleet.gang(
        "pair",
        [
            MemberSpec(name="pair/a", factory=factory),
            MemberSpec(name="pair/b", factory=factory, env={"OMP_NUM_THREADS": "2"}),
        ],
    )
    gang.ready(30)
    yield gang
    gang.close()


def order(do: str, **more: float) -> bytes:
    return json.dumps({"do": do, **more}).encode()


def test_everybody_answers_with_what_each_was_asked(echo: Gang) -> None:
    bodies = {name: name.encode() for name in echo.names}
    gather = echo.ask(bodies, Deadline.after(5))
    assert gather.full
    assert {name: answer.body for name, answer in gather.answers.items()} == bodies
    assert tuple(gather.answers) == echo.names


def test_a_body_of_megabytes_and_an_empty_one_come_back_whole(echo: Gang) -> None:
    bodies = {"echo/0": bytes(range(256)) * 8192, "echo/1": b""}
    gather = echo.ask(bodies, Deadline.after(5))
    assert {name: answer.body for name, answer in gather.answers.items()} == bodies


def test_the_times_of_an_answer_sum_to_its_total(echo: Gang) -> None:
    gather = echo.ask(b"x", Deadline.after(5))
    for answer in gather.answers.values():
        parts_s = answer.wire_s + answer.queue_s + answer.handle_s
        assert parts_s == pytest.approx(answer.total_s, abs=1e-6)
        assert answer.total_s <= gather.seconds


def test_threads_that_ask_at_once_each_get_their_own(echo: Gang) -> None:
    wrong: list[str] = []

    def ask(name: str) -> None:
        for turn in range(20):
            body = f"{name} {turn}".encode()
            gather = echo.ask(body, Deadline.after(10))
            if not gather.full or any(a.body != body for a in gather.answers.values()):
                wrong.append(f"{name} {turn}: {gather.missing}")

    threads = [threading.Thread(target=ask, args=(str(i),)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert wrong == []


def test_a_stranger_is_refused(echo: Gang) -> None:
    with pytest.raises(InputError, match="echo/9"):
        echo.ask({"echo/9": b""}, Deadline.after(1))


def test_ledgers_come_over_the_wire(echo: Gang) -> None:
    echo.ask(b"twelve bytes", Deadline.after(5))
    ledgers = echo.ledgers(5)
    assert set(ledgers) == set(echo.names)
    assert all(ledger["data"]["bytes"] >= 12 for ledger in ledgers.values())
    assert echo.ledger.snapshot()["coordination"]["waiting_s"] > 0


def test_members_hold_one_thread_unless_their_spec_says_otherwise(pair: Gang) -> None:
    gather = pair.ask(order("tell"), Deadline.after(5))
    env = {name: json.loads(a.body)["env"] for name, a in gather.answers.items()}
    assert env["pair/a"]["OMP_NUM_THREADS"] == "1"
    assert env["pair/b"]["OMP_NUM_THREADS"] == "2"
    assert env["pair/a"]["OMP_WAIT_POLICY"] == "PASSIVE"


def test_members_live_in_processes_of_their_own(pair: Gang) -> None:
    gather = pair.ask(order("tell"), Deadline.after(5))
    pids = {name: json.loads(a.body)["pid"] for name, a in gather.answers.items()}
    assert len(set(pids.values())) == 2
    assert pids == {name: pair.pid(name) for name in pair.names}


def test_the_deadline_ends_the_ask_and_expired_work_is_dropped(pair: Gang) -> None:
    deadline = Deadline.after(0.15)
    bodies = {"pair/a": order("sleep", s=0.5), "pair/b": order("tell")}
    gather = pair.ask(bodies, deadline)
    assert -0.02 < deadline.left_s() + 0.02 < 0.04
    assert set(gather.answers) == {"pair/b"}
    assert [str(missing) for missing in gather.missing] == ["pair/a (deadline)"]
    # The member still sleeps: this request expires in its queue, and must not be handled.
    dropped = pair.ask({"pair/a": order("dropped")}, Deadline.after(0.05))
    assert not dropped.answers
    told = pair.ask({"pair/a": order("tell")}, Deadline.after(5)).answers["pair/a"]
    assert "sleep" in json.loads(told.body)["seen"]
    assert "dropped" not in json.loads(told.body)["seen"]


def test_a_request_that_fails_says_why_and_the_member_goes_on(pair: Gang) -> None:
    gather = pair.ask({"pair/a": order("fail"), "pair/b": order("crash")}, Deadline.after(5))
    assert {m.member: m.why for m in gather.missing} == {
        "pair/a": "failed: no such thing",
        "pair/b": "failed: ZeroDivisionError: division by zero",
    }
    assert pair.ask(order("tell"), Deadline.after(5)).full


def test_a_message_of_an_old_epoch_is_refused(pair: Gang) -> None:
    ground = pair.roster.ground
    replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    listener = ground.session.declare_subscriber(
        ground.keys.answer("pair"), lambda sample: replies.put(bytes(sample.attachment))
    )
    header = messages.RequestHeader(0, 2**40, time.time() + 5)
    key = ground.keys.ask("pair/a", pair.epoch)
    ground.session.put(key, b"", attachment=messages.pack_request(*header))
    reply = messages.unpack_reply(replies.get(timeout=5))
    listener.undeclare()
    assert (reply.request, reply.outcome) == (2**40, messages.Outcome.OLD_EPOCH)


def test_a_beat_of_an_old_epoch_is_refused(pair: Gang) -> None:
    assert pair.roster.hear(messages.Beat("pair/a", 0, 1, "elsewhere", "warming", 0))
    assert pair.states()["pair/a"] is MemberState.UP
    assert pair.pid("pair/a") != 1


def test_a_full_queue_says_so(pair: Gang) -> None:
    refused: list[str] = []

    def ask(body: bytes) -> None:
        gather = pair.ask({"pair/b": body}, Deadline.after(10))
        refused.extend(missing.why for missing in gather.missing)

    # On a busy machine the sleeper may wake before all the others have come.
    for seconds in (1.0, 3.0, 9.0):
        bodies = [order("sleep", s=seconds), *[order("tell")] * 300]
        threads = [threading.Thread(target=ask, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        if refused:
            break
    assert refused
    assert set(refused) <= {"queue full: 256 waiting"}
