"""A lone shard's replicas at one port: the answers, and what is left when one of them dies."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil

from sextant.errors import EngineError
from sextant.fleet import Deadline, Fleet
from sextant.search.door_client import DoorClient
from sextant.search.generations import lease
from sextant.search.nearest import Nearest
from sextant.search.rows import Row
from sextant.search.service import open_local
from sextant.search.vectors import served
from sextant.search.writer import IndexWriter


def published(folder: Path) -> np.ndarray:
    vectors_ND = np.random.default_rng(3).standard_normal((500, 16)).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    with IndexWriter(folder, key="b" * 64, dims=16, num_shards=1, space="s") as writer:
        rows = [Row(f"d{n}", b"", groups=("few",) if n % 2 else ()) for n in range(500)]
        writer.add(rows, vectors_ND)
        writer.publish({})
    return vectors_ND


def replicas() -> set[int]:
    """The hosts of members among this process's descendants."""
    return {
        one.pid
        for one in psutil.Process().children(recursive=True)
        if "sextant.fleet.host" in " ".join(one.cmdline())
    }


def test_replicas_share_a_port_and_one_that_dies_is_not_missed(tmp_path: Path) -> None:
    queries_QD = published(tmp_path / "index")[:40]
    with closing(lease(tmp_path / "index")) as leased:
        gang = open_local(tmp_path / "index", leased.manifest)
        wanted = Nearest(leased.manifest, gang).search(queries_QD, 5, Deadline.after(10))
        gang.close()
    with Fleet.start() as fleet, served(tmp_path / "index", fleet, replicas=2) as door:
        with DoorClient("127.0.0.1", door.port) as client:
            found = client.search_many(queries_QD, 5, deadline_s=10)
        ordinals_QK = np.stack([one.ordinals_K for one in found])
        assert np.array_equal(ordinals_QK, wanted.ordinals_QK)
        # What only few may read is nobody's here.
        assert not (ordinals_QK % 2).any()
        assert all(one.coverage == 1.0 for one in found)
        hosts = replicas()
        assert len(hosts) == 2
        os.kill(hosts.pop(), signal.SIGKILL)
        end_s = time.monotonic() + 10
        answered = 0
        while answered < 10 and time.monotonic() < end_s:
            try:
                with DoorClient("127.0.0.1", door.port) as client:
                    client.search(queries_QD[0], 5, deadline_s=5)
                answered += 1
            except EngineError:
                # It was let in by the one that was just dying.
                continue
        assert answered == 10
