"""Documents added, replaced and deleted in a published index, while it may be served.

What is acknowledged is durable: the change is published before anything is returned. Folding small
segments comes after, and may fail without harm.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from sextant.errors import InputError
from sextant.search.change import IndexChange
from sextant.search.compact import compact
from sextant.search.manifest import Manifest
from sextant.search.segment_writer import disk_error
from sextant.search.workshop import workshop
from sextant.systems.rag.blocks import Encoder
from sextant.systems.rag.build import fill, open_store
from sextant.systems.rag.document import Corpus, Document, Troubles
from sextant.systems.rag.embed import Embedder
from sextant.systems.rag.folding.fold import EXTRA, Folding
from sextant.systems.rag.folding.log import Folded
from sextant.systems.rag.intake import Intake
from sextant.systems.rag.progress import Progress, Silent
from sextant.systems.rag.remembered import embedder_of, require_model, rule_of
from sextant.systems.rag.spill import Spill

_WAIT_S = 10.0
"""For another change to be published; a build takes longer, and is not waited for."""


class NoSuchDocumentError(InputError):
    """The index has none of the documents that were named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeReport:
    """What a change did.

    Attributes:
        manifest: the index that is current now.
        added: documents that are new.
        replaced: documents whose old version is gone.
        deleted: ids of documents that were deleted.
        unchanged: documents that the index had as they came.
        folded: near-duplicates that were folded by this change.
        returned: ids of documents that were folded into what is gone, and are indexed again.
        absent: ids that should have been deleted, but were not in the index.
        embedded: chunks that were embedded in this run.
        reused: chunks whose vectors an earlier, killed run has left.
        seconds: wall time of the change.
        troubles: what was skipped or mended, one line a kind.
    """

    manifest: Manifest
    added: int = 0
    replaced: int = 0
    deleted: tuple[str, ...] = ()
    unchanged: int = 0
    folded: tuple[Folded, ...] = ()
    returned: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    embedded: int = 0
    reused: int = 0
    seconds: float = 0.0
    troubles: tuple[str, ...] = ()


def add_documents(
    corpora: Sequence[Corpus],
    index_dir: Path,
    embedder: Embedder | None = None,
    *,
    keep_duplicates: bool = False,
    encoder: Encoder | None = None,
    progress: Progress | None = None,
) -> ChangeReport:
    """Add documents to an index; one with an id that the index has replaces that one.

    Documents that are in the index as they come cost nothing but their reading. An addition that
    was killed changes nothing; done again, it goes on with the vectors that it had made.

    Args:
        corpora: what to add.
        index_dir: a published index.
        embedder: the index's own model, if it is open already.
        keep_duplicates: fold none of them, whatever the index does otherwise.
        encoder: makes the vectors; by default the embedder itself.
        progress: hears how far it is.

    Raises:
        InputError: there is no index, its model is gone, the corpora hold nothing or cannot be
            read, another process is changing the index, or the disk refuses.
        EngineError: an engine is missing.
    """
    with _changing(index_dir, embedder, encoder, progress or Silent()) as work:
        troubles = work.troubles
        documents = chain.from_iterable(corpus.documents(troubles) for corpus in corpora)
        return work.add(_distinct(documents, troubles), keep_all=keep_duplicates)


def delete_documents(
    ids: Sequence[str],
    index_dir: Path,
    embedder: Embedder | None = None,
    *,
    progress: Progress | None = None,
) -> ChangeReport:
    """Delete documents by their ids. What was folded into one that is deleted is indexed again.

    Args:
        ids: of documents, indexed or folded.
        index_dir: a published index.
        embedder: the index's own model, if it is open already; only needed for folded documents.
        progress: hears how far it is.

    Raises:
        InputError: there is no index, it has none of these documents, another process is changing
            it, or the disk refuses.
        EngineError: an engine is missing.
    """
    with _changing(index_dir, embedder, None, progress or Silent()) as work:
        return work.delete(list(dict.fromkeys(ids)))


@contextmanager
def _changing(
    index_dir: Path, embedder: Embedder | None, encoder: Encoder | None, progress: Progress
) -> Iterator[_Work]:
    """One change of an index, this process alone being at it."""
    # Nothing must be made where there is no index.
    Manifest.read(index_dir)
    try:
        with (
            workshop(index_dir, _WAIT_S) as folder,
            IndexChange(index_dir, Manifest.read(index_dir)) as change,
            Spill(folder / "chunks.msgpack") as spill,
        ):
            yield _Work(index_dir, folder, change, spill, embedder, encoder, progress)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise disk_error(error, index_dir) from error


