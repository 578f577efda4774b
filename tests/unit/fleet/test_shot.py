"""The notes on one fault, with times given."""

from __future__ import annotations

from sextant.fleet import Answer, Change, Fault, Gather, Landing, MemberState, Missing, Recovery
from sextant.fleet.shot import Track

UP, DOWN, WARMING = MemberState.UP, MemberState.DOWN, MemberState.WARMING


def full(handle_s: float = 0.001) -> Gather:
    answers = {
        name: Answer(
            member=name, body=b"", wire_s=0.0, queue_s=0.0, handle_s=handle_s, total_s=handle_s
        )
        for name in ("shard/0", "shard/1")
    }
    return Gather(answers=answers, missing=(), seconds=0.0)


def lacking(member: str) -> Gather:
    answers = {name: answer for name, answer in full().answers.items() if name != member}
    return Gather(answers=answers, missing=(Missing(member=member, why="x"),), seconds=0.0)


def change(at_s: float, before: MemberState, after: MemberState, epoch: int = 1) -> Change:
    return Change(at_s=at_s, member="shard/1", epoch=epoch, before=before, after=after, why="")


def landing(*, landed: bool = True, state: MemberState = UP) -> Landing:
    return Landing(at_s=12.0, landed=landed, why="process 7 is gone", state=state, epoch=1)


def fired(text: str = "kill:shard/1@2s", idle_s: float = 0.01) -> Track:
    track = Track(Fault.parse(text))
    track.fire(12.0, idle_s=idle_s, usual_s=0.001)
    return track


def test_the_four_times_of_a_kill() -> None:
    track = fired()
    track.see_change(change(12.02, UP, DOWN))
    track.land(landing(), 12.03)
    track.see_gather(12.0, 12.04, lacking("shard/1"))
    track.see_gather(11.9, 12.05, lacking("shard/1"))  # begun before: not lost to this fault
    track.see_change(change(12.1, DOWN, MemberState.STARTING, epoch=2))
    track.see_change(change(12.8, MemberState.STARTING, WARMING, epoch=2))
    track.see_change(change(13.5, WARMING, UP, epoch=2))
    assert not track.settled
    track.see_gather(13.6, 13.7, full())
    assert track.settled
    shot = track.shot(10.0)
    assert shot.recovered
    assert shot.fired_at_s == 2.0
    assert shot.lost == 1
    times = [getattr(shot.recovery, name) for name in Recovery.__dataclass_fields__]
    assert [round(time_s, 3) for time_s in times] == [0.02, 0.8, 1.5, 1.7]
    assert shot.to_json()["spec"] == "kill:shard/1@2s"


def test_an_answer_begun_before_the_hit_was_seen_is_no_recovery() -> None:
    track = fired()
    track.see_gather(12.001, 12.002, full())
    track.land(landing(), 12.03)
    track.see_gather(12.02, 12.04, full())
    assert not track.settled


def test_whoever_asked_may_notice_first() -> None:
    track = fired("stop:shard/1@2s")
    track.land(landing(), 12.01)
    track.see_gather(12.0, 12.05, lacking("shard/1"))
    track.see_change(change(12.4, UP, MemberState.STOPPED))
    assert round(track.shot(10.0).recovery.detect_s or 0, 3) == 0.05


def test_a_slow_answer_is_noticed() -> None:
    track = fired("slow:shard/1=50ms@2s")
    track.land(landing(), 12.01)
    track.see_gather(12.02, 12.1, full(handle_s=0.051))
    recovery = track.shot(10.0).recovery
    assert recovery.detect_s is not None
    assert recovery.restart_s is None


def test_what_missed_its_aim_did_not_land() -> None:
    for track, seen in (
        (fired(), landing(landed=False)),
        (fired(), landing(state=WARMING)),
        (fired(idle_s=2.0), landing()),
        (fired("kill:shard/1@warming"), landing(state=UP)),
    ):
        track.land(seen, 12.1)
        track.see_gather(12.2, 12.3, full())
        shot = track.shot(10.0)
        assert track.settled
        assert not shot.landed
        assert not shot.recovered


def test_what_was_never_fired_says_so() -> None:
    shot = Track(Fault.parse("kill:shard/1@2s")).shot(10.0)
    assert shot.fired_at_s is None
    assert not shot.landed
    assert shot.why == "its time never came"
