"""What an index remembers of how it was made: its model, and the documents that are in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from sextant.errors import InputError
from sextant.search.directory import Directory
from sextant.search.manifest import Manifest
from sextant.systems.rag.chunk import Chunk, ChunkRule
from sextant.systems.rag.document import Corpus, Document
from sextant.systems.rag.embed import Embedder, open_embedder
from sextant.systems.rag.folding.fold import EXTRA
from sextant.systems.rag.folding.log import FoldedLog
from sextant.systems.rag.model import DEFAULT_MODEL
from sextant.systems.rag.passage import from_row


def embedder_of(manifest: Manifest, model: str | None = None) -> Embedder:
    """The embedder that an index was made with.

    Args:
        manifest: of the index.
        model: the model's folder, where it has moved since.

    Raises:
        InputError: the model is gone, or another one lies there.
        EngineError: an engine or the default model's package is missing.
    """
    name = model or manifest.about.get("model")
    path = None if name == DEFAULT_MODEL else model or manifest.about.get("model_path")
    embedder = open_embedder(path)
    require_model(manifest, embedder)
    return embedder


def require_model(manifest: Manifest, embedder: Embedder) -> None:
    """Refuse a model whose vectors do not compare with those of the index.

    Raises:
        InputError: the index was built with another model.
    """
    if embedder.folder.fingerprint != manifest.space:
        raise InputError(
            f"the index was built with another model ({manifest.about.get('model')})",
            hint="--model with that model's folder, or build the index again",
        )


def rule_of(manifest: Manifest) -> ChunkRule:
    """How the documents of an index are cut."""
    return ChunkRule(**manifest.about["chunking"])


def folded_in(index_dir: Path, manifest: Manifest) -> FoldedLog:
    """The near-duplicates that an index remembers."""
    return FoldedLog(None, [index_dir / one.folder for one in manifest.extras if one.name == EXTRA])


def corpus_of(index_dir: Path, manifest: Manifest) -> Corpus:
    """The documents of an index as a corpus, for embedding them again: text, title, fields, groups.

    Texts are what they were but for white space at their end. Documents come in the order in which
    they were added, then those that are folded.
    """
    return Corpus(
        manifest.about.get("corpus", str(index_dir)),
        lambda _troubles: _documents(index_dir, manifest),
        first_window=rule_of(manifest).first_only,
    )


def _documents(index_dir: Path, manifest: Manifest) -> Iterator[Document]:
    directory = Directory(index_dir, manifest)
    chunks = map(from_row, directory.rows())
    for _, group in groupby(chunks, key=lambda chunk: chunk.document):
        yield _joined(list(group))
    directory.close()
    log = folded_in(index_dir, manifest)
    for folded in log:
        yield log.document(folded)


def _joined(chunks: list[Chunk]) -> Document:
    """The document that was cut into these chunks."""
    first, pieces, reached = chunks[0], list[str](), 0
    for chunk in chunks:
        pieces += [chunk.gap, chunk.text[max(0, reached - chunk.start) :], chunk.rest]
        reached = max(reached, chunk.end)
    return Document(first.document, first.title, "".join(pieces), first.fields, first.groups)
