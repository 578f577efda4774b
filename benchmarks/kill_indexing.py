"""`kill -9` of indexing, adding and deleting at random instants: the old index or the new, always.

Each kill is of a process of its own. Half of the instants are spread evenly over the whole of the
work; the other half over its phases, most of which are much too short to be hit otherwise. After
each kill the index is read through, row by row: it must be the old one or the new one to the bit.
Then the same work is done again, and must give the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import Figure
from sextant.errors import InputError
from sextant.search import change, compact, directory, generations, manifest, writer
from sextant.search.rows import pack_row
from sextant.search.stored import vector_blocks
from sextant.systems.rag.build import build_index, check
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.document import Troubles
from sextant.systems.rag.embed import Embedder, open_embedder
from sextant.systems.rag.grow import add_documents, delete_documents

_KILLS = {"index": 26, "add": 14, "delete": 10}
_DOCUMENTS, _MORE, _SHARDS = 30, 8, 3
_SEED = 20261122
_WITHIN_S = 300.0
_START, _DONE = "starting", "done"
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Work:
    """What is done to an index, and what the index is before and after it."""

    name: str
    do: Callable[[Path, Any], object]
    before: Path
    old: str
    new: str
    phases: dict[str, float]
    """Seconds that each phase took when nobody killed it, in their order."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: in which phase, and what was found after it."""

    work: str
    phase: str
    at_s: float
    left: str
    """`old` or `new`; or what was wrong."""
    resumed: bool
    """Whether the same work done again gave the new index."""


class Phases:
    """A `Progress` that says each phase into a pipe; also the short ones of publishing."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def stage(self, what: str, total: int | None) -> None:  # noqa: ARG002
        """See `Progress`."""
        os.write(self._pipe, f"{what}\n".encode())

    def advance(self, steps: int = 1) -> None:
        """See `Progress`."""

    def announce(self, what: str, doing: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, which says first that its phase begins."""

        def announced(*args: Any, **options: Any) -> Any:
            self.stage(what, None)
            return doing(*args, **options)

        return announced


