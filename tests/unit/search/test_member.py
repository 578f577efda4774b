"""A shard's member goes from one generation to the next without a query that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sextant.errors import InputError
from sextant.fleet import Deadline, Ledger
from sextant.search import verify
from sextant.search.change import IndexChange
from sextant.search.manifest import MANIFESTS, Manifest
from sextant.search.member import LET_GO_AFTER_S, OPEN, OPENING, PROBE, REFUSED, ShardMember
from sextant.search.rows import unpack_row
from sextant.search.wire import Reply, Request

Build = Callable[..., tuple[Path, Manifest]]
Start = Callable[..., ShardMember]


class Clock:
    """A clock that a test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a member, which is closed at the end."""
    started = []

    def make(index_dir: Path, manifest: Manifest, **options: object) -> ShardMember:
        member = ShardMember(str(index_dir), "shard/0", manifest.generation, **options)
        member.ledger = Ledger()
        started.append(member)
        member.warm()
        return member

    yield make
    for member in started:
        member.close()


def asked(
    member: ShardMember, generation: str, queries_QD: np.ndarray, within_s: float = 5
) -> Reply:
    request = Request(space="test-space", queries_QD=queries_QD, k=1, generation=generation)
    return Reply.unpack(member.handle(request.pack(), Deadline.after(within_s)))


def probed(member: ShardMember, generation: str) -> None:
    """Asks until the generation is open."""
    for _ in range(200):
        said = member.handle(PROBE + generation.encode(), Deadline.after(5))
        if said == OPEN:
            return
        assert said == OPENING
    raise AssertionError("never opened")


def without(index_dir: Path, manifest: Manifest, document: str) -> Manifest:
    with IndexChange(index_dir, manifest) as change:
        assert change.delete(document)
        return change.publish()


def first_document(reply: Reply) -> str:
    return unpack_row(reply.rows[0]).document


def test_two_generations_are_served_side_by_side(
    vectors: np.ndarray, build: Build, start: Start
) -> None:
    index_dir, old = build(vectors, 1)
    member = start(index_dir, old)
    new = without(index_dir, old, "doc-1")
    probed(member, new.generation)
    assert first_document(asked(member, old.generation, vectors[2:3])) == "doc-1"
    assert first_document(asked(member, new.generation, vectors[2:3])) != "doc-1"
    # Neither was opened twice: what did not change is shared.
    held = [member._held[one.generation].shard for one in (old, new)]
    assert held[0].parts[0].segment is held[1].parts[0].segment


def test_a_query_may_be_the_first_to_name_a_generation(
    vectors: np.ndarray, build: Build, start: Start
) -> None:
    index_dir, old = build(vectors, 1)
    member = start(index_dir, old)
    new = without(index_dir, old, "doc-1")
    assert first_document(asked(member, new.generation, vectors[2:3])) != "doc-1"
    with pytest.raises(InputError, match="gone"):
        asked(member, "no-such", vectors[:1])


def test_a_generation_that_nobody_asks_for_is_let_go(
    vectors: np.ndarray, build: Build, start: Start
) -> None:
    index_dir, old = build(vectors, 1)
    clock = Clock()
    member = start(index_dir, old, clock=clock)
    new = without(index_dir, old, "doc-1")
    probed(member, new.generation)
    assert (index_dir / MANIFESTS / f"{old.generation}.json").exists()
    clock.now_s = LET_GO_AFTER_S / 2
    asked(member, old.generation, vectors[:1])
    clock.now_s = LET_GO_AFTER_S * 1.2
    asked(member, new.generation, vectors[:1])
    assert (index_dir / MANIFESTS / f"{old.generation}.json").exists()
    clock.now_s = LET_GO_AFTER_S * 2
    asked(member, new.generation, vectors[:1])
    assert [path.stem for path in (index_dir / MANIFESTS).iterdir()] == [new.generation]


def test_a_member_that_starts_late_serves_what_there_is(
    vectors: np.ndarray, build: Build, start: Start
) -> None:
    index_dir, old = build(vectors, 1)
    new = without(index_dir, old, "doc-1")
    assert not (index_dir / MANIFESTS / f"{old.generation}.json").exists()
    member = start(index_dir, old)
    assert first_document(asked(member, new.generation, vectors[2:3])) != "doc-1"


def test_a_torn_generation_is_refused_and_the_old_one_serves_on(
    vectors: np.ndarray, build: Build, start: Start
) -> None:
    index_dir, old = build(vectors, 1)
    member = start(index_dir, old)
    with IndexChange(index_dir, old) as change:
        change.add([unpack_row(asked(member, "", vectors[:1]).rows[0])], vectors[:1])
        new = change.publish()
    (index_dir / new.shards[0].segments[1].folder / "rows.bin").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(InputError, match=r"shard/0.*torn: rows\.bin"):
            asked(member, new.generation, vectors[:1])
    said = member.handle(PROBE + new.generation.encode(), Deadline.after(5))
    assert said.startswith(REFUSED + b"shard/0")
    assert first_document(asked(member, old.generation, vectors[:1])) == "doc-0"


def test_files_too_large_to_check_at_once_are_checked_behind(
    vectors: np.ndarray, build: Build, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "QUICK_BYTES", 1000)
    index_dir, manifest = build(vectors, 1)
    path = index_dir / manifest.shards[0].segments[0].folder / "vectors.faiss"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    member = start(index_dir, manifest)

    def ask_on() -> None:
        end_s = time.monotonic() + 10
        while time.monotonic() < end_s:
            asked(member, manifest.generation, vectors[:1])

    with pytest.raises(InputError, match=r"shard/0.*corrupt: vectors\.faiss"):
        ask_on()
