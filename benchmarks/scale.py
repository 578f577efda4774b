"""`docs/scale.md`: what is measured on this machine, carried to 100 and 1,000 shards by simulation.

`python -m benchmarks.scale --measure` measures anew, keeps the sample as `docs/scale.json`, and
writes the page and its figure; without `--measure` they are written from the sample that is kept.
Nothing here runs a hundred shards: that is what the page says of every such number.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fan_out import Idle
from benchmarks.scale_model import Sample
from benchmarks.scale_page import figure, page
from sextant.fleet import Deadline, Fleet, Gang, MemberSpec
from sextant.search.merge import merged
from sextant.search.rows import Row
from sextant.search.service import shard_specs
from sextant.search.wire import Mode, Reply, Request
from sextant.search.writer import IndexWriter

DOCS = Path(__file__).parents[1] / "docs"
_POINTS = 400
_ROWS, _DIMS, _K = 20_000, 96, 10
_ASKS, _WARM, _COUNTS, _MERGED = 2_000, 100, (4, 8, 16), (1, 16, 100, 1000)


def measure() -> Sample:
    """Measures one shard alone, fan-outs of members that do nothing, and merging."""
    with Fleet.start() as fleet, tempfile.TemporaryDirectory() as folder:
        alone, search_p50_s, body = _one_shard(fleet, Path(folder))
        fan_out = tuple((count, _idle_p50_s(fleet, count)) for count in _COUNTS)
    model = [one for one in _lines("/proc/cpuinfo") if one.startswith("model name")]
    return Sample(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=f"{len(model)} cores, {model[0].partition(': ')[2].strip()}" if model else "",
        rows=_ROWS,
        dims=_DIMS,
        k=_K,
        alone=tuple(np.quantile(alone, np.linspace(0, 1, _POINTS + 1)).round(7).tolist()),
        search_p50_s=round(search_p50_s, 7),
        fan_out=fan_out,
        merge=tuple((count, _merge_p50_s(body, count)) for count in _MERGED),
    )


def _one_shard(fleet: Fleet, folder: Path) -> tuple[list[float], float, bytes]:
    """What a shard takes that is asked alone, its search by itself, and one of its replies."""
    vectors_ND = np.random.default_rng(5).standard_normal((_ROWS, _DIMS)).astype(np.float32)
    with IndexWriter(folder, key="f" * 64, dims=_DIMS, num_shards=1, space="s") as writer:
        writer.add([Row(f"d{row}", b"payload") for row in range(_ROWS)], vectors_ND)
        manifest = writer.publish({})
    gang = fleet.gang("shard", shard_specs(folder, manifest))
    gang.ready(120)
    took, searched, body = [], [], b""
    for number in range(-_WARM, _ASKS):
        request = Request(space="s", queries_QD=vectors_ND[number, None], k=_K)
        answer = _alone(gang, request.pack())
        if number >= 0:
            took.append(answer.total_s)
            searched.append(answer.handle_s)
            body = answer.body
    gang.close()
    return took, statistics.median(searched), body


def _alone(gang: Gang, body: bytes) -> Any:
    gather = gang.ask(body, Deadline.after(2.0))
    assert gather.full, gather.missing
    return next(iter(gather.answers.values()))


def _idle_p50_s(fleet: Fleet, count: int) -> float:
    factory = f"{Idle.__module__}:{Idle.__name__}"
    gang = fleet.gang("idle", [MemberSpec(name=f"idle/{n}", factory=factory) for n in range(count)])
    gang.ready(60)
    took = []
    for number in range(-_WARM, _ASKS // 2):
        gather = gang.ask(b"", Deadline.after(2.0))
        assert gather.full, gather.missing
        took += [gather.seconds] * (number >= 0)
    gang.close()
    return round(statistics.median(took), 7)


def _merge_p50_s(body: bytes, count: int) -> float:
    """Unpacking and merging so many replies; of one shard all, which costs as much."""
    took = []
    for _ in range(30):
        start_s = time.perf_counter()
        replies = {f"shard/{n}": Reply.unpack(body) for n in range(count)}
        (hits,) = merged(replies, 1, _K, Mode.DENSE)
        took.append(time.perf_counter() - start_s)
        assert len(hits) == _K
    return round(statistics.median(took), 7)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def main() -> None:
    """Writes the page and the figure, from a new sample or the one that is kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure this machine anew")
    if parser.parse_args().measure:
        text = json.dumps(asdict(measure()), indent=1) + "\n"
        (DOCS / "scale.json").write_text(text, encoding="utf-8")
    sample = Sample.read(DOCS / "scale.json")
    (DOCS / "scale.md").write_text(page(sample), encoding="utf-8")
    (DOCS / "scale.svg").write_text(figure(sample), encoding="utf-8")


if __name__ == "__main__":
    main()
