"""Replicas of real processes: killed, stopped, slowed and cut off, under load."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sextant.fleet import Deadline, Drill, Fault, Fleet, Gang, Gather, MemberSpec, MemberState

Until = Callable[[Callable[[], bool], float], bool]


@pytest.fixture(scope="module")
def pairs(fleet: Fleet) -> Iterator[Gang]:
    factory = "fleet_members:Obedient"
    specs = [MemberSpec(name=f"pairs/{n}", factory=factory) for n in range(3)]
    gang = fleet.gang("pairs", specs, replicas=2)
    gang.ready(60)
    yield gang
    gang.close()


TELL = json.dumps({"do": "tell"}).encode()


def load(gang: Gang, seconds: float = 2.0) -> Gather:
    gather = gang.ask(TELL, Deadline.after(seconds))
    time.sleep(0.002)
    return gather


def whole(gang: Gang) -> bool:
    return all(state is MemberState.UP for state in gang.states().values())


def test_one_replica_answers_in_the_name_of_its_member(pairs: Gang) -> None:
    assert pairs.names == ("pairs/0", "pairs/1", "pairs/2")
    assert pairs.replicas["pairs/1"] == ("pairs/1.0", "pairs/1.1")
    asked = set()
    for _ in range(60):
        gather = load(pairs)
        assert tuple(gather.answers) == pairs.names
        for name, answer in gather.answers.items():
            assert answer.member == name
            assert answer.replica in pairs.replicas[name]
            asked.add(answer.replica)
    assert asked == set(pairs.states()), "the replicas share the work"
    each = pairs.ask_replicas(TELL, Deadline.after(5))
    assert set(each.answers) == set(pairs.states())
    assert len({json.loads(answer.body)["pid"] for answer in each.answers.values()}) == 6


def test_a_killed_replica_costs_no_answer_and_comes_back(pairs: Gang, until: Until) -> None:
    assert until(lambda: whole(pairs), 15)
    pid, partial = pairs.pid("pairs/1.0"), 0
    with Drill(pairs, [Fault.parse("kill:pairs/1.0@200ms")]) as drill:

        def ask() -> None:
            nonlocal partial
            partial += not load(pairs).full

        assert drill.settle(ask, timeout_s=20)
    (shot,) = drill.shots
    assert drill.held, shot
    assert partial == 0
    assert shot.lost == 0
    assert shot.recovery.warm_s is not None, "well again is more than answered in full"
    assert (shot.recovery.full_s or 0) >= shot.recovery.warm_s
    assert pairs.pid("pairs/1.0") != pid


def test_a_request_under_way_at_a_replica_that_dies_is_asked_of_the_other_at_once(
    pairs: Gang, until: Until
) -> None:
    assert until(lambda: whole(pairs), 15)
    before, seen = pairs.tally.replaced, []
    body = json.dumps({"do": "sleep", "s": 0.6}).encode()

    def ask() -> None:
        seen.append(pairs.ask({"pairs/0": body}, Deadline.after(8)))

    thread = threading.Thread(target=ask)
    thread.start()
    assert until(lambda: busy(pairs) is not None, 5)
    first = busy(pairs)
    assert first is not None
    time.sleep(0.05)
    assert pairs.inject(Fault.parse(f"kill:{first}@0s")).landed
    thread.join(timeout=10)
    (gather,) = seen
    assert gather.full
    assert gather.answers["pairs/0"].replica != first
    assert pairs.tally.replaced == before + 1 or pairs.tally.hedged, (
        "by news of it, or by the hedge"
    )


def busy(gang: Gang) -> str | None:
    """The replica of the first member that works on a request now."""
    standings = gang._scatter._replicas["pairs/0"].standings
    return next((one.seat.name for one in standings if one.in_flight), None)


def test_a_stopped_replica_is_hedged_then_left_out_and_used_again(
    pairs: Gang, until: Until
) -> None:
    assert until(lambda: whole(pairs), 15)
    for _ in range(40):
        load(pairs)
    before, slowest_s = pairs.tally.hedged, 0.0
    with Drill(pairs, [Fault.parse("stop:pairs/2.1@100ms+1200ms")]) as drill:

        def ask() -> None:
            nonlocal slowest_s
            gather = load(pairs)
            assert gather.full, gather.missing
            slowest_s = max(slowest_s, gather.seconds)

        assert drill.settle(ask, timeout_s=20)
    (shot,) = drill.shots
    assert drill.held, shot
    assert pairs.tally.hedged > before
    assert slowest_s < 0.5, "nobody waits until it is known to be stopped"
    assert (shot.recovery.full_s or 0) > 1.1, "well again is more than answered in full"


def test_a_slow_replica_goes_on_probation_and_off_it(pairs: Gang, until: Until) -> None:
    assert until(lambda: whole(pairs), 15)
    for _ in range(60):
        load(pairs)
    assert pairs.inject(Fault.parse("slow:pairs/0.1=80ms@0s+1500ms")).landed
    assert until(lambda: bool(load(pairs)) and "pairs/0.1" in pairs.on_probation(), 5)
    probed = pairs.tally.probed
    asked = [load(pairs).answers["pairs/0"].replica for _ in range(40)]
    assert asked.count("pairs/0.0") == 40, "on probation it answers nobody"
    assert until(lambda: bool(load(pairs)) and not pairs.on_probation(), 10)
    assert pairs.tally.probed >= probed + 3
    assert until(lambda: load(pairs).answers["pairs/0"].replica == "pairs/0.1", 5)


def test_a_member_is_missing_only_when_all_its_replicas_are(pairs: Gang, until: Until) -> None:
    assert until(lambda: whole(pairs), 15)
    landing = pairs.inject(Fault.parse("stop:pairs/1@0s+1500ms"))
    assert landing.landed, landing
    assert "pairs/1.0: process" in landing.why
    assert "pairs/1.1: process" in landing.why
    assert until(lambda: pairs.states()["pairs/1.1"] is MemberState.STOPPED, 5)
    assert until(lambda: pairs.states()["pairs/1.0"] is MemberState.STOPPED, 5)
    gather = pairs.ask(TELL, Deadline.after(5))
    assert gather.seconds < 1.0, "nobody waits for those who are known to be stopped"
    assert set(gather.answers) == {"pairs/0", "pairs/2"}
    (missing,) = gather.missing
    assert missing.member == "pairs/1"
    assert "pairs/1.0 silent for" in missing.why
    assert "pairs/1.1 silent for" in missing.why
    assert until(lambda: load(pairs).full, 10)


def test_one_cut_off_is_missing_in_silence_and_comes_back_as_it_was(
    fleet: Fleet, until: Until
) -> None:
    factory = "fleet_members:Echo"
    gang = fleet.gang("lone", [MemberSpec(name=f"lone/{n}", factory=factory) for n in range(3)])
    gang.ready(30)
    pid, why = gang.pid("lone/1"), set()
    with Drill(gang, [Fault.parse("cut:lone/1@200ms+1500ms")]) as drill:

        def ask() -> None:
            gather = gang.ask(b"query", Deadline.after(0.4))
            assert {"lone/0", "lone/2"} <= set(gather.answers)
            why.update(missing.why for missing in gather.missing)
            time.sleep(0.002)

        assert drill.settle(ask, timeout_s=15)
    (shot,) = drill.shots
    assert drill.held, shot
    assert "it was not heard for" in shot.why
    assert shot.lost > 0
    assert (shot.recovery.detect_s or 9) < 1.0
    assert 1.4 < (shot.recovery.full_s or 0) < 4.0
    assert gang.pid("lone/1") == pid, "its process never noticed"
    assert any("its link is lost" in text or text.startswith("silent") for text in why), why
    for _ in range(2):
        assert gang.inject(Fault.parse("cut:lone/1@0s+700ms")).landed
        assert until(lambda: gang.ask(b"x", Deadline.after(1)).full, 10)
    gang.close()
