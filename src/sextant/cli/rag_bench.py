"""`sextant rag bench`: what the engine serves on this machine, and Faiss in process beside it."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.units import show_count, show_seconds

_MOST_VECTORS, _MOST_DIMS, _MOST_CLIENTS = 100_000_000, 65_536, 1000
_BESIDE = ("Flat", "IVF{lists},Flat", "HNSW32")
_WANTED_PER_S = 10_000.0
_SubParsers = argparse._SubParsersAction


def add_bench(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    what = "what the plan's index serves of made-up vectors, beside Faiss in process"
    parser = commands.add_parser(
        "bench",
        help=what,
        description=f"Measures {what}.",
        epilog="example: sextant rag bench --vectors 100000 --dims 128",
    )
    numbers = {
        "vectors": (100_000, "vectors"),
        "dims": (128, "of a vector"),
        "clients": (32, "each with one query on its way"),
    }
    for name, (usual, of) in numbers.items():
        text = f"{of} ({usual:,})"
        parser.add_argument(f"--{name}", type=int, default=usual, metavar="N", help=text)
    parser.add_argument("--shards", type=int, metavar="S", help="shards (the plan's)")
    parser.add_argument("--replicas", type=int, metavar="R", help="processes a shard (the plan's)")
    parser.add_argument("--faiss", metavar="KEY", help="kind of index (the plan's)")
    parser.add_argument("--recall", type=float, default=0.95, metavar="R", help="@10 (0.95)")
    parser.add_argument(
        "--seconds", type=float, default=3.0, metavar="T", help="of each measurement (3)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_bench)


def _bench(args: argparse.Namespace) -> int:
    _check(args)
    found = _measured(args)
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    print(f"{found['key']}, {found['shards']} x {found['replicas']}")
    print(
        f"  served to {args.clients} clients  {show_count(found['per_s'])}/s at recall@10 "
        f"{found['recall']:.3f}, p50 {show_seconds(found['p50_s'])}, "
        f"p99 {show_seconds(found['p99_s'])}"
    )
    for key, one in found["faiss"].items():
        print(f"  Faiss {key}  {show_count(one['per_s'])}/s at recall@10 {one['recall']:.3f}")
    return 0


def _measured(args: argparse.Namespace) -> dict[str, Any]:
    from sextant.facts import load_facts
    from sextant.plan.index_choice import IndexDemand, choose_index
    from sextant.search import trial_run

    vectors_ND, queries_QD = trial_run.made_up(args.vectors, args.dims)
    true_QK = trial_run.true_rows(vectors_ND, queries_QD)
    demand = IndexDemand(
        vectors=args.vectors,
        dims=args.dims,
        recall=args.recall,
        memory_bytes=float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        cores=len(os.sched_getaffinity(0)),
        queries_per_s=_WANTED_PER_S,
    )
    choice = choose_index(demand, load_facts())
    key, shards = args.faiss or choice.key, args.shards or choice.shards
    replicas = args.replicas or choice.replicas
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "index"
        mapped = choice.chosen.raw_mapped
        trial_run.build(folder, vectors_ND, key, shards, args.recall, raw_mapped=mapped)
        served = trial_run.serve(folder, queries_QD, true_QK, replicas, args.clients, args.seconds)
    lists = max(1, min(round(args.vectors**0.5), args.vectors // 39))
    beside = {}
    for kind in (one.format(lists=lists) for one in _BESIDE):
        per_s, reached = trial_run.faiss_per_s(
            kind, vectors_ND, queries_QD, true_QK, args.recall, args.seconds
        )
        beside[kind] = {"per_s": per_s, "recall": reached}
    chosen = {"key": key, "shards": shards, "replicas": replicas}
    return {**chosen, **asdict(served), "faiss": beside}


def _check(args: argparse.Namespace) -> None:
    """The numbers.

    Raises:
        InputError: one is out of its bounds.
    """
    bounds = {
        "vectors": (1000, _MOST_VECTORS),
        "dims": (2, _MOST_DIMS),
        "clients": (1, _MOST_CLIENTS),
        "shards": (1, 1024),
        "replicas": (1, 64),
        "recall": (0.5, 1.0),
        "seconds": (0.1, 600.0),
    }
    for name, (least, most) in bounds.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            what = f"must be from {least:,} to {most:,}, not {value}"
            raise InputError(what, where=f"--{name}")
