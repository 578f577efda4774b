"""Opening a corpus by what its path is: a folder of text, a BEIR folder, a JSONL file, or
`stdlib`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sextant.errors import InputError
from sextant.systems.rag.document import Corpus, Document, Troubles
from sextant.systems.rag.files import read_file, text_files
from sextant.systems.rag.jsonl import read_jsonl
from sextant.systems.rag.stdlib import read_stdlib

STDLIB = "stdlib"


def open_corpus(path: str, *, limit: int | None = None) -> Corpus:
    """The corpus at `path`, or the documentation that this Python carries if it is `stdlib`.

    Ids are paths under the folder, ids of the records, or names such as `stdlib/asyncio.Queue`.
    `limit` keeps the first so many documents in the corpus's own order: sorted paths, order of the
    file, or for `stdlib` topics, then modules and classes by depth and name.

    Raises:
        InputError: the path does not exist, cannot be read, or is of a kind that is not read.
    """
    if limit is not None and limit < 1:
        raise InputError(f"a limit must be at least 1, not {limit}", where="--limit")
    if path == STDLIB and not Path(path).exists():
        return Corpus(STDLIB, lambda _troubles: read_stdlib(), limit)
    where = Path(path)
    try:
        exists, is_folder = where.exists(), where.is_dir()
    except OSError as error:
        raise InputError(f"cannot read the corpus: {error.strerror}", where=path) from error
    if not exists:
        raise InputError(
            "no such corpus", where=path, hint="a folder, a .jsonl file, a BEIR folder, or stdlib"
        )
    if is_folder and (where / "corpus.jsonl").is_file():
        beir = where / "corpus.jsonl"
        return Corpus(path, lambda troubles: read_jsonl(beir, troubles), limit, first_window=True)
    if is_folder:
        return Corpus(path, lambda troubles: _read_folder(where, troubles), limit)
    if where.suffix.lower() in (".jsonl", ".ndjson"):
        return Corpus(path, lambda troubles: read_jsonl(where, troubles), limit)
    return Corpus(path, lambda troubles: _read_one(where, troubles), limit)


def _read_folder(folder: Path, troubles: Troubles) -> Iterator[Document]:
    for path in text_files(folder, troubles):
        name = path.relative_to(folder).as_posix()
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            yield from read_jsonl(path, troubles, prefix=f"{name}#")
        elif (document := read_file(path, name, troubles)) is not None:
            yield document


def _read_one(path: Path, troubles: Troubles) -> Iterator[Document]:
    document = read_file(path, path.name, troubles, strict=True)
    if document is not None:
        yield document
