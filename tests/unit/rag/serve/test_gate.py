"""Back-pressure: who is let in, who waits, who is refused and told when to come again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sextant.fleet import Deadline
from sextant.systems.rag.serve.gate import Gate
from sextant.systems.rag.serve.refusal import Refusal

LONG = Deadline.after(36_000)


async def entering(gate: Gate, order: list[int], number: int, deadline: Deadline = LONG) -> None:
    await gate.enter(deadline)
    order.append(number)


async def turns() -> None:
    """Lets every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


def run(scenario: Any) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


def test_places_are_given_in_the_order_of_coming_and_never_too_many() -> None:
    async def scenario() -> None:
        gate, order = Gate(2, 10), []
        tasks = [asyncio.create_task(entering(gate, order, number)) for number in range(6)]
        await turns()
        assert (order, gate.inside, gate.waiting) == ([0, 1], 2, 4)
        for left in range(4):
            gate.leave(0.1)
            await turns()
            assert order == list(range(3 + left))
            assert gate.inside == 2
        await asyncio.gather(*tasks)
        gate.leave(0.1)
        gate.leave(0.1)
        assert (gate.inside, gate.waiting) == (0, 0)

    run(scenario())


def test_a_full_queue_refuses_and_says_when_it_will_have_been_worked_off() -> None:
    async def scenario() -> None:
        gate, order = Gate(2, 4), []
        for _ in range(60):  # the pace: half a second a question, two at once
            await gate.enter(LONG)
            gate.leave(0.5)
        tasks = [asyncio.create_task(entering(gate, order, number)) for number in range(6)]
        await turns()
        with pytest.raises(Refusal) as refused:
            await gate.enter(LONG)
        assert refused.value.status == 429
        assert refused.value.retry_after_s == pytest.approx(5 * 0.5 / 2, rel=0.01)
        assert refused.value.headers() == {"Retry-After": "2"}
        assert gate.waiting == 4
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.waiting == 0

    run(scenario())


def test_nobody_waits_for_a_turn_that_would_come_too_late() -> None:
    async def scenario() -> None:
        gate = Gate(1, 100)
        for _ in range(60):
            await gate.enter(LONG)
            gate.leave(2.0)
        await gate.enter(LONG)
        with pytest.raises(Refusal) as refused:
            await gate.enter(Deadline.after(1.0))
        assert (refused.value.status, refused.value.why) == (429, "deadline")
        assert gate.waiting == 0

    run(scenario())


def test_a_deadline_that_passes_in_the_queue_gives_the_place_in_it_back() -> None:
    async def scenario() -> None:
        gate = Gate(1, 1)
        await gate.enter(LONG)
        with pytest.raises(Refusal) as refused:
            await gate.enter(Deadline.after(0.02))
        assert (refused.value.status, gate.waiting, gate.inside) == (504, 0, 1)

    run(scenario())


@pytest.mark.parametrize("granted", [False, True])
def test_an_asker_who_goes_away_leaves_no_place_taken(granted: bool) -> None:
    """Also where its turn came in the very moment in which it went."""

    async def scenario() -> None:
        gate, order = Gate(1, 10), []
        await gate.enter(LONG)
        gone = asyncio.create_task(entering(gate, order, 1))
        stays = asyncio.create_task(entering(gate, order, 2))
        await turns()
        if granted:
            gate.leave(0.1)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        if not granted:
            gate.leave(0.1)
        await stays
        assert (order, gate.inside, gate.waiting) == ([2], 1, 0)
        gate.leave(0.1)
        assert gate.inside == 0

    run(scenario())
