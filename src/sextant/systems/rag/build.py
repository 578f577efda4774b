"""Building an index: corpus -> chunks -> vectors -> shards, resumable and published in one switch.

Memory stays bounded whatever the corpus: chunks are spilled to a file, embedded a block at a time,
and written to their shards at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.search import engine
from sextant.search.manifest import MANIFEST, Manifest
from sextant.search.shard import verify
from sextant.search.writer import BUILDING, IndexWriter
from sextant.systems.rag.blocks import BlockStore
from sextant.systems.rag.chunk import ChunkRule
from sextant.systems.rag.document import Corpus, Troubles
from sextant.systems.rag.embed import Embedder
from sextant.systems.rag.passage import to_row
from sextant.systems.rag.progress import Progress, Silent
from sextant.systems.rag.spill import Spill

MOST_SHARDS = 1024
"""More processes than any one machine serves; each also keeps files open while it is written."""
_KEY_VERSION = "rag-build/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What a build did.

    Attributes:
        manifest: the index that is current now.
        up_to_date: nothing had to be done.
        embedded: chunks that were embedded in this run.
        reused: chunks whose vectors were there already: of an earlier, killed run, or of the same
            text earlier in this one.
        seconds: wall time of the whole build.
        embed_s: wall time of embedding alone.
        troubles: what was skipped or mended in the corpus, one line a kind.
    """

    manifest: Manifest
    up_to_date: bool
    embedded: int = 0
    reused: int = 0
    seconds: float = 0.0
    embed_s: float = 0.0
    troubles: tuple[str, ...] = ()


def build_index(
    corpus: Corpus,
    index_dir: Path,
    embedder: Embedder,
    *,
    num_shards: int = 1,
    faiss_key: str = "Flat",
    overlap_tokens: int = 32,
    first_window: bool | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Build the index of a corpus in `index_dir`, or go on with a build that was killed there.

    The old index stays current until the new one is durable. Building the same again does nothing.

    Args:
        corpus: what `open_corpus` opened.
        index_dir: where the index lives; made if absent.
        embedder: what `open_embedder` opened.
        num_shards: documents are spread over so many, by a hash of their ids.
        faiss_key: a Faiss factory string, for every shard.
        overlap_tokens: the most that neighbouring chunks share, in whole sentences.
        first_window: index the first window of each document only, as sentence-transformers sees
            it; by default what the corpus says (BEIR's do).
        progress: hears how far it is.

    Raises:
        InputError: the corpus or the options are wrong, another build is at work here, or the disk
            refuses.
        EngineError: an engine is missing.
    """
    progress = progress or Silent()
    start_s = time.perf_counter()
    if not 1 <= num_shards <= MOST_SHARDS:
        hint = f"from 1 to {MOST_SHARDS}"
        raise InputError(f"{num_shards} shards", where="--shards", hint=hint)
    engine.check_key(faiss_key, embedder.dims)
    window = embedder.folder.max_tokens - embedder.folder.num_special_tokens
    rule = ChunkRule(
        max_tokens=window,
        overlap_tokens=min(overlap_tokens, window // 4),
        first_only=corpus.first_window if first_window is None else first_window,
    )
    try:
        with _building(index_dir) as workshop:
            spill, troubles = Spill(workshop / "chunks.msgpack"), Troubles()
            progress.stage("reading and cutting", None)
            spill.write(corpus, embedder, rule, troubles, progress)
            wish = _Wish(num_shards, faiss_key, _about(corpus, embedder, rule))
            made = _make(index_dir, wish, spill, embedder, progress)
            shutil.rmtree(workshop, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"cannot write the index: {error.strerror or error}",
            where=str(error.filename or index_dir),
        ) from error
    return replace(made, seconds=time.perf_counter() - start_s, troubles=tuple(troubles.lines()))


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the index shall be, but for its chunks."""

    num_shards: int
    faiss_key: str
    about: dict[str, Any]

    def key(self, chunks_sha256: str) -> str:
        """Identifies the build: the same wish over the same chunks gives the same index."""
        # Where the model and the corpus lie does not change the index; what is in them does.
        about = {k: v for k, v in self.about.items() if k not in ("corpus", "model_path")}
        told = [_KEY_VERSION, self.num_shards, self.faiss_key, about, chunks_sha256]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _make(
    index_dir: Path, wish: _Wish, spill: Spill, embedder: Embedder, progress: Progress
) -> BuildReport:
    """Embed and publish, unless the current index is what is wished for, and whole."""
    key = wish.key(spill.sha256)
    manifest = _current(index_dir)
    if manifest is not None and manifest.key == key and _whole(index_dir, manifest):
        return BuildReport(manifest=manifest, up_to_date=True)
    store = BlockStore(index_dir / BUILDING / "vectors", embedder)
    with IndexWriter(
        index_dir,
        key=key,
        dims=embedder.dims,
        num_shards=wish.num_shards,
        space=embedder.folder.fingerprint,
        faiss_key=wish.faiss_key,
    ) as writer:
        embed_s = _fill(writer, store, spill, progress)
        progress.stage("writing shards", wish.num_shards)
        manifest = writer.publish(wish.about, lambda _name: progress.advance())
    return BuildReport(
        manifest=manifest,
        up_to_date=False,
        embedded=store.num_embedded,
        reused=store.num_reused,
        embed_s=embed_s,
    )


def _fill(writer: IndexWriter, store: BlockStore, spill: Spill, progress: Progress) -> float:
    """Embed every chunk and hand it to its shard; returns the seconds that embedding took."""
    progress.stage("embedding", spill.num_chunks)
    embed_s = 0.0
    for block in spill.blocks():
        start_s = time.perf_counter()
        vectors_ND = store.vectors([chunk.embedded for chunk in block], progress.advance)
        embed_s += time.perf_counter() - start_s
        writer.add([to_row(chunk) for chunk in block], vectors_ND)
    return embed_s


def _about(corpus: Corpus, embedder: Embedder, rule: ChunkRule) -> dict[str, Any]:
    """What the index remembers of how it was made; a searcher needs the model."""
    folder = embedder.folder
    return {
        "corpus": corpus.name,
        "limit": corpus.limit,
        "model": folder.name,
        "model_path": str(folder.path),
        "model_fingerprint": folder.fingerprint,
        "number_format": embedder.number_format,
        "chunking": asdict(rule),
    }


def _current(index_dir: Path) -> Manifest | None:
    if not (index_dir / MANIFEST).exists():
        return None
    try:
        return Manifest.read(index_dir)
    except InputError:
        # A damaged manifest is what building again is for.
        return None


def _whole(index_dir: Path, manifest: Manifest) -> bool:
    """Whether every shard of the current index is as it was published."""
    try:
        for card in manifest.shards:
            verify(index_dir / card.folder, card)
    except InputError:
        return False
    return True


@contextmanager
def _building(index_dir: Path) -> Iterator[Path]:
    """The folder for work in progress, held by this process alone.

    Raises:
        InputError: another process is building here.
    """
    workshop = index_dir / BUILDING
    index_dir.mkdir(parents=True, exist_ok=True)
    with (index_dir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("another build is at work here", where=str(index_dir)) from None
        workshop.mkdir(exist_ok=True)
        yield workshop
