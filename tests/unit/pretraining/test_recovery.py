"""What a record says of losses; how a job shrinks; how a slow rank is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.systems.pretraining import checkpoint, record
from sextant.systems.pretraining import launch as launching
from sextant.systems.pretraining.elastic import Elastic, Places, fitted
from sextant.systems.pretraining.job import RECORD_FILE, Job
from sextant.systems.pretraining.launch import Patience, Signs, Verdict, _Watch, decide
from sextant.systems.pretraining.pace import Beat, read_pace, slowest
from sextant.systems.pretraining.ranks import FLAWED, PARTED, YIELDED
from sextant.systems.pretraining.recovery import goodput, recoveries

JOB = Job(
    model=DecoderConfig(
        vocab=320, hidden=32, layers=4, heads=4, kv_heads=2, head_dim=8, ffn=64, context=32
    ),
    data=Path("data"),
    out=Path("out"),
    steps=10,
    batch=12,
    sequence=32,
    micro_batch=3,
    layout=Degrees(dp=4),
)


def event(kind: str, at_s: float, **told: Any) -> dict[str, Any]:
    return {"kind": kind, "at_s": at_s, **told}


def steps(first: int, last: int, at_s: float) -> list[dict[str, Any]]:
    return [
        event("step", at_s + n, step=step, seconds=1.0) for n, step in enumerate(range(first, last))
    ]


RECORD = [
    event("start", 0.0, attempt=1),
    event("begin", 4.0, step=0, layout="dp=4"),
    *steps(0, 8, 5.0),
    event("lost", 14.0, rank=3, why="killed by SIGKILL", since_step_s=2.0),
    event("start", 14.0, attempt=2),
    event("begin", 19.0, step=5, layout="dp=3"),
    *steps(5, 10, 20.0),
    event("end", 25.0),
]


def test_a_loss_is_told_by_its_four_times() -> None:
    (one,) = recoveries(RECORD)
    assert (one.detect_s, one.restart_s, one.warm_s) == (2.0, 5.0, 1.0)
    # Steps 5, 6 and 7 again: the last of them at 22 s; the rank was last seen at 12 s.
    assert (one.steps_lost, one.full_s, one.layout) == (3, 10.0, "dp=3")


def test_a_loss_after_which_nothing_came_is_told_as_far_as_it_is_known() -> None:
    (one,) = recoveries(RECORD[:11])
    assert (one.detect_s, one.restart_s, one.full_s) == (2.0, None, None)


def test_two_losses_in_a_row_are_two() -> None:
    again = event("lost", 16.0, rank=1, why="no step", since_step_s=2.0)
    first, second = recoveries([*RECORD[:12], again, *RECORD[12:]])
    assert (first.restart_s, second.restart_s, second.steps_lost) == (None, 3.0, 3)


def test_goodput_counts_each_step_once() -> None:
    assert goodput(RECORD) == pytest.approx(10 / 25)
    assert goodput(RECORD[:2]) is None
    # Resumed after a long night: the night is not the run's.
    later = [{**e, "at_s": e["at_s"] + 1000.0} for e in RECORD[:2]] + steps(10, 20, 1005.0)
    assert goodput(RECORD + later) == pytest.approx(20 / (25 + 14))


@pytest.mark.parametrize(
    ("layout", "batch", "ranks", "found"),
    [
        ("dp=4", 12, 3, "dp=3"),
        ("dp=4", 8, 3, "dp=2"),
        ("dp=2,fsdp=2", 12, 3, "fsdp=3"),
        ("dp=2,fsdp=2", 12, 2, "fsdp=2"),
        ("dp=2,tp=2", 12, 3, "tp=2"),
        ("dp=4,pp=2", 12, 7, "pp=2,dp=3"),
        ("dp=4", 12, 4, "dp=4"),
    ],
)
def test_a_job_shrinks_to_what_divides(layout: str, batch: int, ranks: int, found: str) -> None:
    job = replace(JOB, layout=Degrees.parse(layout), batch=batch, micro_batch=1)
    smaller = fitted(job, ranks)
    assert smaller is not None
    assert smaller.layout == Degrees.parse(found)
    assert smaller.batch == batch


def test_a_model_that_needs_all_its_ranks_does_not_shrink() -> None:
    assert fitted(replace(JOB, layout=Degrees(tp=2, pp=2)), 3) is None


def test_places_come_back_after_their_probation() -> None:
    now = [0.0]
    places = Places(4, Elastic(least=2, probation_s=10.0), lambda: now[0])
    assert places.job_on(JOB) == (JOB, [0, 1, 2, 3])
    places.lose(1)
    smaller, used = places.job_on(JOB)
    assert (smaller.layout, used) == (Degrees(dp=3), [0, 2, 3])
    assert smaller.batch // smaller.layout.data % smaller.micro_batch == 0
    places.lose(0)
    places.lose(3)
    # Below the least: all places again, as if none had been lost.
    assert places.job_on(JOB) == (JOB, [0, 1, 2, 3])
    now[0] = 11.0
    assert places.free() == [0, 1, 2, 3]


def test_a_place_that_stays_bad_is_tried_ever_more_rarely() -> None:
    now = [0.0]
    places = Places(4, Elastic(least=3, probation_s=10.0), lambda: now[0])
    waits = []
    for _ in range(4):
        assert places.can_spare(1, JOB)
        places.lose(1)
        begun_s = now[0]
        while 1 not in places.free():
            now[0] += 1.0
        waits.append(now[0] - begun_s)
    assert waits == [10.0, 20.0, 40.0, 80.0]
    places.lose(0)
    # Without another two ranks would be left, where three is the least.
    assert places.can_spare(0, JOB)
    assert not places.can_spare(1, JOB)
    assert not Places(4, None, lambda: 0.0).can_spare(1, JOB)


def test_a_slow_rank_is_struck_only_so_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No checkpoint comes between: each strike costs all steps, so they must end."""
    job = replace(JOB, out=tmp_path)
    watch = _Watch(job, Patience(restarts=2), Elastic(probation_s=0.0))
    monkeypatch.setattr(launching, "slowest", lambda *_: (1, 5.0))
    monkeypatch.setattr(launching.subprocess, "Popen", _Process)
    strikes = 0
    for _ in range(10):
        watch._start()
        verdict, rank, why = watch._look_for_slow()
        if verdict is Verdict.GO_ON:
            break
        watch._lose(rank or 0, why, watch._signs())
        strikes += 1
    assert strikes == 2
    assert len(list(record.read(tmp_path / RECORD_FILE, "slow"))) == 3
    # A checkpoint forgives, for a loss and for a strike.
    assert watch._signs().losses == 2
    saved = tmp_path / checkpoint.FOLDER / checkpoint.name_of(3)
    saved.mkdir(parents=True)
    (saved / checkpoint.CARD).touch()
    assert watch._signs().losses == 0
    watch._start()
    assert watch._look_for_slow()[0] is Verdict.RESTART
    watch.end()


