"""Real signals to real ranks: the run ends with the weights of one that nothing happened to."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
psutil = pytest.importorskip("psutil")

from sextant.decoder.config import DecoderConfig  # noqa: E402
from sextant.decoder.mesh import Degrees  # noqa: E402
from sextant.errors import EngineError, InputError  # noqa: E402
from sextant.fleet import Fleet  # noqa: E402
from sextant.systems.pretraining import checkpoint, record  # noqa: E402
from sextant.systems.pretraining.elastic import Elastic  # noqa: E402
from sextant.systems.pretraining.job import RECORD_FILE, Job, Recipe  # noqa: E402
from sextant.systems.pretraining.launch import Patience, launch  # noqa: E402
from sextant.systems.pretraining.on_fleet import ROLE, launch_on  # noqa: E402
from sextant.systems.pretraining.prepare import Wish, prepare  # noqa: E402
from sextant.systems.pretraining.saved import open_saved  # noqa: E402
from sextant.systems.pretraining.text import Source  # noqa: E402

STEPS = 40
PATIENCE = Patience(quiet_s=6.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text("".join(f"line {n} of {n * n}\n" for n in range(4000)))
    wish = Wish(sources=(Source(path=folder / "text.txt"),), num_ids=300, held_fraction=0.0)
    prepare(wish, folder / "tokens", lambda _done, _all: None)
    return folder / "tokens"


@pytest.fixture
def job(data: Path, tmp_path: Path) -> Job:
    made = Job(
        model=DecoderConfig(
            vocab=300, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=64, context=32
        ),
        data=data,
        out=tmp_path / "run",
        steps=STEPS,
        batch=8,
        sequence=32,
        micro_batch=4,
        recipe=Recipe(learning_rate=3e-3, warmup_steps=3),
        layout=Degrees(dp=2),
        checkpoint_steps=4,
        stall_s=30.0,
        threads=1,
    )
    made.write()
    return made


def taken(job: Job) -> int:
    """The steps that the record tells of."""
    return len(record.steps(job.out / RECORD_FILE))


def ready(job: Job, steps: int) -> bool:
    """Whether so many steps were taken, and the last checkpoint before them is durable."""
    if taken(job) < steps:
        return False
    due = steps - steps % job.checkpoint_steps
    return not due or any(
        path.name >= checkpoint.name_of(due) for path in checkpoint.found(job.out)
    )


def full(job: Job) -> bool:
    """Whether the run said that its disk is full."""
    troubles = record.read(job.out / RECORD_FILE, "trouble")
    return any("No space left" in event["what"] for event in troubles)


def strike(job: Job, acts: list[tuple[int, Callable[[int], None]]]) -> threading.Thread:
    """Does each act to the last rank's process, once so many steps were taken."""

    def run() -> None:
        for steps, act in acts:
            until_s = time.monotonic() + 100.0
            # What a loss costs is told by the newest durable checkpoint.
            while not ready(job, steps) and time.monotonic() < until_s:
                time.sleep(0.01)
            ranks = [
                child.pid
                for child in psutil.Process().children()
                if "sextant.systems.pretraining" in " ".join(child.cmdline())
            ]
            act(max(ranks, default=0))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_a_killed_and_a_stopped_rank_cost_steps_but_no_weight(job: Job, tmp_path: Path) -> None:
    plain = replace(job, out=tmp_path / "plain")
    plain.write()
    launch(plain)
    striking = strike(
        job,
        [
            (10, lambda pid: os.kill(pid, signal.SIGKILL)),
            (22, lambda pid: os.kill(pid, signal.SIGSTOP)),
        ],
    )
    launch(job, PATIENCE)
    striking.join(5)
    lost = list(record.read(job.out / RECORD_FILE, "lost"))
    assert [event["rank"] for event in lost] == [1, lost[-1]["rank"]]
    assert lost[0]["why"] == "killed by SIGKILL"
    assert lost[0]["since_step_s"] < 5.0
    assert "no step for" in lost[1]["why"]
    assert lost[1]["since_step_s"] < PATIENCE.quiet_s + 2.0
    resumed = [event["step"] for event in record.read(job.out / RECORD_FILE, "begin")]
    assert resumed[0] == 0
    assert all(step % 4 == 0 for step in resumed)
    assert 8 <= resumed[1] <= 12
    ours, theirs = open_saved(job.out), open_saved(plain.out)
    assert ours.step == theirs.step == STEPS
    for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.soak