def run() -> list[Figure]:
    """Kills indexing of this Python's own documentation with the default model fifty times."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kills = killed(folder, open_embedder(), _documents(folder), _KILLS, random.Random(_SEED))
    bad = [kill for kill in kills if kill.left not in ("old", "new") or not kill.resumed]
    for kill in bad:
        print(f"  {kill}")
    phases = Counter(f"{kill.work}: {kill.phase}" for kill in kills)
    left = Counter(kill.left for kill in kills)
    return [
        Figure(
            name=f"of {len(kills)} kills, the old index or the new, resumed",
            measured=float(len(kills) - len(bad)),
            unit="",
            bar=f"{len(kills)}",
            held=not bad,
            beside={"left the old": left["old"], "left the new": left["new"]},
        ),
        Figure(
            name="phases in which a kill came",
            measured=float(len(phases)),
            unit="",
            beside={phase: float(num) for phase, num in sorted(phases.items())},
        ),
    ]


def killed(
    folder: Path, embedder: Embedder, corpus: Path, kills: dict[str, int], dice: random.Random
) -> list[Kill]:
    """Kills each kind of work so many times; this process itself never computes, so it can fork."""
    found = []
    for work in _works(folder, embedder, corpus):
        for number in range(kills[work.name]):
            found.append(_kill(folder / "index", work, dice, by_phase=number % 2 == 1))
            print(f"  {found[-1]}", flush=True)
    return found


def _documents(folder: Path) -> Path:
    """Documentation as JSON lines, those to add later last."""
    told = open_corpus("stdlib", limit=_DOCUMENTS + _MORE).documents(Troubles())
    path = folder / "corpus.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for one in told:
            record = {"_id": one.id, "title": one.title, "text": one.text[:4000]}
            stream.write(json.dumps(record) + "\n")
    return path


def _works(folder: Path, embedder: Embedder, corpus: Path) -> list[Work]:
    """The kinds of work, each done once in full to see what it gives and how long it takes."""
    lines = corpus.read_text(encoding="utf-8").splitlines(keepends=True)
    ids = [json.loads(line)["_id"] for line in lines]
    cut = max(2, 4 * len(lines) // 5)
    parts = {"first": lines[: cut // 2], "most": lines[:cut], "more": lines[cut:]}
    paths = {name: folder / f"{name}.jsonl" for name in parts}
    for name, part in parts.items():
        paths[name].write_text("".join(part), encoding="utf-8")

    def index(index_dir: Path, progress: Any, name: str = "most") -> object:
        corpus = open_corpus(str(paths[name]))
        return build_index(corpus, index_dir, embedder, num_shards=_SHARDS, progress=progress)

    def add(index_dir: Path, progress: Any) -> object:
        return add_documents(
            [open_corpus(str(paths["more"]))], index_dir, embedder, progress=progress
        )

    def delete(index_dir: Path, progress: Any) -> object:
        # A third: enough that the shards are compacted.
        return delete_documents(ids[: cut // 3], index_dir, embedder, progress=progress)

    first, most = folder / "before-first", folder / "before-most"
    _finished(lambda progress: index(first, progress, "first"))
    _finished(lambda progress: index(most, progress))
    return [
        _work("index", index, first, folder),
        _work("add", add, most, folder),
        _work("delete", _unless_done(delete), most, folder),
    ]


def _unless_done(delete: Callable[[Path, Any], object]) -> Callable[[Path, Any], object]:
    """Deleting what is deleted is refused, which is what is wanted here."""

    def again(index_dir: Path, progress: Any) -> object:
        try:
            return delete(index_dir, progress)
        except InputError as error:
            if "no such document" not in error.what:
                raise
            return None

    return again


def _work(name: str, do: Callable[[Path, Any], object], before: Path, folder: Path) -> Work:
    trial = folder / f"trial-{name}"
    shutil.copytree(before, trial)
    old = _state(trial)
    phases = _finished(lambda progress: do(trial, progress))
    return Work(name, do, before, old, _state(trial), phases)


def _kill(index_dir: Path, work: Work, dice: random.Random, *, by_phase: bool) -> Kill:
    """Kills the work once, looks at what it left, and does it again."""
    for _ in range(_TRIES):
        shutil.rmtree(index_dir, ignore_errors=True)
        shutil.copytree(work.before, index_dir)
        if by_phase:
            phase = dice.choice(list(work.phases))
            after_s = dice.uniform(0, work.phases[phase])
        else:
            phase, after_s = _START, dice.uniform(0, sum(work.phases.values()))
        start_s = time.perf_counter()
        reached = _killed_child(lambda progress: work.do(index_dir, progress), phase, after_s)
        at_s = time.perf_counter() - start_s
        # It was quicker this time, and done before: that was no kill.
        if reached != _DONE:
            break
    state = _state(index_dir)
    left = {work.old: "old", work.new: "new"}.get(state, state)
    _finished(lambda progress: work.do(index_dir, progress))
    return Kill(work.name, reached, at_s, left, _state(index_dir) == work.new)


def _killed_child(do: Callable[[Any], object], phase: str, after_s: float) -> str:
    """Runs the work in a process that is killed so long after a phase began; where it was then."""
    pid, pipe = _forked(do)
    kill_s = time.monotonic() + after_s if phase == _START else float("inf")
    reached, end_s = _START, time.monotonic() + _WITHIN_S
    while True:
        wait_s = max(0.0, min(kill_s, end_s) - time.monotonic())
        ready, _, _ = select.select([pipe], [], [], wait_s)
        if not ready:
            os.kill(pid, signal.SIGKILL)
            break
        told = os.read(pipe, 65536).decode().split("\n")[:-1]
        if not told:
            reached = _DONE
            break
        if phase in told and kill_s == float("inf"):
            kill_s = time.monotonic() + after_s
        reached = told[-1]
    os.waitpid(pid, 0)
    # What it still said before it was dead.
    while rest := os.read(pipe, 65536).decode().split("\n")[:-1]:
        reached = rest[-1]
    os.close(pipe)
    return reached


def _finished(do: Callable[[Any], object]) -> dict[str, float]:
    """Runs the work in a process to its end; the seconds of each phase."""
    pid, pipe = _forked(do)
    begun = [(_START, time.perf_counter())]
    while told := os.read(pipe, 65536).decode().split("\n")[:-1]:
        begun += [(phase, time.perf_counter()) for phase in told]
    os.close(pipe)
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"the work failed in phase {begun[-1][0]}")
    begun.append(("", time.perf_counter()))
    phases: dict[str, float] = {}
    for (phase, at_s), (_, next_s) in pairwise(begun):
        phases[phase] = phases.get(phase, 0.0) + next_s - at_s
    return phases


def _forked(do: Callable[[Any], object]) -> tuple[int, int]:
    """A child at work, and the pipe into which it says its phases."""
    pipe, mouth = os.pipe()
    pid = os.fork()
    if pid:
        os.close(mouth)
        return pid, pipe
    status = 1
    try:
        progress = Phases(mouth)
        for module in (writer, change, compact):
            module.publish = progress.announce("moving into place", module.publish)  # type: ignore[attr-defined]
        manifest.Manifest.write = progress.announce("switching", manifest.Manifest.write)  # type: ignore[method-assign]
        generations.sweep = progress.announce("sweeping", generations.sweep)
        do(progress)
        status = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(status)


def _state(index_dir: Path) -> str:
    """What an index holds, to the bit: every row in order, with its vector; or what is wrong."""
    ear, mouth = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(mouth, _read_through(index_dir).encode())
        except BaseException as error:  # noqa: BLE001
            os.write(mouth, f"{type(error).__name__}: {error}".encode()[:4000])
        finally:
            os._exit(0)
    os.close(mouth)
    said = b""
    while block := os.read(ear, 4096):
        said += block
    os.close(ear)
    os.waitpid(pid, 0)
    return said.decode()


def _read_through(index_dir: Path) -> str:
    current = manifest.Manifest.read(index_dir)
    check(index_dir, current)
    rows: list[tuple[int, bytes]] = []
    for card in current.segments():
        rows += _rows(index_dir, card, current.dims)
    digest = hashlib.sha256(repr((current.space, current.about["chunking"])).encode())
    for _, row in sorted(rows):
        digest.update(row)
    return digest.hexdigest()


def _rows(index_dir: Path, card: Any, dims: int) -> Sequence[tuple[int, bytes]]:
    """A segment's live rows: ordinal, and row and vector in bytes."""
    segment = directory.SegmentRows(index_dir, card)
    vectors = list(vector_blocks(index_dir / card.folder, dims))
    vectors_ND = np.concatenate(vectors) if vectors else np.empty((0, dims), np.float32)
    told = [
        (ordinal, pack_row(row) + vectors_ND[number].tobytes())
        for number, ordinal, row in segment.live()
    ]
    segment.close()
    return told
