"""What a run is made of, and what is decided about its ranks."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sextant.decoder.config import SIZES, DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.errors import InfeasibleError, InputError
from sextant.facts import load_facts
from sextant.systems.pretraining import held, record
from sextant.systems.pretraining.auto import auto_layout, shape_of
from sextant.systems.pretraining.job import JOB_FILE, Job, Recipe
from sextant.systems.pretraining.launch import Patience, Signs, Verdict, decide
from sextant.systems.pretraining.ranks import PARTED

JOB = Job(
    model=SIZES["10m"],
    data=Path("/data"),
    out=Path("/out"),
    steps=100,
    batch=16,
    sequence=128,
    layout=Degrees(dp=2, tp=2),
)


def test_a_job_reads_as_it_was_written(tmp_path: Path) -> None:
    job = replace(JOB, out=tmp_path, import_from=Path("/model"))
    job.write()
    assert Job.read(tmp_path / JOB_FILE) == job
    (tmp_path / JOB_FILE).write_text("{}")
    with pytest.raises(InputError, match="damaged"):
        Job.read(tmp_path / JOB_FILE)
    with pytest.raises(InputError, match=r"none.nope\.json: no training here"):
        Job.read(tmp_path / "none" / "nope.json")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"steps": 0}, "job.steps"),
        ({"sequence": 4096}, "job.sequence"),
        ({"dtype": "int8"}, "job.dtype"),
    ],
)
def test_a_job_must_make_sense(change: dict[str, object], where: str) -> None:
    with pytest.raises(InputError) as told:
        replace(JOB, **change)  # type: ignore[arg-type]
    assert told.value.where == where


def test_the_rate_rises_falls_and_ends_at_its_share() -> None:
    recipe = Recipe(learning_rate=1.0, warmup_steps=10, last_share=0.1)
    rates = [recipe.rate(step, 110) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert rates[109] == pytest.approx(0.1, abs=0.001)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert recipe.rate(0, 2) == 1.0  # a run shorter than its warm-up


def signs(
    exits: list[int | None],
    quiet_s: list[float] | None = None,
    *,
    stepped: bool = True,
    losses: int = 0,
    parted_s: float = 0.0,
) -> Signs:
    return Signs(
        exits=exits,
        quiet_s=quiet_s or [0.0] * len(exits),
        stepped=[stepped] * len(exits),
        losses=losses,
        parted_s=parted_s,
    )


@pytest.mark.parametrize(
    ("seen", "verdict", "rank", "why"),
    [
        (signs([None, None]), Verdict.GO_ON, None, ""),
        (signs([0, None]), Verdict.GO_ON, None, ""),
        (signs([0, 0]), Verdict.DONE, None, ""),
        (signs([4, -9]), Verdict.RESTART, 1, "killed by SIGKILL"),
        (signs([None, 4]), Verdict.RESTART, 1, "ended with exit code 4"),
        (signs([PARTED, 4]), Verdict.RESTART, 1, "ended with exit code 4"),
        (signs([PARTED, PARTED]), Verdict.RESTART, 0, "lost another"),
        # The one that they wait for may still be on its way out, or stand.
        (signs([PARTED, None], parted_s=1.0), Verdict.GO_ON, None, ""),
        (
            signs([PARTED, None, None], [0.0, 2.0, 9.0], parted_s=6.0),
            Verdict.RESTART,
            2,
            "is not there for the others",
        ),
        (signs([4, 2]), Verdict.GIVE_UP, 1, "refused its job"),
        (signs([None, None], [1.0, 61.0]), Verdict.RESTART, 1, "no step for 61.0 s"),
        (signs([None, None], [1.0, 61.0], stepped=False), Verdict.GO_ON, None, ""),
        (signs([None, -9], losses=3), Verdict.GIVE_UP, 1, "killed by SIGKILL"),
    ],
)
def test_what_is_decided_about_the_ranks(
    seen: Signs, verdict: Verdict, rank: int | None, why: str
) -> None:
    assert decide(seen, Patience()) == (verdict, rank, why)


def test_a_record_is_made_up_for_after_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.symlink_to("/dev/full")
    writing = record.Record(path)
    writing.write("step", step=1)
    writing.write("trouble", what="full")
    path.unlink()
    writing.write("step", step=2)
    assert [event["kind"] for event in record.read(path)] == ["step", "trouble", "step"]


def test_a_record_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    first = record.Record(path, clock=lambda: 1.0)
    first.write("step", step=0, loss=3.0)
    first.write("step", step=1, loss=2.5)
    with path.open("ab") as stream:
        stream.write(b'{"kind": "step", "step": 2, "lo')
    second = record.Record(path, clock=lambda: 2.0)
    second.write("step", step=1, loss=2.4)
    assert [event["loss"] for event in record.read(path)] == [3.0, 2.5, 2.4]
    assert {step: event["loss"] for step, event in record.steps(path).items()} == {0: 3.0, 1: 2.4}


class Counting:
    """A stream whose id is its place."""

    def __init__(self, length: int) -> None:
        self._ids = np.arange(length)

    def __len__(self) -> int:
        return len(self._ids)

    def window(self, start: int, length: int) -> np.ndarray:
        return self._ids[start : start + length]


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_every_held_token_but_the_first_is_predicted_once(ranks: int) -> None:
    windows = list(held.windows([Counting(21), Counting(8), Counting(1)], 8))
    predicted = []
    for rank in range(ranks):
        for tokens, targets in held.batches(windows, 4, rank, ranks):
            assert tokens.shape == targets.shape == (4 // ranks, 8)
            counts = targets != held.IGNORED
            assert (targets[counts] == tokens[counts] + 1).all()
            predicted += targets[counts].tolist()
    assert sorted(predicted) == sorted([*range(1, 21), *range(1, 8)])


def test_bits_are_counted_over_bytes() -> None:
    found = held.score(loss_sum=80 * math.log(2), tokens=10, num_bytes=40)
    assert found.bits_per_byte == pytest.approx(2.0)
    assert found.loss_per_token == pytest.approx(8 * math.log(2))


def test_the_laws_see_the_same_model() -> None:
    from sextant.decoder.sharding import num_parameters

    experts = DecoderConfig(
        vocab=1000,
        hidden=64,
        layers=4,
        heads=4,
        kv_heads=2,
        head_dim=16,
        ffn=128,
        context=64,
        tied=False,
        experts=8,
        active_experts=2,
        expert_ffn=32,
        shared_experts=1,
        dense_layers=1,
    )
    for config in (*SIZES.values(), experts):
        assert shape_of(config, 64).parameters == num_parameters(config)


def test_auto_takes_the_plans_layout() -> None:
    facts = load_facts()

    def layout(name: str, ranks: int, batch: int) -> Degrees:
        return auto_layout(
            SIZES[name],
            ranks=ranks,
            batch=batch,
            micro_batch=1,
            sequence=1024 if name != "10m" else 512,
            machine="h100-80gb-sxm",
            precision="bf16",
            facts=facts,
        )

    assert layout("10m", 1, 7).ranks == 1
    for name, ranks in (("1b", 8), ("124m", 4), ("10m", 2)):
        assert layout(name, ranks, 64).ranks == ranks
    with pytest.raises(InfeasibleError, match="no layout of 11 ranks"):
        layout("10m", 11, 8)


def test_a_job_says_what_of_the_data_does_not_fit(tmp_path: Path) -> None:
    from sextant.systems.pretraining.tokens import TokensCard

    card = TokensCard(
        key="k",
        dtype="<u2",
        tokenizer_sha256="",
        num_ids=9000,
        end_id=0,
        parts=(),
        duplicates=0,
    )
    with pytest.raises(InputError, match="of 9000 ids, the model knows 8192"):
        JOB.check(card)
    fits = replace(card, num_ids=8192)
    JOB.check(fits)
    assert JOB.identity(fits) != replace(JOB, seed=1).identity(fits)
    assert JOB.identity(fits) == replace(JOB, layout=Degrees(), out=tmp_path).identity(fits)
    assert json.dumps(JOB.layout.describe()) == '"dp=2,tp=2"'


def test_a_rank_ends_with_its_own_exit_code_whatever_its_threads_do(tmp_path: Path) -> None:
    """A thread that is in torch while the interpreter winds up would abort the process."""
    pytest.importorskip("torch")
    rank = """
import runpy, sys, threading, torch

def work():
    while True:
        torch.zeros(1 << 16).sum()

threading.Thread(target=work, daemon=True).start()
runpy.run_module("sextant.systems.pretraining", run_name="__main__")
"""
    command = [sys.executable, "-c", rank, str(tmp_path / "job.json")]
    ended = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert ended.returncode == InputError.exit_code, ended.stderr[-500:].decode()