def test_a_run_shrinks_and_grows_and_learns_the_same(job: Job, tmp_path: Path) -> None:
    """4 -> 3 -> 4: the batch stays, so each of three ranks takes four sequences, not three."""
    whole = replace(job, batch=12, micro_batch=3, layout=Degrees(dp=4), stall_s=20.0)
    whole.write()
    plain = replace(whole, out=tmp_path / "plain", layout=Degrees())
    plain.write()
    launch(plain)
    striking = strike(whole, [(10, lambda pid: os.kill(pid, signal.SIGKILL))])
    launch(whole, PATIENCE, elastic=Elastic(probation_s=3.0))
    striking.join(5)
    events = list(record.read(whole.out / RECORD_FILE))
    assert [e["layout"] for e in events if e["kind"] == "begin"] == ["dp=4", "dp=3", "dp=4"]
    (told,) = (e for e in events if e["kind"] == "whole")
    (one,) = told["recoveries"]
    assert one["detect_s"] < 5.0
    assert one["steps_lost"] <= 4 + 2
    assert one["full_s"] > one["restart_s"] > 0.0
    assert 0.0 < told["goodput"] < 1.0
    # It grew at a checkpoint, so that no step was taken twice for it.
    taken_steps = [e["step"] for e in events if e["kind"] == "step"]
    assert len(taken_steps) == STEPS + one["steps_lost"]
    assert_learned_the_same(whole, plain, rel=1e-5)


@pytest.mark.soak
def test_a_fleet_s_training_shrinks_and_grows_and_learns_the_same(job: Job, tmp_path: Path) -> None:
    """The same where the fleet starts the ranks, each a place that may be another rank later."""
    for engine in ("zenoh", "msgpack"):
        pytest.importorskip(engine)
    slow = replace(job.recipe, learning_rate=1e-4)  # so that the order of sums stays small
    whole = replace(job, steps=600, batch=12, micro_batch=2, layout=Degrees(dp=3), recipe=slow)
    whole.write()
    plain = replace(whole, out=tmp_path / "plain", layout=Degrees())
    plain.write()
    launch(plain)
    with Fleet.start(cpus=3) as fleet:

        def kill(_pid: int) -> None:
            pid = fleet.find(ROLE).pid(f"{ROLE}/0")
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

        striking = strike(whole, [(10, kill)])
        launch_on(fleet, whole, tick=lambda: None, elastic=Elastic(probation_s=3.0))
        striking.join(5)
    events = list(record.read(whole.out / RECORD_FILE))
    layouts = [e["layout"] for e in events if e["kind"] == "begin"]
    assert (layouts[0], layouts[-1]) == ("dp=3", "dp=3")
    (told,) = (e for e in events if e["kind"] == "whole")
    # A busy machine may lose it more than the one that was killed: for silence.
    assert 0 in [each["rank"] for each in told["recoveries"]]
    assert "dp=2" in layouts
    assert all(each["steps_lost"] <= 4 + 2 for each in told["recoveries"])
    assert_learned_the_same(whole, plain, rel=1e-3)


def assert_learned_the_same(ours: Job, theirs: Job, rel: float) -> None:
    """To the order of sums: every step's loss, so each step took its own text."""
    losses = [
        [event["loss"] for _, event in sorted(record.steps(run.out / RECORD_FILE).items())]
        for run in (ours, theirs)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=rel)


