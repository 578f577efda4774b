"""Two ranks write what one writes; in two processes, and as a gang of a fleet."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from ranks_worker import CONFIGS, serve, written

from sextant.decoder import Sampling, open_generator
from sextant.decoder.tensor_parallel import check_ranks
from sextant.errors import InputError
from sextant.fleet import Deadline, Fleet

PROMPTS = ["the cat", "on the mat and the dog", "a", "the wind was quick"]


def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sextant.decoder.tensor_parallel", "sextant.decoder.generate"])
    pipes, workers = [], []
    for rank in range(2):
        ours, theirs = context.Pipe()
        workers.append(
            context.Process(target=serve, args=(rank, 2, str(tmp_path / "store"), theirs))
        )
        workers[-1].start()
        pipes.append(ours)
    told = []
    for _ in CONFIGS:
        for pipe in pipes:
            assert pipe.poll(90), "no answer"
            told.append(pipe.recv())
    for worker in workers:
        worker.join(10)
        assert worker.exitcode == 0
    for name, tokens, held in told:
        alone, whole = written(CONFIGS[name], 0, 1)
        assert tokens == alone, name
        if name == "untied, with biases":
            # Norms are all that both hold whole.
            assert held == pytest.approx(whole / 2, rel=0.02)


def test_a_model_that_does_not_divide_names_who_does() -> None:
    with pytest.raises(InputError) as told:
        check_ranks(CONFIGS["tied"], 3)
    assert "3 ranks do not divide 4 heads" in str(told.value)
    assert told.value.hint == "ranks that do: 1, 2"


def test_a_gang_writes_what_one_process_writes(fleet: Fleet, small: Path) -> None:
    drawn = Sampling(temperature=0.8, top_p=0.9, seed=3)
    with open_generator(small) as alone, open_generator(small, fleet=fleet, ranks=2) as gang:
        for sampling in (Sampling(), drawn):
            here = alone.generate(
                PROMPTS, max_new_tokens=30, deadline=Deadline.after(60), sampling=sampling
            )
            there = gang.generate(
                PROMPTS, max_new_tokens=30, deadline=Deadline.after(60), sampling=sampling
            )
            assert [one.tokens for one in there] == [one.tokens for one in here]
            assert [one.text for one in there] == [one.text for one in here]
        pieces = list(gang.stream(PROMPTS[0], max_new_tokens=30, deadline=Deadline.after(60)))
        streamed = alone.stream(PROMPTS[0], max_new_tokens=30, deadline=Deadline.after(60))
        assert "".join(p.text for p in pieces) == "".join(p.text for p in streamed)
