"""Two islands, an outer step between them: one model, learned from all the text."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
psutil = pytest.importorskip("psutil")

from sextant.decoder.config import DecoderConfig  # noqa: E402
from sextant.systems.pretraining import record  # noqa: E402
from sextant.systems.pretraining.islands.serve import launch_islands  # noqa: E402
from sextant.systems.pretraining.islands.terms import Terms  # noqa: E402
from sextant.systems.pretraining.job import RECORD_FILE, Job, Recipe  # noqa: E402
from sextant.systems.pretraining.launch import Patience, launch  # noqa: E402
from sextant.systems.pretraining.prepare import Wish, prepare  # noqa: E402
from sextant.systems.pretraining.saved import open_saved  # noqa: E402
from sextant.systems.pretraining.text import Source  # noqa: E402

STEPS, H = 60, 10


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("islands")
    lines = (f"The {n % 7} ships of {n} saw {n * 3 % 50} gulls.\n" for n in range(6000))
    (folder / "text.txt").write_text("".join(lines))
    wish = Wish(sources=(Source(path=folder / "text.txt"),), num_ids=300, held_fraction=0.1)
    prepare(wish, folder / "tokens", lambda _done, _all: None)
    return Job(
        model=DecoderConfig(
            vocab=300, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=64, context=32
        ),
        data=folder / "tokens",
        out=folder / "run",
        steps=STEPS,
        batch=4,
        sequence=32,
        micro_batch=4,
        recipe=Recipe(learning_rate=3e-3, warmup_steps=5),
        checkpoint_steps=STEPS // 2,
        eval_steps=STEPS,
        threads=1,
        pace_s=0.0,
        outer=Terms(islands=2, inner_steps=H, overlap_steps=3),
    )


def held_loss(out: Path) -> float:
    return list(record.read(out / RECORD_FILE, "held"))[-1]["loss_per_token"]


def kill_second_island(job: Job) -> None:
    """Kills its rank once, in the middle of a round."""
    path = job.out / "island-1" / RECORD_FILE
    until_s = time.monotonic() + 200.0
    while len(record.steps(path)) < H + 3 and time.monotonic() < until_s:
        time.sleep(0.005)
    for child in psutil.Process().children():
        if "island-1" in " ".join(child.cmdline()):
            os.kill(child.pid, signal.SIGKILL)


def test_islands_learn_as_one_and_one_may_die_and_come_back(job: Job) -> None:
    assert job.outer is not None
    striking = threading.Thread(target=kill_second_island, args=(job,), daemon=True)
    striking.start()
    one, two = launch_islands(job, Patience())
    striking.join(5)
    assert len(list(record.read(two / RECORD_FILE, "lost"))) == 1
    ours, theirs = open_saved(one), open_saved(two)
    assert ours.step == theirs.step == STEPS
    for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert torch.equal(a, b)
    parameters = sum(p.numel() for p in ours.model.parameters())
    exchanges = list(record.read(one / RECORD_FILE, "exchange"))
    assert len(exchanges) == STEPS // H
    first, again = record.read(two / RECORD_FILE, "join")
    assert (first["round"], again["round"] >= 1) == (0, True)
    moved = sum(e["sent_bytes"] + e["received_bytes"] for e in exchanges)
    # A synchronous step sends and receives a ring's share of fp32 gradients.
    synchronous = STEPS * 2 * (2 * (2 - 1) / 2 * 4 * parameters)
    assert moved / synchronous < 1 / H + 0.01
    plain = replace(job, out=job.out.with_name("plain"), outer=None, batch=8)
    plain.write()
    launch(plain)
    assert held_loss(one) < 1.1 * held_loss(plain.out)
