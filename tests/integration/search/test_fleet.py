"""Shards as processes of a fleet answer as threads do, and one that stops is missed in time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np

from sextant.fleet import Deadline, Fleet
from sextant.search.rows import Row
from sextant.search.searcher import Found, Searcher
from sextant.search.service import open_local, shard_specs
from sextant.search.writer import IndexWriter

DEADLINE_S = 1.5


def plain(found: Found) -> list[list[tuple[int, float, Row]]]:
    return [[(hit.ordinal, hit.score, hit.row) for hit in hits] for hits in found.hits]


def test_processes_answer_as_threads_do_and_a_stopped_one_is_missed(tmp_path: Path) -> None:
    dice = np.random.default_rng(11)
    vectors_ND = dice.standard_normal((4000, 32)).astype(np.float32)
    with IndexWriter(tmp_path, key="f" * 64, dims=32, num_shards=4, space="s") as writer:
        writer.add([Row(f"d{row}", b"payload") for row in range(4000)], vectors_ND)
        manifest = writer.publish({})
    queries_QD = dice.standard_normal((200, 32)).astype(np.float32)
    local = open_local(tmp_path, manifest)
    whole = Searcher(manifest, local).search(
        queries_QD, k=10, deadline=Deadline.after(30), space="s"
    )
    local.close()
    with Fleet.start() as fleet:
        gang = fleet.gang("shard", shard_specs(tmp_path, manifest))
        gang.ready(120)
        searcher = Searcher(manifest, gang)
        found = searcher.search(queries_QD, k=10, deadline=Deadline.after(30), space="s")
        assert plain(found) == plain(whole)
        assert found.coverage == found.expected_recall == 1.0
        assert all(answer.handle_s > 0 for answer in found.shards)

        stopped = gang.pid("shard/1")
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        try:
            part = searcher.search(queries_QD, k=10, deadline=Deadline.after(DEADLINE_S), space="s")
        finally:
            os.kill(stopped, signal.SIGCONT)
    assert [missing.member for missing in part.missing] == ["shard/1"]
    assert part.fan_out_s < DEADLINE_S + 0.5
    recall = np.mean(
        [
            len({hit.ordinal for hit in few} & {hit.ordinal for hit in all_}) / 10
            for few, all_ in zip(part.hits, whole.hits, strict=True)
        ]
    )
    assert abs(part.expected_recall - recall) < 0.03
    assert abs(part.coverage - 0.75) < 0.05
