"""A driver of ranks on a fleet: who is left out, and what the ranks are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("torch")
pytest.importorskip("msgpack")

from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.errors import EngineError
from sextant.fleet import Answer, Deadline, Gather, MemberState, Missing
from sextant.fleet.gang import Gang
from sextant.fleet.messages import Outcome, pack, unpack
from sextant.systems.pretraining import on_fleet, record
from sextant.systems.pretraining.elastic import Elastic
from sextant.systems.pretraining.job import RECORD_FILE, Job

PLACES = 3
JOB = Job(
    model=DecoderConfig(
        vocab=320, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=64, context=32
    ),
    data=Path("data"),
    out=Path("out"),
    steps=10,
    batch=12,
    sequence=32,
    micro_batch=2,
    layout=Degrees(dp=PLACES),
)
NO_ROOM = f"{Outcome.FAILED}: {on_fleet.BY_ITSELF}No space left on device"
LEFT_ALONE = f"{Outcome.FAILED}: a rank stalled, or is gone: Connection closed by peer"


class Places:
    """A gang whose members train at once, or say why not."""

    names = tuple(f"{on_fleet.ROLE}/{n}" for n in range(PLACES))

    def __init__(self, says: Callable[[str], str | None]) -> None:
        self._says = says
        self.jobs: list[Job] = []

    def ready(self, _within_s: float) -> None:
        """All of them always are."""

    def states(self) -> dict[str, MemberState]:
        """All of them are up."""
        return dict.fromkeys(self.names, MemberState.UP)

    def ask(self, bodies: Mapping[str, bytes], _deadline: Deadline) -> Gather:
        """Trains, if that is asked: who has a reason not to takes the others with it."""
        message = unpack(next(iter(bodies.values())))
        told: dict[str, Any] = {"host": "h", "port": 1, "ended": True}
        missing: tuple[Missing, ...] = ()
        if message["do"] == "train":
            self.jobs.append(Job.of(message["job"], where="test"))
            why = {name: self._says(name) for name in bodies}
            if any(why.values()):
                missing = tuple(Missing(member=n, why=w or LEFT_ALONE) for n, w in why.items())
        timing = {"wire_s": 0.0, "queue_s": 0.0, "handle_s": 0.0, "total_s": 0.0}
        answers = {n: Answer(member=n, body=pack(told), **timing) for n in bodies}
        return Gather(answers={} if missing else answers, missing=missing, seconds=0.0)


def run(gang: Places, job: Job) -> list[dict[str, Any]]:
    """Lets a gang train; gives the losses of the record."""
    driver = on_fleet._Run(cast(Gang, gang), job, Elastic(probation_s=1e9), lambda: None)
    try:
        driver.to_its_end(restarts=2)
    finally:
        lost = list(record.read(job.out / RECORD_FILE, "lost"))
    return lost


def test_a_place_that_fails_by_itself_is_left_out(tmp_path: Path) -> None:
    gang = Places(lambda name: NO_ROOM if name.endswith("/1") else None)
    (lost,) = run(gang, replace(JOB, out=tmp_path))
    assert lost["rank"] == 1
    assert [job.layout for job in gang.jobs] == [Degrees(dp=3), Degrees(dp=2)]
    # They were told the job as it is split now; no file of it has to be read.
    assert gang.jobs[1].batch == JOB.batch
    assert not list(tmp_path.glob("*.json"))


def test_who_is_gone_is_blamed_before_who_failed(tmp_path: Path) -> None:
    said = {f"{on_fleet.ROLE}/0": NO_ROOM, f"{on_fleet.ROLE}/2": "down: killed"}
    gang = Places(lambda name: said.pop(name, None))
    (lost,) = run(gang, replace(JOB, out=tmp_path))
    assert lost["rank"] == 2


def test_what_all_say_is_the_job_s(tmp_path: Path) -> None:
    """No finite gradient, on all of them: leaving one out would not help; tries are bounded."""
    gang = Places(lambda _name: f"{Outcome.FAILED}: {on_fleet.BY_ITSELF}no finite gradient")
    with pytest.raises(EngineError, match="given up after 3 losses"):
        run(gang, replace(JOB, out=tmp_path))
    assert [job.layout for job in gang.jobs] == [Degrees(dp=3)] * 3
