"""A training as a gang of a fleet: the fleet starts the ranks again, and they meet anew."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sextant.axes import Axis
from sextant.decoder.meeting import Meeting, first_words
from sextant.errors import EngineError, InputError
from sextant.fleet import Deadline, Member, MemberSpec
from sextant.fleet.messages import pack, unpack
from sextant.systems.pretraining import checkpoint
from sextant.systems.pretraining.job import JOB_FILE, RECORD_FILE, Job
from sextant.systems.pretraining.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from sextant.fleet import Fleet, Gang

ROLE = "trainer"
REFUSED = "the job is wrong: "
"""What a rank says first when trying again would not help."""
_MEET_S = 60.0
_READY_S = 180.0
_TICK_S = 0.2
_SLICE_S = 3.0e7
"""A year: a training ends by its own steps; a rank that is lost ends the ask at once."""


class TrainerMember(Member):
    """One rank. Messages: `open` and `join` as in `decoder.meeting`; `train` goes on from the
    newest checkpoint to the last step.

    Args:
        job: path of `job.json`, the same on every host.
        rank: which of the ranks this is.
    """

    def __init__(self, job: str, rank: int) -> None:
        self._path, self._rank = Path(job), rank
        self._meeting: Meeting | None = None

    def warm(self) -> None:
        """Reads the job.

        Raises:
            InputError: it is damaged.
        """
        job = Job.read(self._path)
        self._meeting = Meeting(self._rank, job.layout.ranks, job.stall_s)

    def handle(self, body: bytes, deadline: Deadline) -> bytes:  # noqa: ARG002
        """Carries out one message.

        Raises:
            InputError: the job is wrong.
            EngineError: another rank is gone, or the training cannot go on.
        """
        from sextant.systems.pretraining.ranks import train_rank

        assert self._meeting is not None, "warm comes before handle"
        message = unpack(body)
        if message["do"] == "open":
            return pack(self._meeting.open())
        if message["do"] == "join":
            self._meeting.join(message["epoch"], message["host"], message["port"])
            return pack({})
        job = Job.read(self._path)
        try:
            with self.ledger.busy(Axis.TRAINING):
                train_rank(job, self._rank, self._rank)
        except InputError as error:
            raise InputError(f"{REFUSED}{error}") from None
        except RuntimeError as error:
            raise EngineError(f"a rank is gone or stalled: {first_words(error)}") from None
        return pack({})


def launch_on(fleet: Fleet, job: Job, *, restarts: int = 3, tick: Callable[[], None]) -> None:
    """Runs a job to its end on a fleet, one member a rank.

    Args:
        fleet: where.
        job: what is trained; written to a folder that every host sees.
        restarts: lost ranks in a row, without a checkpoint between, after which it is given up.
        tick: called every now and then, to show progress.

    Raises:
        InputError: the job is wrong.
        EngineError: ranks were lost too often; the last reason is named.
    """
    path = str((job.out / JOB_FILE).resolve())
    specs = [
        MemberSpec(
            name=f"{ROLE}/{rank}",
            factory="sextant.systems.pretraining.on_fleet:TrainerMember",
            arguments={"job": path, "rank": rank},
        )
        for rank in range(job.layout.ranks)
    ]
    record = Record(job.out / RECORD_FILE)
    gang = fleet.gang(ROLE, specs)
    saved, losses = _saved(job), 0
    try:
        for epoch in itertools.count(1):
            gang.ready(_READY_S)
            why = _watched(partial(_attempt, gang, epoch), tick)
            if why is None:
                return
            record.write("lost", rank=None, why=why, attempt=epoch)
            losses = 1 if _saved(job) != saved else losses + 1
            saved = _saved(job)
            if losses > restarts:
                raise EngineError(f"given up after {losses} losses: {why}", where=str(job.out))
    finally:
        gang.close()


def _watched(attempt: Callable[[], str | None], tick: Callable[[], None]) -> str | None:
    """Runs an attempt beside the ticks."""
    with ThreadPoolExecutor(1, thread_name_prefix="training") as beside:
        running = beside.submit(attempt)
        while wait([running], timeout=_TICK_S).not_done:
            tick()
        tick()
        return running.result()


def _attempt(gang: Gang, epoch: int) -> str | None:
    """Lets the ranks meet and train; None at the end, else why not.

    Raises:
        InputError: a rank refuses the job.
    """
    first = gang.names[0]
    opened = gang.ask({first: pack({"do": "open"})}, Deadline.after(_MEET_S))
    if not opened.full:
        return ", ".join(map(str, opened.missing))
    where = unpack(opened.answers[first].body)
    joined = gang.ask(pack({"do": "join", "epoch": epoch, **where}), Deadline.after(_MEET_S))
    if not joined.full:
        return ", ".join(map(str, joined.missing))
    ended = gang.ask(pack({"do": "train"}), Deadline.after(_SLICE_S))
    if ended.full:
        return None
    if refused := [str(absent) for absent in ended.missing if REFUSED in absent.why]:
        raise InputError(refused[0].replace(REFUSED, ""))
    return ", ".join(map(str, ended.missing))


def _saved(job: Job) -> list[str]:
    return [path.name for path in checkpoint.found(job.out)[:1]]
