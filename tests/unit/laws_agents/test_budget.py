"""May a centre decide? The textbook's cases, and the command."""

from __future__ import annotations

import argparse
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.cli import budget as command
from sextant.errors import InputError
from sextant.plan.budget import CENTRE_FAILURES, LoopFacts, judge


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["budget", *words])
    assert args.run(args) == 0
    return capsys.readouterr().out


def _json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(_run(capsys, *words, "--json"))
    return found


def test_an_edge_server_at_8_ms_leaves_42_ms(capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "--period", "50 ms", "--round-trip", "8 ms")
    assert found["left_s"] == 0.042
    assert found["viable"] is True
    assert found["single_points_of_failure"] == list(CENTRE_FAILURES)
    assert "50 ms period - 8 ms round trip = 42 ms left" in str(found["because"])


@pytest.mark.parametrize(("period", "viable"), [("50 ms", False), ("2 s", True)])
def test_a_cloud_at_75_ms(capsys: pytest.CaptureFixture[str], period: str, viable: bool) -> None:
    found = _json(capsys, "--period", period, "--round-trip", "75 ms")
    assert found["viable"] is viable
    assert bool(found["single_points_of_failure"]) is viable


def test_perceiving_and_deciding_count_when_given(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--period", "50ms", "--round-trip", "8ms", "--perceive", "20ms", "--decide", "10ms")
    found = _json(capsys, *words)
    assert found["left_s"] == 0.012
    assert found["break_even_round_trip_s"] == 0.02


def test_an_outage_longer_than_the_hold_keeps_the_decision_on_board() -> None:
    loop = LoopFacts(period_s=0.05, round_trip_s=0.008, outage_s=1.0, hold_s=0.4)
    answer = judge(loop)
    assert answer.fits
    assert not answer.viable
    assert "must stay on board" in answer.because
    short = judge(LoopFacts(period_s=2.0, round_trip_s=0.075, outage_s=1.0))
    assert short.viable  # the hold defaults to one period


def test_the_page_says_what_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    out = _run(capsys, "--period", "50 ms", "--round-trip", "8 ms")
    assert "the server that decides, the link to it" in out
    assert "99.40%" in out
    refused = _run(capsys, "--period", "50 ms", "--round-trip", "75 ms")
    assert "no, it stays on board" in refused


@pytest.mark.parametrize("text", ["fast", "-1 s", "0 s", "nan", "5 parsecs", "1e400 s"])
def test_nonsense_is_an_input_error(text: str) -> None:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["budget", f"--period={text}", "--round-trip", "8 ms"])
    with pytest.raises(InputError) as caught:
        args.run(args)
    assert caught.value.hint


times = st.floats(0, 1000)


@given(st.floats(1e-6, 1000), times, times, times)
def test_viable_exactly_up_to_the_break_even(
    period: float, trip: float, perceive: float, decide: float
) -> None:
    loop = LoopFacts(period_s=period, round_trip_s=trip, perceive_s=perceive, decide_s=decide)
    answer = judge(loop)
    if abs(trip - answer.break_even_round_trip_s) > 1e-9:
        assert answer.viable == (trip < answer.break_even_round_trip_s)
    assert bool(answer.single_points_of_failure) == (answer.viable and trip > 0)
