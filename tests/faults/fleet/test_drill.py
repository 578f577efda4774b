"""Real signals to real processes under load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from sextant.errors import InputError
from sextant.fleet import (
    Deadline,
    Drill,
    Fault,
    Fleet,
    Gang,
    Gather,
    MemberSpec,
    MemberState,
)

Until = Callable[[Callable[[], bool], float], bool]


@pytest.fixture(scope="module")
def gang(fleet: Fleet) -> Iterator[Gang]:
    specs = [MemberSpec(name=f"shard/{i}", factory="fleet_members:Echo") for i in range(8)]
    gang = fleet.gang("shard", specs)
    gang.ready(60)
    yield gang
    gang.close()


def load(gang: Gang, seconds: float = 0.1) -> Gather:
    gather = gang.ask(b"query", Deadline.after(seconds))
    time.sleep(0.002)
    return gather


def test_a_killed_member_is_noticed_and_comes_back_under_a_new_epoch(gang: Gang) -> None:
    epoch, pid = gang.epoch, gang.pid("shard/3")
    why: set[str] = set()
    with Drill(gang, [Fault.parse("kill:shard/3@200ms")]) as drill:
        drill.settle(lambda: why.update(m.why for m in load(gang).missing), timeout_s=15)
    (shot,) = drill.shots
    assert drill.held, shot
    assert "is gone" in shot.why
    recovery = shot.recovery
    assert recovery.detect_s is not None
    assert recovery.detect_s < 1.0
    assert recovery.detect_s <= (recovery.restart_s or 0) <= (recovery.warm_s or 0)
    assert (recovery.warm_s or 0) <= (recovery.full_s or 0)
    assert shot.lost > 0
    assert any(text.startswith(("down: ", "starting for ")) for text in why), why
    assert gang.epoch == epoch + 1
    assert gang.pid("shard/3") != pid


def test_a_stopped_member_delays_nobody_and_is_used_again(gang: Gang, until: Until) -> None:
    pid, late_s, why = gang.pid("shard/1"), [], set()
    assert until(lambda: load(gang).full, 10)
    with Drill(gang, [Fault.parse("stop:shard/1@200ms+1500ms")]) as drill:

        def ask() -> None:
            deadline = Deadline.after(0.05)
            gather = gang.ask(b"query", deadline)
            late_s.append(-deadline.left_s())
            why.update(missing.why for missing in gather.missing if missing.member == "shard/1")
            time.sleep(0.002)

        drill.settle(ask, timeout_s=15)
    (shot,) = drill.shots
    assert drill.held, shot
    assert "is stopped" in shot.why
    assert (shot.recovery.detect_s or 9) < 1.0
    assert 1.4 < (shot.recovery.full_s or 0) < 4.0
    assert gang.pid("shard/1") == pid, "it is the same process as before"
    late_s.sort()
    assert late_s[int(len(late_s) * 0.99)] < 0.02
    assert any(text.startswith("silent for ") for text in why), why


def test_an_ask_under_way_does_not_wait_for_one_found_stopped(gang: Gang, until: Until) -> None:
    assert until(lambda: load(gang).full, 10)
    gang.inject(Fault.parse("stop:shard/5@0s+2s"))
    gather = gang.ask(b"query", Deadline.after(8.0))
    assert [missing.member for missing in gather.missing] == ["shard/5"]
    assert gather.seconds < 1.5
    assert until(lambda: load(gang).full, 10)


def test_one_stopped_for_too_long_is_killed_and_started_again(gang: Gang, until: Until) -> None:
    assert until(lambda: load(gang).full, 10)
    pid = gang.pid("shard/7")
    with Drill(gang, [Fault.parse("stop:shard/7@100ms")]) as drill:
        assert drill.settle(lambda: load(gang), timeout_s=20)
    (shot,) = drill.shots
    assert drill.held, shot
    assert gang.pid("shard/7") != pid
    assert (shot.recovery.restart_s or 0) > 2.5


def test_a_slow_member_is_noticed_and_gets_well(gang: Gang, until: Until) -> None:
    assert until(lambda: load(gang).full, 10)
    with Drill(gang, [Fault.parse("slow:shard/2=60ms@step=5+500ms")]) as drill:
        for step in range(40):
            drill.step(step)
            load(gang, 1.0)
        drill.settle(lambda: load(gang, 1.0), timeout_s=5)
    (shot,) = drill.shots
    assert drill.held, shot
    assert (shot.recovery.detect_s or 9) < 1.0
    assert shot.lost == 0
    assert until(lambda: load(gang).answers["shard/2"].handle_s < 0.03, 5)


def test_a_fault_that_hits_nobody_at_work_does_not_count(gang: Gang, until: Until) -> None:
    assert until(lambda: load(gang).full, 10)
    with Drill(gang, [Fault.parse("slow:shard/0=1ms@1200ms+1ms")]) as drill:
        until(drill.settled, 5)  # no load
    (shot,) = drill.shots
    assert not shot.landed
    assert not drill.held
    assert "served nothing for" in shot.why


def test_a_fault_whose_time_never_came_does_not_count(gang: Gang) -> None:
    with Drill(gang, [Fault.parse("kill:shard/0@step=9")]) as drill:
        load(gang)
    (shot,) = drill.shots
    assert shot.fired_at_s is None
    assert not drill.held
    assert gang.states()["shard/0"] is MemberState.UP


def test_a_fault_for_a_stranger_is_refused(gang: Gang) -> None:
    with pytest.raises(InputError, match="drone/0"):
        Drill(gang, [Fault.parse("kill:drone/0@1s")])


def test_one_killed_while_warming_is_started_again(fleet: Fleet) -> None:
    arguments = {"warm_s": 0.5}
    spec = MemberSpec(name="cold/0", factory="fleet_members:Echo", arguments=arguments)
    gang = fleet.gang("cold", [spec])
    with Drill(gang, [Fault.parse("kill:cold/0@warming")]) as drill:
        assert drill.settle(lambda: load(gang), timeout_s=20)
    assert drill.held, drill.shots
    gang.close()
