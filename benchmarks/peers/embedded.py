"""One embedded store: built or opened, given the least effort that reaches the recall, timed.

Run by the peers' own Python, which has neither Sextant nor Faiss.
Arguments: NAME FOLDER VECTORS DIMS CLIENTS SECONDS.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

K, RECALL = 10, 0.95
EFFORTS = (16, 24, 32, 40, 48, 56, 64, 80, 96, 128, 160, 200)
Search = Callable[[Any], Any]
Store = tuple[Callable[[int], None], Search]
THREADS = len(os.sched_getaffinity(0))


def hnswlib_store(folder: Path, vectors: Any) -> Store:
    """HNSW with 32 links, searched on all cores."""
    import hnswlib

    index, path = hnswlib.Index("ip", vectors.shape[1]), folder / "hnswlib.bin"
    if path.exists():
        index.load_index(str(path))
    else:
        index.init_index(len(vectors), M=32, ef_construction=80)
        index.add_items(vectors, num_threads=THREADS)
        index.save_index(str(path))
    index.set_num_threads(THREADS)
    return index.set_ef, lambda queries: index.knn_query(queries, K)[0]


def usearch_store(folder: Path, vectors: Any) -> Store:
    """HNSW with 32 links, vectors in half precision, searched on all cores."""
    from usearch.index import Index

    path = folder / "usearch.bin"
    options: dict[str, Any] = {"ndim": vectors.shape[1], "metric": "ip", "dtype": "f16"}
    index = Index(connectivity=32, expansion_add=80, **options)
    if path.exists():
        index.load(str(path))
    else:
        index.add(np.arange(len(vectors)), np.ascontiguousarray(vectors), threads=THREADS)
        index.save(str(path))

    def effort(value: int) -> None:
        index.expansion_search = value

    return effort, lambda queries: index.search(queries, K, threads=THREADS).keys


def lancedb_store(folder: Path, vectors: Any) -> Store:
    """IVF-PQ, refined by whole vectors; a query a call, as its interface has it."""
    import lancedb
    import pyarrow as pa

    connection, dims = lancedb.connect(folder / "lance"), vectors.shape[1]
    names = connection.table_names()
    if "t" in names:
        table = connection.open_table("t")
    else:
        flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        columns = {
            "id": pa.array(np.arange(len(vectors))),
            "vector": pa.FixedSizeListArray.from_arrays(flat, dims),
        }
        table = connection.create_table("t", pa.table(columns))
        table.create_index(
            metric="dot",
            num_partitions=1024,
            num_sub_vectors=dims // 2,
            vector_column_name="vector",
        )
    effort = {"probes": 1}

    def found(query: Any) -> list[int]:
        asked = table.search(query, vector_column_name="vector").distance_type("dot")
        asked = asked.nprobes(effort["probes"]).refine_factor(5).limit(K).select(["id"])
        ids: list[int] = asked.to_arrow()["id"].to_pylist()
        return ids

    return lambda value: effort.update(probes=value), lambda queries: [found(q) for q in queries]


def main() -> None:
    """Prints one line of JSON."""
    name, folder, path, dims, clients, seconds = sys.argv[1:]
    vectors = np.memmap(path, np.float32, "r").reshape(-1, int(dims))
    queries, true = (np.load(Path(folder) / f"{what}.npy") for what in ("queries", "true"))
    set_effort, search = globals()[f"{name}_store"](Path(folder), vectors)
    sample = min(len(true), 200 if name == "lancedb" else len(true))
    reached = 0.0
    for effort in EFFORTS:
        set_effort(effort)
        rows = np.asarray(search(queries[:sample])).astype(np.int64)
        reached = float((rows[:, :, None] == true[:sample, None, :]).any(1).mean())
        if reached >= RECALL:
            break
    times, batch, begin = [], int(clients), time.perf_counter()
    while time.perf_counter() - begin < float(seconds):
        at = (len(times) * batch) % (len(queries) - batch)
        start = time.perf_counter()
        search(queries[at : at + batch])
        times.append(time.perf_counter() - start)
    per_s = len(times) * batch / (time.perf_counter() - begin)
    tail = sorted(times)[int(0.99 * len(times))]
    print(json.dumps({"recall": reached, "per_s": per_s, "p99_s": tail}))


if __name__ == "__main__":
    main()
