"""Another process of the same fleet: it finds the gangs, asks them, and sees them come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from sextant.errors import EngineError, InputError
from sextant.fleet import Card, Deadline, Fault, Fleet, Gang, MemberSpec, MemberState

Until = Callable[[Callable[[], bool], float], bool]


@pytest.fixture(scope="module")
def asked(fleet: Fleet) -> Iterator[Gang]:
    factory = "fleet_members:Echo"
    specs = [MemberSpec(name=f"asked/{n}", factory=factory) for n in range(2)]
    gang = fleet.gang("asked", specs, replicas=2)
    gang.ready(60)
    yield gang
    gang.close()


def test_who_attaches_finds_asks_and_sees_the_members(
    fleet: Fleet, asked: Gang, until: Until
) -> None:
    with Fleet.attach(Card.from_json(fleet.card.to_json())) as guest:
        assert not guest.founded
        assert not guest.keeping
        gang = guest.find("asked")
        gang.ready(10)
        assert gang.replicas == asked.replicas
        bodies = {name: name.encode() for name in gang.names}
        gather = gang.ask(bodies, Deadline.after(5))
        assert {name: answer.body for name, answer in gather.answers.items()} == bodies
        epoch, pid = gang.epoch, gang.pid("asked/1.0")
        assert gang.inject(Fault.parse("kill:asked/1.0@0s")).landed
        assert until(lambda: gang.states()["asked/1.0"] is not MemberState.UP, 5)
        assert gang.ask(b"x", Deadline.after(5)).full
        # Whoever keeps the fleet starts it again; the guest hears of the new one by its token.
        assert until(lambda: gang.states()["asked/1.0"] is MemberState.UP, 20)
        assert gang.pid("asked/1.0") not in (None, pid)
        assert gang.epoch > epoch
    assert asked.ask(b"x", Deadline.after(5)).full, "the members stay when a guest goes"


def test_who_attaches_hears_of_gangs_that_begin_and_end(fleet: Fleet, until: Until) -> None:
    with Fleet.attach(fleet.card) as guest:
        with pytest.raises(EngineError, match="no gang late"):
            guest.find("late", timeout_s=0.1)
        late = fleet.gang("late", [MemberSpec(name="late/0", factory="fleet_members:Echo")])
        found = guest.find("late")
        found.ready(20)
        assert found.ask(b"x", Deadline.after(5)).full
        late.close()
        assert until(lambda: found.closed, 5)
        with pytest.raises(InputError, match="only the process that started"):
            guest.gang("mine", [MemberSpec(name="mine/0", factory="fleet_members:Echo")])


@pytest.mark.usefixtures("fleet")
def test_nobody_answers_an_old_card() -> None:
    with Fleet.start() as other:
        card = other.card
    begun_s = time.monotonic()
    with pytest.raises(EngineError, match="no fleet answers"):
        Fleet.attach(card, timeout_s=0.5)
    assert time.monotonic() - begun_s < 5.0
    with pytest.raises(InputError, match="not the card"):
        Card.from_json("{}")


def test_a_member_that_was_given_up_for_another_is_told_to_leave(
    fleet: Fleet, until: Until
) -> None:
    # Silent for longer than the fleet waits, it is started anew; then the old one speaks again.
    gang = fleet.gang("twice", [MemberSpec(name="twice/0", factory="fleet_members:Echo")])
    gang.ready(30)
    epoch, pid = gang.epoch, gang.pid("twice/0")
    assert gang.inject(Fault.parse("cut:twice/0@0s+5s")).landed
    assert until(lambda: gang.epoch > epoch, 10)
    assert until(lambda: gang.ask(b"x", Deadline.after(1)).full, 10)
    assert gang.pid("twice/0") != pid
    gang.close()
