"""The exchange between islands: bits, the outer optimizer, rounds, who comes and who goes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sextant.errors import EngineError, InputError
from sextant.systems.pretraining.islands.harbour import Harbour
from sextant.systems.pretraining.islands.mail import Line
from sextant.systems.pretraining.islands.outer import Outer
from sextant.systems.pretraining.islands.quantize import (
    Feedback,
    Vector,
    packed,
    packed_bytes,
    unpacked,
)
from sextant.systems.pretraining.islands.sailor import Landed, Sailor
from sextant.systems.pretraining.islands.terms import Terms

COUNT = 1001
SAILORS: list[Sailor] = []
TERMS = Terms(islands=2, inner_steps=5, bits=8, patience_s=20.0)


def vector(seed: int, count: int = COUNT) -> Vector:
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


@pytest.mark.parametrize(("bits", "most"), [(8, 0.005), (4, 0.08), (32, 0.0)])
@pytest.mark.parametrize("count", [1, 127, 128, COUNT])
def test_bits_are_few_and_rounding_is_bounded(bits: int, most: float, count: int) -> None:
    values = vector(1, count)
    data = packed(values, bits)
    assert len(data) == packed_bytes(count, bits)
    away = np.abs(unpacked(data, count, bits) - values)
    assert away.max() <= most * np.abs(values).max()
    assert not unpacked(packed(np.zeros(count, np.float32), bits), count, bits).any()


def test_bytes_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="bytes"):
        unpacked(b"1234", COUNT, 8)


def test_what_rounding_takes_is_sent_later() -> None:
    values, feedback = vector(2), Feedback(COUNT, 4)
    read = sum(feedback.pack(values)[1] for _ in range(50))
    once = unpacked(packed(values, 4), COUNT, 4)
    # Without feedback the error of one would come fifty times.
    assert np.abs(read / 50 - values).max() < 0.1 * np.abs(once - values).max()


def test_the_outer_step_is_nesterov_s() -> None:
    terms = replace(TERMS, bits=32)
    start, gradient = vector(3), vector(4)
    outer = Outer(start, terms)
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    theirs = torch.optim.SGD(
        [parameter], lr=terms.learning_rate, momentum=terms.momentum, nesterov=True
    )
    for scale in (1.0, -0.5, 0.25):
        outer.step([scale * gradient, 3 * scale * gradient])
        parameter.grad = torch.from_numpy(2 * scale * gradient)
        theirs.step()
    np.testing.assert_allclose(outer.shared, parameter.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Harbour]]:
    made: list[Harbour] = []

    def open_one(terms: Terms = TERMS, **more: object) -> Harbour:
        made.append(Harbour(vector(0), terms, tmp_path, identity="job", **more))  # type: ignore[arg-type]
        return made[-1]

    yield open_one
    while SAILORS:
        SAILORS.pop().close()
    for harbour in made:
        harbour.close()


def sailor(harbour: Harbour, island: int, **more: object) -> Sailor:
    place = f"{harbour.place[0]}:{harbour.place[1]}"
    terms = replace(TERMS, harbour=place, island=island)
    SAILORS.append(Sailor(terms, identity="job", stall_s=5.0, **more))  # type: ignore[arg-type]
    return SAILORS[-1]


def side_by_side(*calls: Callable[[], Landed]) -> list[Landed]:
    results: dict[int, Landed] = {}

    def run(number: int, call: Callable[[], Landed]) -> None:
        results[number] = call()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [results[n] for n in range(len(calls))]


def test_islands_leave_a_round_with_the_same_bits(opened: Callable[..., Harbour]) -> None:
    harbour = opened()
    one, two = sailor(harbour, 0), sailor(harbour, 1)
    starts = [s.join(vector(0)) for s in (one, two)]
    assert [s.round for s in starts] == [0, 0]
    assert starts[0].received_bytes < 200  # the same weights need not travel
    for number in range(3):
        shared = starts[0].weights
        landed = side_by_side(
            partial(one.exchange, shared + vector(10)), partial(two.exchange, shared + vector(20))
        )
        starts = landed
        assert all(each.took_part and each.round == number + 1 for each in landed)
        np.testing.assert_array_equal(landed[0].weights, landed[1].weights)
        # A byte a number and a little, each way.
        assert landed[0].sent_bytes < 1.1 * COUNT + 200
    np.testing.assert_array_equal(harbour.weights, starts[0].weights)


def test_one_may_come_while_the_first_round_is_on(opened: Callable[..., Harbour]) -> None:
    harbour = opened()
    one, two = sailor(harbour, 0), sailor(harbour, 1)
    one.join(vector(0))

    def late() -> Landed:
        until_s = time.monotonic() + 5.0
        while not harbour._delivered and time.monotonic() < until_s:
            time.sleep(0.01)
        assert two.join(vector(0)).round == 0
        return two.exchange(vector(0) + vector(20))

    landed = side_by_side(partial(one.exchange, vector(0) + vector(10)), late)
    assert [(each.round, each.took_part) for each in landed] == [(1, True), (1, True)]


def test_what_is_not_finite_goes_to_nobody(opened: Callable[..., Harbour]) -> None:
    one = sailor(opened(), 0)
    one.join(vector(0))
    with pytest.raises(EngineError, match="not finite"):
        one.exchange(vector(0) * np.float32(np.nan))


def test_a_dead_island_is_not_waited_for_and_comes_back(opened: Callable[..., Harbour]) -> None:
    harbour = opened()
    one, two = sailor(harbour, 0), sailor(harbour, 1)
    shared = [s.join(vector(0)).weights for s in (one, two)]
    met = side_by_side(lambda: one.exchange(shared[0] + 1.0), lambda: two.exchange(shared[1] - 0.5))
    two.close()
    begun_s = time.monotonic()
    alone = one.exchange(met[0].weights + 1.0)
    assert alone.took_part
    assert time.monotonic() - begun_s < 0.5 * TERMS.patience_s
    # It is back in the middle of a round: it begins with the next, on the others' weights.
    anew = sailor(harbour, 1)
    landed = side_by_side(
        lambda: anew.join(vector(0)),
        lambda: (time.sleep(0.3), one.exchange(alone.weights + 1.0))[1],
    )
    assert [each.round for each in landed] == [3, 3]
    np.testing.assert_array_equal(landed[0].weights, landed[1].weights)
    both = side_by_side(
        lambda: one.exchange(landed[1].weights + 1.0),
        lambda: anew.exchange(landed[0].weights - 1.0),
    )
    np.testing.assert_array_equal(both[0].weights, both[1].weights)


def test_a_stopped_island_costs_the_patience_once(opened: Callable[..., Harbour]) -> None:
    harbour = opened(replace(TERMS, patience_s=0.3))
    one, two = sailor(harbour, 0), sailor(harbour, 1)
    weights, _ = (s.join(vector(0)).weights for s in (one, two))
    first = one.exchange(weights + 1.0)
    assert first.seconds >= 0.3
    assert one.exchange(first.weights + 1.0).seconds < 0.3
    late = two.exchange(weights - 1.0)  # of the first round: it gets where things stand
    assert not late.took_part
    assert late.round == 2
    np.testing.assert_array_equal(late.weights, harbour.weights)


def test_a_harbour_that_was_killed_goes_on(opened: Callable[..., Harbour]) -> None:
    harbour = opened(replace(TERMS, islands=1))
    one = sailor(harbour, 0)
    landed = one.exchange(one.join(vector(0)).weights + vector(5))
    place = harbour.place
    harbour.close()
    second = opened(replace(TERMS, islands=1), listen=place)
    assert second.round == 1
    np.testing.assert_array_equal(second.weights, landed.weights)
    again = one.exchange(landed.weights + vector(6))
    assert again.took_part
    assert again.round == 2


def test_strangers_and_nonsense_are_refused(opened: Callable[..., Harbour]) -> None:
    harbour = opened(token="secret")
    with pytest.raises(InputError, match="token"):
        sailor(harbour, 0).join(vector(0))
    other = Sailor(sailor(harbour, 0)._terms, identity="other", token="secret", stall_s=1.0)
    with pytest.raises(InputError, match="another job"):
        other.join(vector(0))
    assert sailor(harbour, 0, token="secret").join(vector(0)).round == 0
    harbour.close()
    nobody = Sailor(sailor(harbour, 0)._terms, identity="job", stall_s=0.3)
    with pytest.raises(EngineError, match="cannot be reached"):
        nobody.join(vector(0))
    with pytest.raises(InputError, match="not an address"):
        replace(TERMS, harbour="nowhere").place()
    with pytest.raises(InputError):
        replace(TERMS, bits=5)


def test_who_does_not_greet_holds_nothing(
    opened: Callable[..., Harbour], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many bytes, few bytes, another's number, and more links than there can be islands."""
    monkeypatch.setattr("sextant.systems.pretraining.islands.harbour._GREETING_S", 2.0)
    harbour = opened()
    links = [socket.create_connection(harbour.place, timeout=20.0) for _ in range(40)]
    links[0].sendall(b"SXI1")  # the first bytes of a frame, and no more
    assert [link.recv(1) for link in links] == [b""] * 40
    for link in links:
        link.close()
    many = Line.to(harbour.place, most_bytes=1, timeout_s=20.0)
    with contextlib.suppress(OSError):
        many.send({"do": "hello"}, bytes(1 << 20))
    with pytest.raises(OSError, match=r"closed|reset|descriptor"):
        many.receive()
    many.close()
    stranger = replace(sailor(harbour, 0)._terms, islands=9, island=7)
    with pytest.raises(InputError, match="none of 2"):
        Sailor(stranger, identity="job", stall_s=1.0).join(vector(0))
    assert sailor(harbour, 0).join(vector(0)).round == 0
    # An island may be silent for longer than a stranger: it trains.
    time.sleep(2.2)
    assert harbour.guests == (0,)


