"""A training as a gang of a fleet: the fleet starts the ranks again, and they meet anew.

With `Elastic` those who are left go on at once, from the newest checkpoint, and all of them again
once the fleet has started the lost one elsewhere. A member is a place; its rank is told it anew.
"""

from __future__ import annotations

import itertools
import time
from concurrent.futures import wait
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from sextant.axes import Axis
from sextant.decoder.meeting import Meeting, first_words, is_of_a_link
from sextant.errors import EngineError, InputError, SextantError, missing_engine
from sextant.fleet import Deadline, HealthPolicy, Member, MemberSpec, MemberState, Missing
from sextant.fleet.messages import Outcome, pack, unpack
from sextant.systems.pretraining import checkpoint
from sextant.systems.pretraining.aside import aside
from sextant.systems.pretraining.elastic import Elastic, Places
from sextant.systems.pretraining.job import RECORD_FILE, Job
from sextant.systems.pretraining.launch import alone
from sextant.systems.pretraining.ranks import YIELD_FILE
from sextant.systems.pretraining.record import Record, read
from sextant.systems.pretraining.recovery import goodput, recoveries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sextant.fleet import Fleet, Gang

ROLE = "trainer"
HEALTH = HealthPolicy(silent_after_s=3.0, busy_silent_after_s=10.0)
"""A rank taken for lost costs all of them a start: a busy computer may be silent for a while.

One whose process or link has ended is seen at once all the same.
"""
REFUSED = "the job is wrong: "
"""What a rank says first when trying again would not help."""
BY_ITSELF = "failed by itself: "
"""What a rank says first that did not fail for want of another."""
_MEET_S = 60.0
_READY_S = 180.0
_TICK_S = 0.2
_SLICE_S = 3.0e7
"""A year: a training ends by its own steps; a rank that is lost ends the ask at once."""


class TrainerMember(Member):
    """One place. Messages: `open` and `join` as in `decoder.meeting`, for a rank of so many;
    `train` goes on from the newest checkpoint, and tells whether it came to the last step.

    Each carries the job as its ranks now split it: a file of a shared folder may be an older one.
    """

    def __init__(self) -> None:
        self._meeting: Meeting | None = None

    def warm(self) -> None:
        """Loads torch now: a member that loads for seconds seems gone later.

        Raises:
            EngineError: torch is missing.
        """
        try:
            import torch.distributed  # noqa: F401
        except ImportError:
            raise missing_engine("torch", "pretraining") from None

    def handle(self, body: bytes, deadline: Deadline) -> bytes:  # noqa: ARG002
        """Carries out one message.

        Raises:
            InputError: the job is wrong.
            EngineError: another rank is gone, or the training cannot go on.
        """
        message = unpack(body)
        job = Job.of(message["job"], where="what the driver said")
        if message["do"] == "open":
            self._meeting = Meeting(0, job.layout.ranks, job.stall_s, self.card.host)
            return pack(self._meeting.open())
        if message["do"] == "join":
            rank, ranks = message["rank"], job.layout.ranks
            if rank or self._meeting is None:
                self._meeting = Meeting(rank, ranks, job.stall_s, self.card.host)
            self._meeting.join(message["epoch"], message["host"], message["port"])
            return pack({})
        assert self._meeting is not None, "it joins before it trains"
        return pack({"ended": self._train(job, self._meeting)})

    def _train(self, job: Job, meeting: Meeting) -> bool:
        from sextant.systems.pretraining.ranks import train_rank

        try:
            with self.ledger.busy(Axis.TRAINING):
                return train_rank(job, meeting.rank, meeting.rank)
        except InputError as error:
            meeting.leave()
            raise InputError(f"{REFUSED}{error}") from None
        except (RuntimeError, OSError, MemoryError, SextantError) as error:
            # Others may wait for this rank, too: a closed link tells them before their stall ends.
            meeting.leave()
            whose = "a rank stalled, or is gone: " if is_of_a_link(error) else BY_ITSELF
            raise EngineError(f"{whose}{first_words(error)}") from None


def launch_on(
    fleet: Fleet,
    job: Job,
    *,
    restarts: int = 3,
    tick: Callable[[], None],
    elastic: Elastic | None = None,
) -> None:
    """Runs a job to its end on a fleet, one member a rank.

    Args:
        fleet: where.
        job: what is trained, in a folder that every host sees.
        restarts: lost ranks in a row, without a checkpoint between, after which it is given up.
        tick: called every now and then, to show progress.
        elastic: goes on with the members that are left, and with all when they are back; None
            waits until the fleet has started the lost ones again.

    Raises:
        InputError: the job is wrong, or another run is at work in its folder.
        EngineError: ranks were lost too often; the last reason is named.
    """
    factory = "sextant.systems.pretraining.on_fleet:TrainerMember"
    specs = [
        MemberSpec(name=f"{ROLE}/{place}", factory=factory) for place in range(job.layout.ranks)
    ]
    with alone(job.out):
        gang = fleet.gang(ROLE, specs)
        try:
            gang.ready(_READY_S)
            _Run(gang, job, elastic, tick).to_its_end(restarts)
        finally:
            gang.close()


