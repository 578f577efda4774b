"""One process that answers over Zenoh: woken, it scans 256 vectors and packs ten rows.

Run as a file by `pace`: `python echo.py NUMBER CONFIG`; it ends when its standard input does.
"""

from __future__ import annotations

import json
import queue
import struct
import sys
import threading
import time
from typing import Any

VECTORS, DIMS, ROWS = 256, 384, 10


def main(number: str, config_text: str) -> None:
    """Serves until standard input ends."""
    import faiss
    import msgpack
    import numpy as np
    import zenoh

    faiss.omp_set_num_threads(1)
    vectors = np.random.default_rng(0).standard_normal((VECTORS, DIMS), np.float32)
    index = faiss.IndexFlatIP(DIMS)
    index.add(vectors)
    config = zenoh.Config()
    for key, value in json.loads(config_text).items():
        config.insert_json5(key, value)
    session = zenoh.open(config)
    name = f"probe/echo/{number}"
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work() -> None:
        while True:
            query = tasks.get()
            start_s = time.perf_counter()
            bytes(query.payload)
            scores, ids = index.search(vectors[:1], ROWS)
            reply = msgpack.packb([scores.tobytes(), ids.tobytes(), [b"x" * 1000] * ROWS])
            took_s = time.perf_counter() - start_s
            query.reply(name, struct.pack("d", took_s) + reply)
            del query

    threading.Thread(target=work, daemon=True).start()
    queryable = session.declare_queryable(name, tasks.put)
    print("ready", flush=True)
    sys.stdin.read()
    del queryable


if __name__ == "__main__":
    main(*sys.argv[1:])
