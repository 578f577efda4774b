"""A training over three hosts (namespaces of this machine): one of them is gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from hosts import Host
from test_hosts import PORT, ray_hosts

from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.systems.pretraining import record
from sextant.systems.pretraining.job import JOB_FILE, RECORD_FILE, Job, Recipe
from sextant.systems.pretraining.on_fleet import ROLE
from sextant.systems.pretraining.prepare import Wish, prepare
from sextant.systems.pretraining.saved import open_saved
from sextant.systems.pretraining.text import Source

HOSTS, STEPS = 3, 700
DRIVER = Path(__file__).parent / "training_driver.py"

Until = Callable[[Callable[[], bool], float], bool]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "text.txt").write_text("".join(f"line {n} of {n * n}\n" for n in range(4000)))
    wish = Wish(sources=(Source(path=tmp_path / "text.txt"),), num_ids=300, held_fraction=0.0)
    prepare(wish, tmp_path / "tokens", lambda _done, _all: None)
    made = Job(
        model=DecoderConfig(
            vocab=300, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=64, context=32
        ),
        data=tmp_path / "tokens",
        out=tmp_path / "run",
        steps=STEPS,
        batch=12,
        sequence=32,
        micro_batch=2,
        recipe=Recipe(learning_rate=1e-4, warmup_steps=3),
        layout=Degrees(dp=HOSTS),
        checkpoint_steps=20,
        stall_s=10.0,
        threads=1,
    )
    made.write()
    return made


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_training_goes_on_without_a_host_that_is_gone(job: Job, until: Until) -> None:
    path = job.out / RECORD_FILE
    with ray_hosts(HOSTS) as (hosts, switch, env, _):
        words = [str(DRIVER), f"{hosts[0].address}:{PORT}", str(job.out / JOB_FILE), str(HOSTS)]
        driver = subprocess.Popen(hosts[0].command(sys.executable, *words), env=env)
        try:
            # A busy machine may have lost a rank by then, and started it on another host.
            assert until(lambda: whole(path) and any(map(trains, hosts[1:])), 300)
            lost = len(list(record.read(path, "lost")))
            switch.cut(next(n for n, host in enumerate(hosts) if n and trains(host)))
            assert until(lambda: len(list(record.read(path, "lost"))) > lost, 120)
            assert driver.wait(360) == 0
        finally:
            driver.kill()
            driver.wait()
    # A busy machine may lose a rank more; what was on the host runs on another in the end.
    assert {"dp=2", "dp=3"} <= set(layouts(path))
    assert open_saved(job.out).step == STEPS
    assert sorted(record.steps(path)) == list(range(STEPS))


def whole(path: Path) -> bool:
    """Whether all ranks have taken some steps together since they last met."""
    told = [(e["kind"], e.get("layout")) for e in record.read(path)]
    begins = [at for at, (kind, _) in enumerate(told) if kind == "begin"]
    if not begins or told[begins[-1]][1] != f"dp={HOSTS}":
        return False
    since = [kind for kind, _ in told[begins[-1] :]]
    return since.count("step") >= 10 and "lost" not in since


def trains(host: Host) -> bool:
    """Whether a rank runs on a host."""
    words = ["ip", "netns", "pids", host.namespace]
    told = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    commands = (Path("/proc") / pid / "cmdline" for pid in told.stdout.split())
    return any(path.is_file() and f"{ROLE}/".encode() in path.read_bytes() for path in commands)


def layouts(path: Path) -> list[str]:
    return [event["layout"] for event in record.read(path, "begin")]
