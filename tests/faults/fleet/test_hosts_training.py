"""A training over three hosts (namespaces of this machine): one of them is gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from test_hosts import PORT, ray_hosts

from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.systems.pretraining import record
from sextant.systems.pretraining.job import JOB_FILE, RECORD_FILE, Job, Recipe
from sextant.systems.pretraining.prepare import Wish, prepare
from sextant.systems.pretraining.saved import open_saved
from sextant.systems.pretraining.text import Source

HOSTS, STEPS = 3, 600
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
def test_a_training_goes_on_without_a_host_that_is_gone(job: Job, until: Until) -> None:
    path = job.out / RECORD_FILE
    with ray_hosts(HOSTS) as (hosts, switch, env, _):
        words = [str(DRIVER), f"{hosts[0].address}:{PORT}", str(job.out / JOB_FILE), str(HOSTS)]
        driver = subprocess.Popen(hosts[0].command(sys.executable, *words), env=env)
        try:
            assert until(lambda: len(record.steps(path)) >= 30, 180)
            lost = len(list(record.read(path, "lost")))
            switch.cut(1)
            assert until(lambda: len(list(record.read(path, "lost"))) > lost, 120)
            assert driver.wait(180) == 0
        finally:
            driver.kill()
            driver.wait()
    # A busy machine may lose a rank more; what was on the host runs on another in the end.
    assert {"dp=2", "dp=3"} <= set(layouts(path))
    assert open_saved(job.out).step == STEPS
    assert sorted(record.steps(path)) == list(range(STEPS))


def layouts(path: Path) -> list[str]:
    return [event["layout"] for event in record.read(path, "begin")]
