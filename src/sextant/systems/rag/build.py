"""Building an index: corpus -> chunks -> vectors -> shards, resumable and published in one switch.

Memory stays bounded whatever the corpus: chunks are spilled to a file, embedded a block at a time,
and written to their shards at once. The index that was there serves until the new one is durable.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.search import engine
from sextant.search.change import IndexChange
from sextant.search.generations import BUILDING
from sextant.search.manifest import MANIFEST, Manifest
from sextant.search.segment_writer import disk_error
from sextant.search.verify import verify, verify_extra
from sextant.search.workshop import workshop
from sextant.search.writer import IndexWriter
from sextant.systems.rag import blocks
from sextant.systems.rag.blocks import BlockStore, Encoder, OwnEncoder, embedded
from sextant.systems.rag.chunk import ChunkRule
from sextant.systems.rag.document import Corpus, Troubles
from sextant.systems.rag.embed import Embedder
from sextant.systems.rag.folding import FOLD_AT
from sextant.systems.rag.folding.fold import EXTRA, Folding
from sextant.systems.rag.folding.log import Folded
from sextant.systems.rag.intake import Intake
from sextant.systems.rag.kind import Kind, settled
from sextant.systems.rag.passage import to_row
from sextant.systems.rag.progress import Progress, Silent
from sextant.systems.rag.spill import Spill

MOST_SHARDS = 1024
"""More processes than any one machine serves; each also keeps files open while it is written."""
_MOST_CHUNK_TOKENS = 512
"""A passage is something to be read: a model with a window of thousands gets no longer ones."""
_KEY_VERSION = "rag-build/2"
# Where the model and the corpus lie does not change the index; what is in them does.
_NOT_IN_THE_KEY = ("corpus", "model_path", "folded")


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What a build did.

    Attributes:
        manifest: the index that is current now.
        up_to_date: nothing had to be done.
        embedded: chunks that were embedded in this run.
        reused: chunks whose vectors an earlier, killed run has left.
        folded: near-duplicates that are remembered and not indexed.
        seconds: wall time of the whole build.
        embed_s: wall time of embedding alone.
        troubles: what was skipped or mended in the corpus, one line a kind.
        because: why the index is of its kind, where the plan chose it.
    """

    manifest: Manifest
    up_to_date: bool
    embedded: int = 0
    reused: int = 0
    folded: tuple[Folded, ...] = ()
    seconds: float = 0.0
    embed_s: float = 0.0
    troubles: tuple[str, ...] = ()
    because: tuple[str, ...] = ()


