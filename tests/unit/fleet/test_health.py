"""Every rule of health, without a process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.fleet import HealthPolicy, MemberState
from sextant.fleet.health import Action, Process, Signs, Verdict, judge

POLICY = HealthPolicy()
UP, DOWN, STARTING = MemberState.UP, MemberState.DOWN, MemberState.STARTING


def verdict(**signs: Any) -> Verdict:
    given = {"state": UP, "said": UP, "quiet_s": 0.05, "in_state_s": 5.0}
    return judge(Signs(**(given | signs)), POLICY)


def test_one_that_speaks_is_left_alone() -> None:
    assert verdict() == Verdict(state=UP)


def test_one_that_is_quiet_is_pinged_before_it_counts_as_silent() -> None:
    assert verdict(quiet_s=0.5) == Verdict(state=UP, action=Action.PING)
    silent = verdict(quiet_s=0.8)
    assert silent == Verdict(state=MemberState.SILENT, why="silent for 0.8 s", action=Action.PING)


def test_one_seen_stopped_is_known_sooner() -> None:
    stopped = verdict(quiet_s=0.4, process=Process.STOPPED)
    assert stopped.state is MemberState.STOPPED
    assert stopped.why == "silent for 0.4 s, its process is stopped"


def test_one_seen_running_is_given_more_time() -> None:
    assert verdict(quiet_s=1.0, process=Process.RUNNING).state is UP
    assert verdict(quiet_s=2.1, process=Process.RUNNING).state is MemberState.SILENT


def test_one_that_loads_is_given_more_time_still() -> None:
    warming = {"state": MemberState.WARMING, "said": MemberState.WARMING}
    assert verdict(**warming, quiet_s=20.0).state is MemberState.WARMING
    assert verdict(**warming, quiet_s=31.0).state is MemberState.SILENT
    assert verdict(**warming, in_state_s=601.0).action is Action.KILL


@pytest.mark.parametrize("process", [Process.RUNNING, Process.UNKNOWN])
def test_only_its_own_word_brings_a_silent_one_back(process: Process) -> None:
    silent = {"state": MemberState.SILENT, "process": process}
    assert verdict(**silent, quiet_s=0.9).state is MemberState.SILENT
    assert verdict(**silent, quiet_s=0.05).state is UP


def test_one_silent_for_too_long_is_killed() -> None:
    assert verdict(state=MemberState.STOPPED, quiet_s=9.0).action is Action.PING
    assert verdict(state=MemberState.STOPPED, quiet_s=10.0).action is Action.KILL


def test_one_whose_link_is_lost_is_silent_at_once_and_for_as_long() -> None:
    lost = verdict(quiet_s=0.1, linked=False)
    assert lost.state is MemberState.SILENT
    assert lost.why == "silent for 0.1 s, its link is lost"
    assert verdict(state=MemberState.SILENT, quiet_s=0.05, linked=True).state is UP
    assert verdict(state=MemberState.SILENT, quiet_s=10.0, linked=False).action is Action.KILL


def test_one_whose_process_is_gone_is_down_and_then_started() -> None:
    gone = verdict(quiet_s=0.01, linked=False, process=Process.GONE)
    assert gone == Verdict(state=DOWN, why="its process is gone")


def test_one_that_never_spoke_is_killed_in_the_end() -> None:
    unheard = {"state": STARTING, "said": STARTING}
    assert verdict(**unheard, quiet_s=5.0).action is Action.NOTHING
    assert verdict(**unheard, quiet_s=60.0).action is Action.KILL


@pytest.mark.parametrize(("failures", "pause_s"), [(1, 0.0), (2, 0.2), (3, 0.5), (6, 5.0)])
def test_one_that_is_down_is_started_after_a_growing_pause(failures: int, pause_s: float) -> None:
    down = {"state": DOWN, "failures": failures, "reason": "its process died"}
    assert verdict(**down, in_state_s=pause_s).action is Action.START
    if pause_s:
        assert verdict(**down, in_state_s=pause_s - 0.1).action is Action.NOTHING


def test_one_that_fails_too_often_is_given_up() -> None:
    lost = verdict(state=DOWN, failures=7, reason="its process died")
    assert lost.state is MemberState.LOST
    assert lost.action is Action.NOTHING
    assert lost.why == "given up after 7 failures: its process died"


@pytest.mark.parametrize("state", [MemberState.REFUSED, MemberState.LOST])
def test_nothing_more_is_done_about_one_that_is_out(state: MemberState) -> None:
    out = verdict(state=state, quiet_s=1e6, in_state_s=1e6, reason="torn")
    assert out == Verdict(state=state, why="torn")


@given(
    state=st.sampled_from(MemberState),
    said=st.sampled_from([STARTING, MemberState.WARMING, UP]),
    process=st.sampled_from(Process),
    linked=st.booleans(),
    quiet_s=st.floats(0, 1e5),
    in_state_s=st.floats(0, 1e5),
    failures=st.integers(0, 20),
)
def test_nobody_quiet_forever_is_left_forever(
    state: MemberState,
    said: MemberState,
    process: Process,
    linked: bool,
    quiet_s: float,
    in_state_s: float,
    failures: int,
) -> None:
    signs = Signs(
        state=state,
        said=said,
        process=process,
        linked=linked,
        quiet_s=quiet_s,
        in_state_s=in_state_s,
        failures=failures,
    )
    outcome = judge(signs, POLICY)
    if outcome.state is DOWN:
        outcome = judge(replace(signs, state=DOWN), POLICY)
    if quiet_s >= 60.0 and in_state_s >= 60.0:
        assert outcome.state.final or outcome.action in (Action.KILL, Action.START)