class _Run:
    """The attempts of one job on a gang."""

    def __init__(
        self, gang: Gang, job: Job, elastic: Elastic | None, tick: Callable[[], None]
    ) -> None:
        self._gang, self._whole, self._tick = gang, job, tick
        self._places = Places(job.layout.ranks, elastic, time.monotonic, self._is_up)
        self._record = Record(job.out / RECORD_FILE)

    def to_its_end(self, restarts: int) -> None:
        """Lets the ranks train, as often as it takes.

        Raises:
            InputError: a rank refuses the job.
            EngineError: ranks were lost too often, or do not come back.
        """
        saved, losses = self._saved(), 0
        for epoch in itertools.count(1):
            ended, missing = self._attempt(epoch)
            if ended:
                break
            if not missing:  # the ranks ended at a checkpoint, so that more of them can go on
                continue
            losses = 1 if self._saved() != saved else losses + 1
            saved = self._saved()
            if losses > restarts:
                self._sum_up()
                why = ", ".join(map(str, missing))
                where = str(self._whole.out)
                raise EngineError(f"given up after {losses} losses: {why}", where=where)
        self._sum_up()

    def _attempt(self, epoch: int) -> tuple[bool, Sequence[Missing]]:
        """Trains on the places that can be used now; whether it ended, and who was missing."""
        job, used = self._places.job_on(self._whole)
        whole = job.layout.ranks == self._whole.layout.ranks
        if whole:
            self._gang.ready(_READY_S)
        (job.out / YIELD_FILE).unlink(missing_ok=True)
        told = {"layout": job.layout.describe(), "ranks": job.layout.ranks}
        self._record.write("start", attempt=epoch, **told)
        names = [self._gang.names[place] for place in used]
        running = aside(partial(_train, self._gang, names, epoch, job))
        try:
            while wait([running], timeout=_TICK_S).not_done:
                self._tick()
                if not whole:
                    self._look_for_places(job)
        finally:
            (job.out / YIELD_FILE).unlink(missing_ok=True)
        self._tick()
        ended, missing = running.result()
        if missing:
            self._lose(names, missing, epoch)
        return ended, missing

    def _look_for_places(self, job: Job) -> None:
        """Asks the ranks to end at their next checkpoint if more of them could run."""
        could, _ = self._places.job_on(self._whole)
        ranks = could.layout.ranks
        if ranks > job.layout.ranks and len(self._places.free()) >= ranks:
            (job.out / YIELD_FILE).touch()

    def _lose(self, names: Sequence[str], missing: Sequence[Missing], epoch: int) -> None:
        """Writes the loss down, and leaves alone the places that were lost.

        Those that say that they failed are there: for want of another, or by themselves. Where
        nobody is gone, who failed by itself counts as lost; all of them at once fail for the job.
        """
        gone = [m.member for m in missing if not m.why.startswith(Outcome.FAILED)]
        failed = [m.member for m in missing if BY_ITSELF in m.why]
        blamed = gone or (failed if len(failed) < len(names) else [])
        for name in blamed:
            self._places.lose(self._gang.names.index(name))
        rank = names.index(blamed[0]) if blamed else None
        why = ", ".join(map(str, missing))
        self._record.write("lost", rank=rank, why=why, attempt=epoch)

    def _is_up(self, place: int) -> bool:
        return self._gang.states()[self._gang.names[place]] is MemberState.UP

    def _saved(self) -> list[str]:
        return [path.name for path in checkpoint.found(self._whole.out)[:1]]

    def _sum_up(self) -> None:
        """Writes what the record says of all losses together."""
        events = list(read(self._whole.out / RECORD_FILE))
        told = [asdict(one) for one in recoveries(events)]
        self._record.write("whole", recoveries=told, goodput=goodput(events))


def _train(
    gang: Gang, names: Sequence[str], epoch: int, job: Job
) -> tuple[bool, Sequence[Missing]]:
    """Lets members meet as ranks of a job, in this order, and train.

    Returns:
        Whether they came to the last step, and who is missing; nobody is where they were asked
        to end sooner.

    Raises:
        InputError: a rank refuses the job.
    """
    plain = job.plain()
    opened = gang.ask({names[0]: pack({"do": "open", "job": plain})}, Deadline.after(_MEET_S))
    if not opened.full:
        return False, opened.missing
    where = {"do": "join", "job": plain, "epoch": epoch, **unpack(opened.answers[names[0]].body)}
    bodies = {name: pack({**where, "rank": rank}) for rank, name in enumerate(names)}
    joined = gang.ask(bodies, Deadline.after(_MEET_S))
    if not joined.full:
        return False, joined.missing
    body = pack({"do": "train", "job": plain})
    ended = gang.ask(dict.fromkeys(names, body), Deadline.after(_SLICE_S))
    if ended.full:
        return all(unpack(answer.body)["ended"] for answer in ended.answers.values()), ()
    if refused := [str(absent) for absent in ended.missing if REFUSED in absent.why]:
        raise InputError(refused[0].replace(REFUSED, ""))
    return False, ended.missing