def build_index(
    corpus: Corpus,
    index_dir: Path,
    embedder: Embedder,
    *,
    num_shards: int | None = 1,
    faiss_key: str | None = "Flat",
    overlap_tokens: int = 32,
    first_window: bool | None = None,
    fold_at: float | None = FOLD_AT,
    encoder: Encoder | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Build the index of a corpus in `index_dir`, or go on with a build that was killed there.

    The old index stays current until the new one is durable, and stays on disk as long as anybody
    serves it; the new one may have another model. Building the same again does nothing.

    Args:
        corpus: what `open_corpus` opened.
        index_dir: where the index lives; made if absent.
        embedder: what `open_embedder` opened.
        num_shards: documents are spread over so many, by a hash of their ids; None leaves it to
            the plan.
        faiss_key: a Faiss factory string, for every shard; None leaves it to the plan.
        overlap_tokens: the most that neighbouring chunks share, in whole sentences.
        first_window: index the first window of each document only, as sentence-transformers sees
            it; by default what the corpus says (BEIR's do).
        fold_at: from which similarity on near-duplicates are folded; None keeps all documents.
        encoder: makes the vectors; by default the embedder itself.
        progress: hears how far it is.

    Raises:
        InputError: the corpus or the options are wrong, another build is at work here, or the disk
            refuses.
        EngineError: an engine is missing.
    """
    start_s = time.perf_counter()
    first_only = corpus.first_window if first_window is None else first_window
    rule = chunk_rule(embedder, overlap_tokens, first_only=first_only)
    wish = _wish(corpus, embedder, rule, fold_at, num_shards=num_shards, faiss_key=faiss_key)
    try:
        made = _built(corpus, index_dir, wish, embedder, encoder, progress or Silent())
    except OSError as error:
        raise disk_error(error, index_dir) from error
    return replace(made, seconds=time.perf_counter() - start_s)


def _built(
    corpus: Corpus,
    index_dir: Path,
    wish: _Wish,
    embedder: Embedder,
    encoder: Encoder | None,
    progress: Progress,
) -> BuildReport:
    """Take the corpus in, and make the index of it."""
    troubles = Troubles()
    with workshop(index_dir) as folder:
        with Spill(folder / "chunks.msgpack") as spill:
            folding = Folding(wish.fold_at, folder / "folded.bin") if wish.fold_at else None
            intake = Intake(
                embedder.folder,
                wish.rule,
                spill,
                folding=folding,
                unchanged=None,
                troubles=troubles,
                progress=progress,
            )
            progress.stage("reading and cutting", None)
            intake.take(corpus.documents(troubles))
            made = _make(index_dir, wish, spill, folding, embedder, encoder, progress)
        shutil.rmtree(folder, ignore_errors=True)
    return replace(made, troubles=tuple(troubles.lines()))


def chunk_rule(embedder: Embedder, overlap_tokens: int, *, first_only: bool) -> ChunkRule:
    """How documents are cut for a model."""
    folder = embedder.folder
    spent = folder.num_special_tokens + len(folder.spans(folder.document_prompt))
    window = folder.max_tokens - spent
    if not first_only:
        window = min(window, _MOST_CHUNK_TOKENS)
    return ChunkRule(
        max_tokens=window, overlap_tokens=min(overlap_tokens, window // 4), first_only=first_only
    )


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the index shall be, but for its chunks."""

    num_shards: int | None
    faiss_key: str | None
    rule: ChunkRule
    fold_at: float | None
    about: dict[str, Any]

    def kind(self, num_chunks: int, dims: int) -> Kind:
        """What is wished for, or what the plan says of so many chunks."""
        return settled(num_chunks, dims, faiss_key=self.faiss_key, shards=self.num_shards)

    def key(self, kind: Kind, spill: Spill, folding: Folding | None) -> str:
        """Identifies the build: the same wish over the same documents gives the same index."""
        about = {k: v for k, v in self.about.items() if k not in _NOT_IN_THE_KEY}
        folded = sorted((one.id, one.content) for one in folding.log) if folding else []
        told = [_KEY_VERSION, kind.shards, kind.faiss_key, about, spill.sha256, folded]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _wish(
    corpus: Corpus,
    embedder: Embedder,
    rule: ChunkRule,
    fold_at: float | None,
    *,
    num_shards: int | None,
    faiss_key: str | None,
) -> _Wish:
    """What is wished for, if it can be had.

    Raises:
        InputError: the number of shards or the kind of index cannot.
    """
    if num_shards is not None and not 1 <= num_shards <= MOST_SHARDS:
        hint = f"from 1 to {MOST_SHARDS}"
        raise InputError(f"{num_shards} shards", where="--shards", hint=hint)
    if faiss_key is not None:
        engine.check_key(faiss_key, embedder.dims)
    about = about_index(corpus, embedder, rule, fold_at)
    return _Wish(num_shards, faiss_key, rule, fold_at, about)


def _make(
    index_dir: Path,
    wish: _Wish,
    spill: Spill,
    folding: Folding | None,
    embedder: Embedder,
    encoder: Encoder | None,
    progress: Progress,
) -> BuildReport:
    """Embed and publish, unless the current index is what is wished for, and whole."""
    kind = wish.kind(spill.num_chunks, embedder.dims)
    key = wish.key(kind, spill, folding)
    manifest = _current(index_dir)
    folded = tuple(folding.log) if folding else ()
    if manifest is not None and manifest.key == key and _whole(index_dir, manifest):
        return BuildReport(manifest=manifest, up_to_date=True, folded=folded, because=kind.because)
    store = open_store(index_dir, embedder, encoder)
    with IndexWriter(
        index_dir,
        key=key,
        dims=embedder.dims,
        num_shards=kind.shards,
        space=embedder.folder.fingerprint,
        faiss_key=kind.faiss_key,
        raw_mapped=kind.raw_mapped,
    ) as writer:
        embed_s = fill(writer, store, spill, embedder.dims, progress)
        if folding is not None:
            folding.write(lambda _instead: writer.extra(EXTRA))
        progress.stage("writing shards", kind.shards)
        about = {**wish.about, "folded": len(folded), "plan": kind.as_json()}
        manifest = writer.publish(about, lambda _name: progress.advance())
    return BuildReport(
        manifest=manifest,
        up_to_date=False,
        embedded=store.num_embedded,
        reused=store.num_reused,
        folded=folded,
        embed_s=embed_s,
        because=kind.because,
    )


def open_store(index_dir: Path, embedder: Embedder, encoder: Encoder | None) -> BlockStore:
    """Where the vectors of a build in `index_dir` are kept until it is published."""
    folder = index_dir / BUILDING / "vectors"
    return BlockStore(folder, embedder, encoder or OwnEncoder(embedder))


def fill(
    writer: IndexWriter | IndexChange,
    store: BlockStore,
    spill: Spill,
    dims: int,
    progress: Progress,
) -> float:
    """Embed every chunk and hand it to its shard; returns the seconds that embedding took."""
    progress.stage("embedding", spill.num_chunks)
    windows = spill.windows(blocks.BLOCK_CHUNKS * blocks.WINDOW_BLOCKS)
    start_s = time.perf_counter()
    write_s = 0.0
    for chunks, vectors_ND in embedded(windows, store, dims, progress.advance):
        write_start_s = time.perf_counter()
        writer.add([to_row(chunk) for chunk in chunks], vectors_ND)
        write_s += time.perf_counter() - write_start_s
    return time.perf_counter() - start_s - write_s


def about_index(
    corpus: Corpus, embedder: Embedder, rule: ChunkRule, fold_at: float | None
) -> dict[str, Any]:
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
        "fold_at": fold_at,
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
    """Whether the current index is as it was published."""
    try:
        check(index_dir, manifest)
    except InputError:
        return False
    return True


def check(index_dir: Path, manifest: Manifest) -> None:
    """Read every file of an index through.

    Raises:
        InputError: a file is missing, torn or changed; it is named.
    """
    for segment in manifest.segments():
        verify(index_dir, segment)
    for extra in manifest.extras:
        verify_extra(index_dir, extra)