class _Process:
    """A rank that runs for ever."""

    def __init__(self, *_words: object, **_settings: object) -> None:
        pass

    def poll(self) -> None:
        """It never ends by itself."""

    def send_signal(self, _number: int) -> None:
        """Takes any."""

    def wait(self) -> int:
        """Is over at once."""
        return 0


def test_without_elasticity_no_place_is_left() -> None:
    places = Places(4, None, lambda: 0.0)
    places.lose(1)
    assert places.job_on(JOB) == (JOB, [0, 1, 2, 3])


def test_ranks_that_yielded_are_started_in_another_number() -> None:
    signs = Signs(exits=[YIELDED, YIELDED], quiet_s=[0, 0], stepped=[True, True], losses=0)
    assert decide(signs, Patience())[0] is Verdict.RESIZE
    one = replace(signs, exits=[YIELDED, None])
    assert decide(one, Patience())[0] is Verdict.GO_ON
    killed = replace(signs, exits=[YIELDED, -9])
    assert decide(killed, Patience())[:2] == (Verdict.RESTART, 1)


@pytest.mark.parametrize(("code", "ranks"), [(FLAWED, 4), (PARTED, 4), (3, 3)])
def test_a_place_is_blamed_only_for_what_another_would_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, ranks: int
) -> None:
    monkeypatch.setattr(launching.subprocess, "Popen", _Process)
    watch = _Watch(replace(JOB, out=tmp_path), Patience(), Elastic(probation_s=1000.0))
    watch._start()
    signs = replace(watch._signs(), exits=[None, code, None, None])
    watch._lose(1, "", signs)
    watch._start()
    assert watch._job.layout.ranks == ranks
    watch.end()


def test_weights_that_are_not_finite_are_told_as_such() -> None:
    signs = Signs(exits=[None, FLAWED], quiet_s=[0, 0], stepped=[True, True], losses=0)
    verdict, rank, why = decide(signs, Patience())
    assert (verdict, rank) == (Verdict.RESTART, 1)
    assert "not finite" in why


def test_a_rank_is_slow_only_if_all_of_its_late_times_are() -> None:
    usual = [0.010, 0.011, 0.012, 0.010, 0.011]
    slow = [0.040, 0.050, 0.041, 0.045, 0.044]
    assert slowest([usual, slow, usual], 3.0) == (1, pytest.approx(0.040 / 0.011))
    assert slowest([usual, [*slow[:4], 0.010], usual], 3.0) is None
    assert slowest([usual, slow[:3], usual], 3.0) is None
    assert slowest([slow], 3.0) is None


def test_a_beat_tells_the_pace_now_and_then(tmp_path: Path) -> None:
    now = [0.0]

    def work() -> None:
        now[0] += 0.02

    beat = Beat(tmp_path / "alive" / "rank-0", 1.0, work, lambda: now[0])
    beat()
    assert read_pace(tmp_path / "alive" / "rank-0") == ()
    for _ in range(8):
        now[0] += 0.5
        beat()
    assert read_pace(tmp_path / "alive" / "rank-0") == (0.02, 0.02, 0.02, 0.02)
    assert read_pace(tmp_path / "none") == ()