def test_a_full_disk_costs_a_checkpoint_not_the_run(job: Job, tmp_path: Path) -> None:
    """The disk is full for the middle of the run; a file that takes its room goes away later."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        small = replace(job, out=disk / "run", layout=Degrees(), steps=200)
        small.write()
        ballast = disk / "ballast"

        def fill(_pid: int) -> None:
            """Leaves room for lines, but for no checkpoint, until that was felt."""
            until_s = time.monotonic() + 60.0
            with ballast.open("wb", buffering=0) as stream:
                while time.monotonic() < until_s and not full(small):
                    told = os.statvfs(disk)
                    spare = told.f_bavail * told.f_frsize - (64 << 10)
                    with contextlib.suppress(OSError):
                        stream.write(b"\0" * max(spare, 0))
                    time.sleep(0.001)
            ballast.unlink()

        striking = strike(small, [(10, fill)])
        launch(small, replace(PATIENCE, restarts=0))
        striking.join(5)
        events = list(record.read(small.out / RECORD_FILE))
        assert full(small)
        assert not [e for e in events if e["kind"] == "lost"]
        assert open_saved(small.out).step == 200
        assert not list((small.out / checkpoint.FOLDER).glob("*.building"))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.soak
def test_a_slow_rank_is_named(job: Job) -> None:
    slow = replace(job, steps=400, checkpoint_steps=400, pace_s=0.1)
    slow.write()

    def hold(pid: int) -> None:
        """Lets it run a fifth of the time, until it is named."""
        until_s = time.monotonic() + 40.0
        named = record.read
        while not list(named(slow.out / RECORD_FILE, "slow")) and time.monotonic() < until_s:
            for number, seconds in ((signal.SIGSTOP, 0.04), (signal.SIGCONT, 0.01)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                time.sleep(seconds)

    striking = strike(slow, [(5, hold)])
    launch(slow, PATIENCE)
    striking.join(5)
    named = list(record.read(slow.out / RECORD_FILE, "slow"))
    assert named
    assert named[0]["rank"] == 1
    assert named[0]["times"] >= PATIENCE.slow


def test_a_job_that_cannot_run_is_given_up_with_its_reason(job: Job) -> None:
    wrong = replace(job, layout=Degrees(), batch=8, micro_batch=3)
    wrong.write()
    with pytest.raises(InputError, match="micro-batches of 3"):
        launch(wrong)
    hopeless = replace(job, layout=Degrees(), recipe=replace(job.recipe, learning_rate=1e30))
    hopeless.write()
    with pytest.raises(EngineError, match="no finite gradient"):
        launch(hopeless, replace(PATIENCE, restarts=0))
    *_, lost = record.read(hopeless.out / RECORD_FILE, "lost")
    assert "not finite" in lost["why"]


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path) -> None:
    """A process that writes checkpoints without a pause, killed at ten instants."""
    context = __import__("multiprocessing").get_context("forkserver")
    context.set_forkserver_preload(["torch.distributed.checkpoint"])
    sys.path.insert(0, str(Path(__file__).parent))
    from writing_worker import write

    seen = set()
    for number in range(10):
        worker = context.Process(target=write, args=(str(tmp_path),), daemon=True)
        worker.start()
        until_s = time.monotonic() + 60.0
        before = {path.name for path in checkpoint.found(tmp_path)}
        while {path.name for path in checkpoint.found(tmp_path)} <= before:
            assert time.monotonic() < until_s, "it writes nothing"
            time.sleep(0.005)
        time.sleep(0.004 * number)  # another instant of a save each time
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        newest = checkpoint.newest(tmp_path)
        assert newest is not None
        folder, card, troubles = newest
        assert troubles == []
        state = {"weight": torch.zeros(1 << 18)}
        checkpoint.load(state, folder, distributed=False)
        assert torch.equal(state["weight"], torch.full((1 << 18,), float(card.step)))
        seen.add("building" if list((tmp_path / "checkpoints").glob("*.building")) else "between")
    assert "building" in seen
