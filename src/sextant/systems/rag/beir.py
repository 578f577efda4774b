"""BEIR's queries and judgements in, TREC run files out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sextant.errors import InputError
from sextant.systems.rag.document import Troubles
from sextant.systems.rag.jsonl import records

Qrels = dict[str, dict[str, int]]
Ranking = Sequence[tuple[str, float]]


def read_queries(path: Path, troubles: Troubles) -> dict[str, str]:
    """The queries of a `queries.jsonl`, by id.

    Raises:
        InputError: the file cannot be read or holds no query.
    """
    queries = {}
    for number, record in records(path, troubles):
        name, text = record.get("_id", record.get("id")), record.get("text")
        if name is None or not isinstance(text, str) or not text.strip():
            troubles.note("record without an id and a text, skipped", f"{path}:{number}")
            continue
        queries[str(name)] = text
    if not queries:
        raise InputError(
            "no queries here", where=str(path), hint='lines of {"_id": ..., "text": ...}'
        )
    return queries


def read_qrels(path: Path) -> Qrels:
    """Judgements by query and document: BEIR's three columns with a header, or TREC's four without.

    Raises:
        InputError: the file cannot be read, or a line is of neither form.
    """
    qrels: Qrels = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path)) from error
    for number, line in enumerate(lines, start=1):
        columns = line.split("\t") if "\t" in line else line.split()
        if not columns or (number == 1 and not _is_int(columns[-1])):
            continue
        if len(columns) not in (3, 4) or not _is_int(columns[-1]):
            raise InputError(
                "not a judgement",
                where=f"{path}:{number}",
                hint="query-id, corpus-id and score, with tabs between",
            )
        document = columns[1] if len(columns) == 3 else columns[2]
        qrels.setdefault(columns[0], {})[document] = int(columns[-1])
    if not qrels:
        raise InputError("no judgements here", where=str(path))
    return qrels


def write_run(path: Path, rankings: Mapping[str, Ranking], tag: str = "sextant") -> None:
    """Write a TREC run file: query, Q0, document, rank, score, tag.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8") as stream:
            for query, ranking in rankings.items():
                for rank, (document, score) in enumerate(ranking, start=1):
                    # White space separates the columns, so an id may not hold any.
                    name = "_".join(document.split())
                    stream.write(f"{query} Q0 {name} {rank} {score:.6f} {tag}\n")
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=str(path)) from error


def _is_int(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True
