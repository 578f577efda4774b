"""Workers embed as this process does, to the bit, whether or not one of them is killed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from sextant.errors import InputError
from sextant.fleet import Fleet
from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.embed import open_embedder
from sextant.systems.rag.workers import hire


class Killing:
    """A `Progress` that kills a worker once the first block is done."""

    def __init__(self, pid: int) -> None:
        self.pid: int | None = pid

    def stage(self, what: str, total: int | None) -> None:
        self.embedding = what == "embedding" and total is not None

    def advance(self, steps: int = 1) -> None:  # noqa: ARG002
        if self.embedding and self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            self.pid = None


def test_workers_make_the_same_index_though_one_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sextant.systems.rag.blocks.BLOCK_CHUNKS", 8)
    dice = np.random.default_rng(1)
    words = ["tide", "rope", "harbour", "mast", "keel", "gull", "fog", "lamp", "quay", "oar"]
    path = tmp_path / "c.jsonl"
    with path.open("w") as stream:
        for number in range(60):
            text = " ".join(dice.choice(words, dice.integers(3, 120)))
            stream.write(json.dumps({"_id": f"d{number}", "text": f"{number} {text}"}) + "\n")
    corpus, embedder = open_corpus(str(path)), open_embedder()
    own = build_index(corpus, tmp_path / "own", embedder, num_shards=2)
    with Fleet.start() as fleet:
        with pytest.raises(InputError, match="workers"), hire(fleet, embedder, 0):
            pass
        with hire(fleet, embedder, 2) as workers:
            assert workers.num_at_once == 2
            pid = workers.gang.pid("embed/1")
            assert pid is not None
            killing = Killing(pid)
            shared = build_index(
                corpus,
                tmp_path / "shared",
                embedder,
                num_shards=2,
                encoder=workers,
                progress=killing,
            )
    assert killing.pid is None
    assert shared.embedded == own.embedded == 60
    assert [one.files for one in shared.manifest.segments()] == [
        one.files for one in own.manifest.segments()
    ]
