"""Barriers: bounded, and naming who is missing, for how long and why."""

from __future__ import annotations

import time

import pytest

from sextant.errors import EngineError, InputError
from sextant.fleet import BarrierError, Deadline, Fleet, MemberSpec, MemberState


def test_a_member_that_refuses_is_named_and_the_rest_serve(fleet: Fleet) -> None:
    gang = fleet.gang(
        "torn",
        [
            MemberSpec(name="torn/0", factory="fleet_members:Echo"),
            MemberSpec(name="torn/1", factory="fleet_members:Torn"),
            MemberSpec(name="torn/2", factory="nowhere:Nothing"),
        ],
    )
    seen: list[tuple[int, int]] = []
    with pytest.raises(BarrierError) as caught:
        gang.ready(30, lambda up, all_: seen.append((up, all_)))
    assert [missing.member for missing in caught.value.missing] == ["torn/1", "torn/2"]
    assert "refused: checksum of vectors.npy is wrong" in str(caught.value)
    assert seen[0] == (0, 3)
    assert seen[-1] == (1, 3)

    begun_s = time.monotonic()
    gather = gang.ask(b"x", Deadline.after(10))
    assert time.monotonic() - begun_s < 5, "nobody waits for one who is known to refuse"
    assert set(gather.answers) == {"torn/0"}
    assert gather.missing == caught.value.missing
    assert gang.states()["torn/1"] is MemberState.REFUSED
    gang.close()


def test_a_barrier_is_bounded_and_says_for_how_long(fleet: Fleet) -> None:
    spec = MemberSpec(name="late/0", factory="fleet_members:Echo", arguments={"warm_s": 60.0})
    gang = fleet.gang("late", [spec])
    begun_s = time.monotonic()
    with pytest.raises(BarrierError, match=r"late/0 \((starting|warming) for \d"):
        gang.ready(0.3)
    assert time.monotonic() - begun_s < 1.0
    gang.close(patience_s=0.2)


def test_a_gang_takes_its_own_members_only(fleet: Fleet) -> None:
    spec = MemberSpec(name="shard/0", factory="fleet_members:Echo")
    with pytest.raises(InputError, match="shard/0"):
        fleet.gang("drone", [spec])
    with pytest.raises(InputError, match="names of their own"):
        fleet.gang("shard", [spec, spec])


def test_a_closed_gang_ends_at_once_and_frees_its_role(fleet: Fleet) -> None:
    spec = MemberSpec(name="brief/0", factory="fleet_members:Echo")
    for _ in range(2):
        gang = fleet.gang("brief", [spec])
        gang.ready(30)
        begun_s = time.monotonic()
        gang.close()
        assert time.monotonic() - begun_s < 1.5
        assert str(gang.ask(b"x", Deadline.after(5)).missing[0]) == "brief/0 (down: left)"


def test_no_cluster_at_an_address_is_said_soon() -> None:
    begun_s = time.monotonic()
    with pytest.raises(EngineError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        Fleet.start(address="127.0.0.1:1")
    assert time.monotonic() - begun_s < 5.0
