"""What goes wrong outside: a line of gigabytes, a disk that is full, an index that is damaged."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sextant.errors import InputError
from sextant.search.manifest import FORMAT, MANIFEST, Manifest
from sextant.systems.rag.build import build_index, check
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.grow import add_documents
from sextant.systems.rag.service import open_service

READ = """
import json, sys
from pathlib import Path
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.document import Troubles
troubles = Troubles()
ids = [one.id for one in open_corpus(sys.argv[1]).documents(troubles)]
told = dict(line.split(':') for line in Path('/proc/self/status').read_text().splitlines())
peak_bytes = int(told['VmHWM'].split()[0]) * 1024
print(json.dumps([ids, troubles.lines(), peak_bytes]))
"""


def corpus(tmp_path: Path, numbers: range) -> Any:
    path = tmp_path / f"{numbers.start}-{numbers.stop}.jsonl"
    words = [" ".join(f"w{n}x{place}" for place in range(60)) for n in numbers]
    told = [{"_id": f"d{n}", "text": text} for n, text in zip(numbers, words, strict=True)]
    path.write_text("".join(json.dumps(one) + "\n" for one in told))
    return open_corpus(str(path))


@contextmanager
def disk_of(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond this: the write that would fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_line_of_two_gigabytes_takes_no_such_memory(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    with path.open("wb") as stream:
        stream.write(b'{"_id": "first", "text": "one"}\n{"_id": "huge", "text": "')
        # Sparse: two gigabytes of zeros that lie on no disk.
        stream.seek(2 << 30, 1)
        stream.write(b'"}\n{"_id": "last", "text": "two"}\n')
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    ids, troubles, peak_bytes = json.loads(done.stdout)
    assert ids == ["first", "last"]
    assert troubles == [f"line over 16 MiB, skipped: {path}:2"]
    assert peak_bytes < 400 << 20


@pytest.mark.parametrize("kilobytes", [0, 1, 4, 12, 20, 30])
def test_a_full_disk_leaves_the_old_index_and_says_so(
    tmp_path: Path, embedder: Any, kilobytes: int
) -> None:
    index_dir = tmp_path / "index"
    old = build_index(corpus(tmp_path, range(3)), index_dir, embedder).manifest
    many = corpus(tmp_path, range(100))
    with disk_of(kilobytes << 10), pytest.raises(InputError) as raised:
        build_index(many, index_dir, embedder)
    assert "cannot write the index" in raised.value.what
    assert "free some space" in str(raised.value.hint)
    with disk_of(kilobytes << 10), pytest.raises(InputError, match="cannot write the index"):
        add_documents([many], index_dir, embedder)
    assert Manifest.read(index_dir) == old
    check(index_dir, old)
    with open_service(index_dir, embedder=embedder) as service:
        assert service.search("w1x1", mode="dense").hits
    assert build_index(many, index_dir, embedder).manifest.documents == 100


def test_an_empty_corpus_says_what_is_read(tmp_path: Path, embedder: Any) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "image.png").write_bytes(b"\0")
    with pytest.raises(InputError, match="no document with text") as raised:
        build_index(open_corpus(str(tmp_path / "empty")), tmp_path / "index", embedder)
    assert "image.png" in raised.value.what
    assert ".pdf" in str(raised.value.hint)
    assert not (tmp_path / "index" / MANIFEST).exists()


def test_a_damaged_index_says_how_to_mend_it(tmp_path: Path, embedder: Any) -> None:
    told = corpus(tmp_path, range(5))
    index_dir = tmp_path / "index"
    manifest = build_index(told, index_dir, embedder).manifest
    victim = index_dir / next(manifest.segments()).folder / "rows.bin"
    victim.write_bytes(victim.read_bytes()[:-1])
    for look in (
        lambda: open_service(index_dir, embedder=embedder),
        lambda: check(index_dir, manifest),
    ):
        with pytest.raises(InputError, match=r"torn: rows\.bin") as raised:
            look()
        assert "sextant rag index" in str(raised.value.hint)
    build_index(told, index_dir, embedder)
    open_service(index_dir, embedder=embedder).close()


def test_an_index_of_an_older_format_says_to_build_it_again(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"format": "sextant-index/1", "shards": []}')
    with pytest.raises(InputError, match=f"{FORMAT}, but sextant-index/1") as raised:
        Manifest.read(tmp_path)
    assert "build it again" in str(raised.value.hint)
