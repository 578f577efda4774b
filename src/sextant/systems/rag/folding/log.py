"""What was folded into what: a log beside the index, from which a document can come back.

Each generation that folds or unfolds leaves `folded.msgpack` (for each document that it folded: its
id, what it was folded into, and where it lies in `folded.bin`; and the ids that are folded no
more). Reading them one after the other gives what is folded now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgpack

from sextant.systems.rag.document import Document

_INDEX, _TEXTS = "folded.msgpack", "folded.bin"


@dataclass(frozen=True, slots=True)
class Folded:
    """A document that was folded: into which, how similar they are, and a hash of what it says.

    `exact` says that title and text are the same to the character.
    """

    id: str
    kept: str
    similarity: float
    exact: bool
    content: int


class FoldedLog:
    """What is folded in a generation, and what a change folds and unfolds.

    Args:
        spool: a file for the documents that are folded now, as memory holds none; None folds none.
        folders: what the generations before this one have left, oldest first.
    """

    def __init__(self, spool: Path | None, folders: Sequence[Path] = ()) -> None:
        self._spool = spool
        self._spooled = 0
        if spool is not None:
            spool.write_bytes(b"")
        self._entries: dict[str, Folded] = {}
        self._texts: dict[str, tuple[Path, int, int]] = {}
        self._kept: dict[str, set[str]] = {}
        self._new: set[str] = set()
        self._unfolded: set[str] = set()
        for folder in folders:
            self._read(folder)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Folded]:
        return iter(self._entries.values())

    def get(self, document: str) -> Folded | None:
        """How a document is folded, if it is."""
        return self._entries.get(document)

    @property
    def changed(self) -> bool:
        """Whether anything was folded or unfolded since it was read."""
        return bool(self._new or self._unfolded)

    def fold(self, folded: Folded, document: Document) -> None:
        """Remember a document that is folded now."""
        assert self._spool is not None, "a log that is only read folds nothing"
        self.unfold(folded.id)
        self._add(folded)
        self._new.add(folded.id)
        data = _packed(document)
        with self._spool.open("ab") as stream:
            stream.write(data)
        self._texts[folded.id] = (self._spool, self._spooled, len(data))
        self._spooled += len(data)

    def unfold(self, document: str) -> bool:
        """Forget a document; whether it was folded."""
        entry = self._entries.pop(document, None)
        if entry is None:
            return False
        self._kept[entry.kept].discard(document)
        if document in self._new:
            self._new.discard(document)
        else:
            self._unfolded.add(document)
        return True

    def folded_into(self, kept: Iterable[str]) -> list[Folded]:
        """What is folded into any of these documents, in the order in which it was folded."""
        names = {name for one in kept for name in self._kept.get(one, ())}
        return [entry for name, entry in self._entries.items() if name in names]

    def document(self, folded: Folded) -> Document:
        """A folded document, as it came."""
        return _unpacked(self._bytes(folded.id))

    def write(self, folder: Path, *, whole: bool) -> None:
        """Leave what was folded and unfolded in a folder; or all that is folded now."""
        names = [name for name in self._entries if whole or name in self._new]
        entries = []
        with (folder / _TEXTS).open("wb") as stream:
            for name in names:
                one, data = self._entries[name], self._bytes(name)
                told = (one.id, one.kept, one.similarity, one.exact, one.content)
                entries.append((*told, stream.tell(), len(data)))
                stream.write(data)
        unfolded = [] if whole else sorted(self._unfolded)
        data = msgpack.packb({"folded": entries, "unfolded": unfolded})
        (folder / _INDEX).write_bytes(bytes(data))

    def _read(self, folder: Path) -> None:
        if not (folder / _INDEX).exists():
            return
        value = msgpack.unpackb((folder / _INDEX).read_bytes())
        for name in value["unfolded"]:
            self.unfold(name)
        for *told, start, length in value["folded"]:
            self.unfold(told[0])
            self._add(Folded(*told))
            self._texts[told[0]] = (folder / _TEXTS, start, length)
        self._unfolded.clear()

    def _add(self, folded: Folded) -> None:
        self._entries[folded.id] = folded
        self._kept.setdefault(folded.kept, set()).add(folded.id)

    def _bytes(self, document: str) -> bytes:
        path, start, length = self._texts[document]
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(length)


def _packed(document: Document) -> bytes:
    told = (
        document.id,
        document.title,
        document.text,
        dict(document.fields),
        document.groups,
    )
    return bytes(msgpack.packb(told))


def _unpacked(data: bytes) -> Document:
    name, title, text, fields, groups = msgpack.unpackb(data)
    return Document(name, title, text, fields, tuple(groups))
