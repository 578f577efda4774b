"""`kill -9` at some instants of indexing, adding and deleting; the benchmark does fifty."""

from __future__ import annotations

import json
import random
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks.kill_indexing import killed

KILLS = {"index": 4, "add": 3, "delete": 3}


class Folder:
    """Stands in for a `ModelFolder`: tokens are characters' words."""

    name = "hashes"
    path = "nowhere"
    fingerprint = "a" * 32
    max_tokens = 26
    num_special_tokens = 2
    document_prompt = query_prompt = ""

    def spans(self, text: str) -> list[tuple[int, int]]:
        at, spans = 0, []
        for word in text.split(" "):
            spans.append((at, at + len(word)))
            at += len(word) + 1
        return [span for span in spans if span[0] < span[1]]


class Embedder:
    """Vectors out of hashes, slowly enough to be killed at it."""

    number_format = "float32"
    dims = 8
    folder = Folder()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        time.sleep(0.02)
        dice = [np.random.default_rng(zlib.crc32(text.encode())) for text in texts]
        vectors_ND = np.array([one.standard_normal(self.dims) for one in dice], np.float32)
        return vectors_ND.reshape(len(texts), self.dims)


def test_a_kill_leaves_the_old_index_or_the_new_and_resuming_gives_the_new(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    with corpus.open("w") as stream:
        for number in range(30):
            words = " ".join(f"w{number}x{place}" for place in range(40))
            stream.write(json.dumps({"_id": f"d{number}", "title": "", "text": words}) + "\n")
    kills = killed(tmp_path, Embedder(), corpus, KILLS, random.Random(5))
    assert len(kills) == sum(KILLS.values())
    assert {kill.left for kill in kills} <= {"old", "new"}, kills
    assert all(kill.resumed for kill in kills), kills
    # They came at different places, some before the switch.
    assert len({kill.phase for kill in kills}) >= 3
    assert any(kill.left == "old" for kill in kills)