def test_steps_beside_an_exchange_are_counted_once(opened: Callable[..., Harbour]) -> None:
    """One island whose mean is its own: its exchanges, begun early, landed late, change nothing."""
    torch = pytest.importorskip("torch")
    from sextant.systems.pretraining.islands.loop import IslandLoop, gathered

    terms = replace(TERMS, islands=1, bits=32, learning_rate=1.0, momentum=0.0, overlap_steps=2)
    part = torch.nn.Linear(COUNT - 1, 1)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(vector(0)), part.parameters())
    told: list[dict[str, object]] = []
    loop = IslandLoop(
        replace(terms, harbour="{}:{}".format(*opened(terms).place)),
        identity="job",
        parts=[part],  # type: ignore[list-item]
        meshes=None,
        stall_s=5.0,
        alive=lambda: None,
        note=lambda kind, **more: told.append({"kind": kind, **more}),
    )
    assert loop.join() == 0
    landed = []
    for done in range(1, 13):
        for parameter in part.parameters():
            parameter.data += 1.0
        assert loop.after(done, 12) == done
        landed.append(len(told) - 1)
    loop.close()
    # Sent after 5 and 10 steps and taken two steps later; the last is waited for.
    assert landed == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 3]
    assert [each["round"] for each in told] == [0, 1, 2, 3]
    np.testing.assert_allclose(gathered(part), vector(0) + 12.0, rtol=1e-5)  # type: ignore[arg-type]
