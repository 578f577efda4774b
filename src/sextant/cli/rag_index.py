"""`sextant rag index`, `add`, `delete` and `check`: an index is built, changed and looked over."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.errors import InputError

if TYPE_CHECKING:
    from sextant.systems.rag.blocks import Encoder
    from sextant.systems.rag.document import Corpus
    from sextant.systems.rag.embed import Embedder
    from sextant.systems.rag.records import Columns

_SubParsers = argparse._SubParsersAction
_KINDS = (
    "a folder (links that lead out of it are left out) or a file of .txt, .md, .rst, .html, .pdf, "
    ".jsonl and .parquet, a BEIR folder, or stdlib (the documentation that this Python carries)"
)


def add_index(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    """Adds the commands that make and change an index."""
    _add_index(commands)
    _add_add(commands)
    _add_delete(commands)
    _add_check(commands)


def _add_index(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "index",
        help="build an index, or go on with a build that was killed",
        description="Builds an index; the old one stays current, and is served, until the new one "
        "is durable. Without --corpus it embeds the documents of the index in DIR again, as with "
        "another --model.",
        epilog="example: sextant rag index --corpus ~/notes --out index --shards 4",
    )
    parser.add_argument("--corpus", metavar="PATH", help=_KINDS)
    parser.add_argument("--out", required=True, metavar="DIR", help="where the index lives")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a sentence-transformers model: its folder, or its name in the local cache",
    )
    parser.add_argument("--shards", type=int, metavar="N", help="shards (what the plan says)")
    parser.add_argument(
        "--faiss",
        metavar="KEY",
        help="a Faiss factory key, in one shard unless --shards says more (what the plan chooses "
        "for the passages, and this machine's memory and cores)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="only the first N documents: by path, by line of the file, or for stdlib topics "
        "first, then modules and classes by depth and name",
    )
    parser.add_argument(
        "--window",
        choices=("first", "all"),
        help="index the first window of each document, as BEIR's protocol does, or all of it "
        "(first for a BEIR folder, all for others)",
    )
    _add_reading_options(parser)
    parser.set_defaults(run=_index)


def _add_add(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "add",
        help="add documents to an index, or replace those with the same id",
        description="Adds documents to an index, while it may be served. What the index has "
        "already costs nothing but its reading.",
        epilog="example: sextant rag add --index index ~/notes/today.md",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help=_KINDS)
    parser.add_argument("--index", required=True, metavar="DIR", help="what `rag index` made")
    parser.add_argument("--model", metavar="NAME", help="where the index's model lies now")
    _add_reading_options(parser)
    parser.set_defaults(run=_add)


def _add_delete(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "delete",
        help="delete documents from an index by their ids",
        description="Deletes documents from an index, while it may be served. Near-duplicates that "
        "were folded into one that is deleted are indexed in its place.",
        epilog="example: sextant rag delete --index index notes/old.md",
    )
    parser.add_argument("ids", nargs="+", metavar="ID", help="ids, as hits show them")
    parser.add_argument("--index", required=True, metavar="DIR", help="what `rag index` made")
    parser.add_argument("--model", metavar="NAME", help="where the index's model lies now")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=_delete)


def _add_check(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check",
        help="read every file of an index through, and hold it to its checksum",
        description="Reads every file of an index through. Opening an index reads the small ones.",
        epilog="example: sextant rag check --index index",
    )
    parser.add_argument("--index", required=True, metavar="DIR", help="what `rag index` made")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=_check)


def _add_reading_options(parser: argparse.ArgumentParser) -> None:
    """What building and adding have in common: how documents are read and embedded."""
    for what in ("text", "title", "id"):
        parser.add_argument(
            f"--{what}",
            dest=f"{what}_column",
            metavar="COLUMN",
            help=f"where records (.jsonl, .parquet) have their {what}, if not under a usual name",
        )
    parser.add_argument(
        "--keep-duplicates",
        action="store_true",
        help="index near-duplicates too (they are folded from a similarity of 0.85 on)",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="embed in N processes of a fleet (in this one)"
    )
    parser.add_argument(
        "--fleet", metavar="ADDRESS", help="the Ray cluster of the workers; local starts one"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _index(args: argparse.Namespace) -> int:
    from sextant.systems.rag import render_index
    from sextant.systems.rag.build import build_index
    from sextant.systems.rag.drawn import drawn
    from sextant.systems.rag.embed import open_embedder
    from sextant.systems.rag.folding import FOLD_AT

    corpus, shards, faiss_key = _wanted(args)
    embedder = open_embedder(args.model)
    with drawn() as progress, _encoder(args, embedder) as encoder:
        report = build_index(
            corpus,
            Path(args.out),
            embedder,
            num_shards=shards,
            faiss_key=faiss_key,
            first_window=None if args.window is None else args.window == "first",
            fold_at=None if args.keep_duplicates else FOLD_AT,
            encoder=encoder,
            progress=progress,
        )
    _warn(report.troubles)
    json_ = render_index.build_json(report, args.out)
    _print(args, json_, lambda: render_index.build_text(report, args.out))
    return 0


def _add(args: argparse.Namespace) -> int:
    from sextant.search.manifest import Manifest
    from sextant.systems.rag import render_index
    from sextant.systems.rag.corpus import open_corpus
    from sextant.systems.rag.drawn import drawn
    from sextant.systems.rag.grow import add_documents
    from sextant.systems.rag.remembered import embedder_of

    corpora = [open_corpus(path, columns=_columns(args)) for path in args.paths]
    embedder = embedder_of(Manifest.read(Path(args.index)), args.model)
    with drawn() as progress, _encoder(args, embedder) as encoder:
        report = add_documents(
            corpora,
            Path(args.index),
            embedder,
            keep_duplicates=args.keep_duplicates,
            encoder=encoder,
            progress=progress,
        )
    _warn(report.troubles)
    json_ = render_index.change_json(report, args.index)
    _print(args, json_, lambda: render_index.change_text(report, args.index))
    return 0


def _delete(args: argparse.Namespace) -> int:
    from sextant.search.manifest import Manifest
    from sextant.systems.rag import render_index
    from sextant.systems.rag.drawn import drawn
    from sextant.systems.rag.grow import delete_documents
    from sextant.systems.rag.remembered import embedder_of

    embedder = embedder_of(Manifest.read(Path(args.index)), args.model) if args.model else None
    with drawn() as progress:
        report = delete_documents(args.ids, Path(args.index), embedder, progress=progress)
    absent = [f"no such document: {name}" for name in report.absent]
    _warn((*report.troubles, *absent))
    json_ = render_index.change_json(report, args.index)
    _print(args, json_, lambda: render_index.change_text(report, args.index))
    return 0


def _check(args: argparse.Namespace) -> int:
    from sextant.search.generations import lease
    from sextant.systems.rag import render_index
    from sextant.systems.rag.build import check
    from sextant.systems.rag.remembered import folded_in

    index_dir = Path(args.index)
    leased = lease(index_dir)
    try:
        check(index_dir, leased.manifest)
        folded = tuple(folded_in(index_dir, leased.manifest))
    finally:
        leased.close()
    json_ = render_index.check_json(leased.manifest, args.index, folded)
    _print(args, json_, lambda: render_index.check_text(leased.manifest, args.index, folded))
    return 0


def _wanted(args: argparse.Namespace) -> tuple[Corpus, int | None, str | None]:
    """What shall be indexed, in how many shards and in which kind of index; None is the plan's.

    Raises:
        InputError: there is neither a corpus nor an index to take the documents from, or the
            documents are in the index's folder.
    """
    from sextant.search.manifest import MANIFEST, Manifest
    from sextant.systems.rag.corpus import STDLIB, open_corpus
    from sextant.systems.rag.remembered import corpus_of

    out = Path(args.out)
    if args.corpus is not None:
        corpus_at = Path(args.corpus)
        is_path = args.corpus != STDLIB or corpus_at.exists()
        if is_path and corpus_at.resolve().is_relative_to(out.resolve()):
            hint = "a folder for the index alone"
            raise InputError("the documents are in it", where=f"--out {args.out}", hint=hint)
        corpus = open_corpus(args.corpus, limit=args.limit, columns=_columns(args))
        return corpus, args.shards, args.faiss
    if not (out / MANIFEST).exists():
        raise InputError(
            "there is no index whose documents could be embedded again",
            where=args.out,
            hint="--corpus PATH says what to index",
        )
    manifest = Manifest.read(out)
    corpus = corpus_of(out, manifest)
    shards = len(manifest.shards) if args.shards is None else args.shards
    return corpus, shards, args.faiss or manifest.faiss


def _columns(args: argparse.Namespace) -> Columns:
    from sextant.systems.rag.records import Columns

    return Columns(text=args.text_column, title=args.title_column, id=args.id_column)


@contextmanager
def _encoder(args: argparse.Namespace, embedder: Embedder) -> Iterator[Encoder | None]:
    """The workers, if any are wanted; None embeds in this process."""
    address = args.fleet or os.environ.get("RAY_ADDRESS")
    if args.workers is None and args.fleet is None:
        yield None
        return
    from sextant.fleet import Fleet
    from sextant.systems.rag.workers import hire

    with (
        Fleet.start(None if address == "local" else address) as fleet,
        hire(fleet, embedder, args.workers) as workers,
    ):
        yield workers


def _warn(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)


def _print(args: argparse.Namespace, value: dict[str, Any], text: Callable[[], str]) -> None:
    print(json.dumps(value, ensure_ascii=False) if args.json else text())
