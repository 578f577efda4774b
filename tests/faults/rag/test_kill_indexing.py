"""`kill -9` at some instants of indexing, adding and deleting; the benchmark does fifty."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks.kill_indexing import killed
from tests.word_embedder import WordEmbedder

KILLS = {"index": 4, "add": 3, "delete": 3}


class SlowEmbedder(WordEmbedder):
    """Slow enough to be killed at it."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        time.sleep(0.02)
        return super().encode(texts)


def test_a_kill_leaves_the_old_index_or_the_new_and_resuming_gives_the_new(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    with corpus.open("w") as stream:
        for number in range(30):
            words = " ".join(f"w{number}x{place}" for place in range(40))
            stream.write(json.dumps({"_id": f"d{number}", "title": "", "text": words}) + "\n")
    kills = killed(tmp_path, SlowEmbedder(), corpus, KILLS, random.Random(5))
    assert len(kills) == sum(KILLS.values())
    assert {kill.left for kill in kills} <= {"old", "new"}, kills
    assert all(kill.resumed for kill in kills), kills
    # They came at different places, some before the switch.
    assert len({kill.phase for kill in kills}) >= 3
    assert any(kill.left == "old" for kill in kills)
