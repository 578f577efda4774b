"""`docs/scale.md` says what its simulation says of the sample that is kept beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from benchmarks.scale_model import Sample, Shape, simulate

pytest.importorskip("msgpack")

from benchmarks.scale import DOCS
from benchmarks.scale_page import figure, page

STEADY_S, MEMBER_S = 2e-3, 1e-4
STEADY = Sample(
    date="",
    machine="",
    rows=1,
    dims=1,
    k=1,
    alone=(STEADY_S, STEADY_S),
    search_p50_s=STEADY_S,
    fan_out=((4, 4 * MEMBER_S), (8, 8 * MEMBER_S)),
    merge=((1, 0.0), (1000, 0.0)),
)


def test_the_page_and_the_figure_are_those_of_the_kept_sample() -> None:
    sample = Sample.read(DOCS / "scale.json")
    assert (DOCS / "scale.md").read_text(encoding="utf-8") == page(sample)
    assert (DOCS / "scale.svg").read_text(encoding="utf-8") == figure(sample)


def test_shards_that_take_the_same_take_what_their_messages_add() -> None:
    """N requests are written; the last answer comes a shard's time later, and is read."""
    for count in (1, 100, 1000):
        out = simulate(STEADY, Shape(num_shards=count), 1.0)
        by_hand = (count + 1) * MEMBER_S / 2 + STEADY_S - MEMBER_S
        assert out.p50_s == pytest.approx(by_hand, rel=1e-6)
        assert out.p99_s == pytest.approx(by_hand, rel=1e-6)
        assert out.coverage == 1.0


def test_the_slowest_of_many_is_the_tail_and_hedging_cuts_it() -> None:
    """One in a hundred takes 50 ms: of 100 shards, 63% of the queries meet one."""
    slow = replace(STEADY, alone=(*[STEADY_S] * 991, *[50e-3] * 10), fan_out=((4, 0.0), (8, 0.0)))
    one, many = (simulate(slow, Shape(num_shards=count), 1.0) for count in (1, 100))
    assert one.p50_s < 3e-3 < 40e-3 < many.p50_s
    hedged = simulate(slow, Shape(num_shards=100, hedged=True), 1.0)
    assert hedged.p50_s < 5e-3
    assert hedged.extra == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize("levels", [1, 2])
def test_a_stopped_shard_is_missing_at_the_deadline_unless_it_has_another_replica(
    levels: int,
) -> None:
    shape = Shape(num_shards=100, levels=levels, stopped=1)
    out = simulate(STEADY, shape, 0.1)
    assert out.coverage == pytest.approx(0.99)
    assert 0.099 < out.p50_s <= 0.1
    hedged = simulate(STEADY, replace(shape, hedged=True), 0.1)
    assert hedged.coverage == 1.0
    assert hedged.p99_s < 0.05


def test_a_deadline_leaves_out_what_has_not_been_read() -> None:
    shape = Shape(num_shards=100)
    # Half of the requests are written, answered and read by then.
    half_s = 50 * MEMBER_S / 2 + STEADY_S - MEMBER_S / 2
    out = simulate(STEADY, shape, half_s + 1e-9)
    assert out.coverage == pytest.approx(0.5)
    assert out.p99_s <= half_s + 1e-8