@dataclass(slots=True)
class _Work:
    """A change on its way."""

    index_dir: Path
    folder: Path
    change: IndexChange
    spill: Spill
    given: Embedder | None
    encoder: Encoder | None
    progress: Progress
    troubles: Troubles = field(default_factory=Troubles)
    start_s: float = field(default_factory=time.perf_counter)
    gone: set[str] = field(default_factory=set)
    _folding: Folding | None = None

    def add(self, documents: Iterator[Document], *, keep_all: bool) -> ChangeReport:
        """Take documents in, and publish."""
        intake = self._intake(self._embedder())
        self.progress.stage("reading and cutting", None)
        intake.take(documents, keep_all=keep_all)
        replaced = {one for one in intake.taken.kept if self.change.find(one)}
        moved = {one for one in intake.taken.folded if self.change.delete(one)}
        self.gone |= replaced | moved
        new = len(intake.taken.kept) - len(replaced)
        returned = self._take_back(lambda: intake)
        report = self._publish(intake)
        return replace(report, added=new, replaced=len(replaced), returned=returned)

    def delete(self, ids: Sequence[str]) -> ChangeReport:
        """Delete documents, and publish."""
        folding = self._folded()
        deleted = [one for one in ids if self.change.delete(one)]
        unfolded = [one for one in ids if folding is not None and folding.log.unfold(one)]
        absent = tuple(one for one in ids if one not in {*deleted, *unfolded})
        if len(absent) == len(ids):
            raise NoSuchDocumentError(
                f"no such document: {', '.join(absent[:10])}",
                where=str(self.index_dir),
                hint="ids are as hits show them: the path in the folder, or the record's own id",
            )
        self.gone |= set(deleted)
        intakes: list[Intake] = []

        def intake() -> Intake:
            intakes.append(self._intake(self._embedder()))
            return intakes[0]

        returned = self._take_back(intake)
        report = self._publish(intakes[0] if intakes else None)
        told = tuple(one for one in ids if one not in absent)
        return replace(report, deleted=told, absent=absent, returned=returned)

    def _take_back(self, intake: Callable[[], Intake]) -> tuple[str, ...]:
        """Take in what was folded into documents that are gone; the ids that are indexed again."""
        folding = self._folded()
        if folding is None:
            return ()
        orphans = folding.log.folded_into(self.gone)
        if not orphans:
            return ()
        documents = [folding.log.document(one) for one in orphans]
        for one in orphans:
            folding.log.unfold(one.id)
        taken = intake()
        taken.take(documents)
        return tuple(one.id for one in orphans if one.id in taken.taken.kept)

    def _publish(self, intake: Intake | None) -> ChangeReport:
        """Embed what was taken in, and make the change current."""
        manifest = self.change.manifest
        embedded = reused = 0
        if intake is not None and self.spill.num_chunks:
            embedder = self._embedder()
            store = open_store(self.index_dir, embedder, self.encoder)
            fill(self.change, store, self.spill, embedder.dims, self.progress)
            embedded, reused = store.num_embedded, store.num_reused
        about = manifest.about
        if (folding := self._folded()) is not None:
            folding.write(lambda instead: self.change.extra(EXTRA, instead=instead))
            about = {**about, "folded": len(folding.log)}
        self.progress.stage("publishing", None)
        made = self._compacted(self.change.publish(about))
        return ChangeReport(
            manifest=made,
            unchanged=intake.taken.unchanged if intake else 0,
            folded=tuple(intake.taken.folded.values()) if intake else (),
            embedded=embedded,
            reused=reused,
            seconds=time.perf_counter() - self.start_s,
            troubles=tuple(self.troubles.lines()),
        )

    def _compacted(self, manifest: Manifest) -> Manifest:
        """The index with its small segments folded, if that can be done now."""
        self.progress.stage("compacting", None)
        try:
            return compact(self.index_dir, manifest)
        except (OSError, InputError) as error:
            self.troubles.note("compaction is put off", str(error))
            return manifest

    def _embedder(self) -> Embedder:
        if self.given is None:
            self.given = embedder_of(self.change.manifest)
        require_model(self.change.manifest, self.given)
        return self.given

    def _folded(self) -> Folding | None:
        manifest = self.change.manifest
        fold_at = manifest.about.get("fold_at")
        if self._folding is None and fold_at is not None:
            spool = self.folder / "folded.bin"
            self._folding = Folding.reopen(
                self.index_dir, manifest, float(fold_at), spool, self._lives
            )
        return self._folding

    def _lives(self, document: str, digest: bytes) -> bool:
        """Whether the index has this version of a document, and the change leaves it there."""
        return document not in self.gone and self._has(document, digest)

    def _has(self, document: str, digest: bytes) -> bool:
        return any(place.entry.digest == digest for place in self.change.find(document))

    def _intake(self, embedder: Embedder) -> Intake:
        return Intake(
            embedder.folder,
            rule_of(self.change.manifest),
            self.spill,
            folding=self._folded(),
            unchanged=self._has,
            troubles=self.troubles,
            progress=self.progress,
        )


def _distinct(documents: Iterator[Document], troubles: Troubles) -> Iterator[Document]:
    """The documents, each id once: two corpora may have the same."""
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            troubles.note("repeated id, skipped", document.id)
            continue
        seen.add(document.id)
        yield document
