"""Opening a corpus by what its path is: a folder of files, a BEIR folder, one file, or `stdlib`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sextant.errors import InputError
from sextant.systems.rag.document import KINDS, Corpus, Document, Troubles
from sextant.systems.rag.files import LINES, PARQUET, PDF, files_of, leads_out, read_file
from sextant.systems.rag.jsonl import read_jsonl
from sextant.systems.rag.records import Columns
from sextant.systems.rag.stdlib import read_stdlib
from sextant.systems.rag.untrusted.parent import UntrustedReader

STDLIB = "stdlib"


def open_corpus(path: str, *, limit: int | None = None, columns: Columns | None = None) -> Corpus:
    """The corpus at `path`, or the documentation that this Python carries if it is `stdlib`.

    Ids are paths under the folder, ids of the records, or names such as `stdlib/asyncio.Queue`.
    `limit` keeps the first so many documents in the corpus's own order: sorted paths, order of the
    file, or for `stdlib` topics, then modules and classes by depth and name. `columns` names the
    values of JSONL and Parquet records that are the text, the title and the id.

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
            "no such corpus", where=path, hint=f"a folder or a file of {KINDS}, or stdlib"
        )
    named = columns or Columns()
    beir = where / "corpus.jsonl"
    if is_folder and beir.is_file() and not leads_out(beir, where):
        return Corpus(path, lambda troubles: read_jsonl(beir, troubles, columns=named), limit, True)
    if is_folder:
        return Corpus(path, lambda troubles: _read_folder(where, named, troubles), limit)
    return Corpus(path, lambda troubles: _read_one(where, named, troubles), limit)


def _read_folder(folder: Path, columns: Columns, troubles: Troubles) -> Iterator[Document]:
    with UntrustedReader() as untrusted:
        for path in files_of(folder, troubles):
            name = path.relative_to(folder).as_posix()
            kind = path.suffix.lower()
            try:
                if kind in LINES:
                    yield from read_jsonl(path, troubles, prefix=f"{name}#", columns=columns)
                elif kind in PARQUET:
                    for row in untrusted.parquet(path, columns, troubles):
                        yield replace(row, id=f"{name}#{row.id}")
                elif kind in PDF:
                    yield untrusted.pdf(path, name, troubles)
                elif (document := read_file(path, name, troubles)) is not None:
                    yield document
            except InputError as error:
                # One file is not worth the others.
                troubles.note(f"file that {error.what}, skipped", str(path))


def _read_one(path: Path, columns: Columns, troubles: Troubles) -> Iterator[Document]:
    kind = path.suffix.lower()
    if kind in LINES:
        yield from read_jsonl(path, troubles, columns=columns)
        return
    if kind not in PARQUET | PDF:
        document = read_file(path, path.name, troubles, strict=True)
        if document is not None:
            yield document
        return
    with UntrustedReader() as untrusted:
        try:
            if kind in PDF:
                yield untrusted.pdf(path, path.name, troubles)
            else:
                yield from untrusted.parquet(path, columns, troubles)
        except InputError as error:
            raise InputError(error.what, where=str(path), hint=error.hint) from error
