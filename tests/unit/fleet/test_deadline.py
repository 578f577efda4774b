from __future__ import annotations

import pytest

from sextant.fleet import Deadline


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_deadline_is_absolute_and_runs_out() -> None:
    clock = Clock()
    deadline = Deadline.after(2.0, clock)
    assert deadline.at_s == 102.0
    clock.now_s = 101.5
    assert deadline.left_s() == 0.5
    assert not deadline.expired()
    clock.now_s = 102.0
    assert deadline.expired()


def test_unspent_time_of_a_stage_flows_on() -> None:
    clock = Clock()
    deadline = Deadline.after(10.0, clock)
    assert deadline.stage(0.5).at_s == 105.0
    clock.now_s = 101.0  # the first stage took 1 s of its 5
    assert deadline.stage(1.0) == deadline
    assert deadline.stage(0.5).left_s() == 4.5


def test_a_stage_of_an_expired_deadline_has_nothing() -> None:
    clock = Clock()
    deadline = Deadline.after(-1.0, clock)
    assert deadline.stage(0.5).left_s() == 0.0


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_stage_takes_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Deadline.after(1.0).stage(share)
