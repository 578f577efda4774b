"""`sextant rag`: index documents, search them, ask them, and evaluate both.

A single question starts no fleet: Ray takes seconds to start, the whole question some tens of
milliseconds. The shards are then threads of this process, asked in the same words; `--fleet local`,
`--fleet ADDRESS` or `RAY_ADDRESS` makes them processes of a fleet.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.errors import EngineError, InputError
from sextant.units import SECONDS, parse

if TYPE_CHECKING:
    from sextant.systems.rag.service import Service

_MOST_HITS = 10_000
_SubParsers = argparse._SubParsersAction


def add_parser(subparsers: _SubParsers[argparse.ArgumentParser]) -> None:
    """Adds the command with its own commands to the parser."""
    what = "search and question your own documents over a sharded index"
    parser = subparsers.add_parser(
        "rag",
        help=what,
        description=f"{what[0].upper()}{what[1:]}, offline.",
        epilog="example: sextant rag index --corpus stdlib --out index && "
        'sextant rag ask "How do I parse JSON?" --index index',
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_index(commands)
    _add_question(commands, "search", "the passages nearest to a question", _search, k=10)
    _add_question(
        commands, "ask", "an answer in the documents' own words, with citations", _ask, k=5
    )
    _add_eval(commands)


def _add_index(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "index",
        help="build an index, or go on with a build that was killed",
        description="Builds an index; the old one stays current until the new one is durable.",
        epilog="example: sextant rag index --corpus ~/notes --out index --shards 4",
    )
    parser.add_argument(
        "--corpus",
        required=True,
        metavar="PATH",
        help="a folder of .txt, .md, .rst, .html and .jsonl, a .jsonl file, a BEIR folder, "
        "or stdlib (the documentation that this Python carries)",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where the index lives")
    parser.add_argument("--model", metavar="PATH", help="a local sentence-transformers model")
    parser.add_argument("--shards", type=int, default=1, metavar="N", help="shards (1)")
    parser.add_argument("--faiss", default="Flat", metavar="KEY", help="a Faiss factory key (Flat)")
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
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=_index)


def _add_question(
    commands: _SubParsers[argparse.ArgumentParser],
    name: str,
    what: str,
    run: Callable[[argparse.Namespace], int],
    *,
    k: int,
) -> None:
    parser = commands.add_parser(
        name,
        help=what,
        description=f"Gives {what}.",
        epilog=f'example: sextant rag {name} "What does yield do?" --index index --deadline 200ms',
    )
    parser.add_argument("question", metavar="QUESTION")
    parser.add_argument("--k", type=int, default=k, metavar="N", help=f"passages ({k})")
    _add_service_options(parser)
    parser.set_defaults(run=run)


def _add_eval(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "eval",
        help="BEIR-style evaluation: nDCG@10, recall@100, MRR@10",
        description="Scores an index on queries with judgements.",
        epilog="example: sextant rag eval --index index --queries queries.jsonl "
        "--qrels qrels/test.tsv",
    )
    parser.add_argument("--queries", required=True, metavar="FILE", help="queries.jsonl")
    parser.add_argument("--qrels", required=True, metavar="FILE", help="judgements, tab-separated")
    parser.add_argument("--run", dest="run_file", metavar="FILE", help="write a TREC run file")
    _add_service_options(parser, deadline="60 s")
    parser.set_defaults(run=_eval)


def _add_service_options(parser: argparse.ArgumentParser, deadline: str = "5 s") -> None:
    parser.add_argument("--index", required=True, metavar="DIR", help="what `rag index` made")
    parser.add_argument(
        "--mode", choices=("dense", "lexical", "hybrid"), default="dense", help="(dense)"
    )
    parser.add_argument(
        "--deadline",
        default=deadline,
        metavar="T",
        help=f"shards that answer later are left out ({deadline})",
    )
    parser.add_argument("--model", metavar="PATH", help="where the index's model lies now")
    parser.add_argument(
        "--fleet",
        metavar="ADDRESS",
        help="shards as processes of this Ray cluster; local starts one",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _index(args: argparse.Namespace) -> int:
    from sextant.systems.rag import render
    from sextant.systems.rag.build import build_index
    from sextant.systems.rag.corpus import open_corpus
    from sextant.systems.rag.drawn import drawn
    from sextant.systems.rag.embed import open_embedder

    corpus = open_corpus(args.corpus, limit=args.limit)
    with drawn() as progress:
        report = build_index(
            corpus,
            Path(args.out),
            open_embedder(args.model),
            num_shards=args.shards,
            faiss_key=args.faiss,
            first_window=None if args.window is None else args.window == "first",
            progress=progress,
        )
    for line in report.troubles:
        print(f"warning: {line}", file=sys.stderr)
    _print(args, render.build_json(report, args.out), lambda: render.build_text(report, args.out))
    return 0


def _search(args: argparse.Namespace) -> int:
    from sextant.systems.rag import render

    with _service(args) as service:
        result = service.search(args.question, k=_k(args), deadline_s=_deadline_s(args))
    render.warn(result)
    _print(args, result.as_json(), lambda: render.search_text(result))
    return 0


def _ask(args: argparse.Namespace) -> int:
    from sextant.systems.rag import render

    with _service(args) as service:
        result = service.ask(args.question, k=_k(args), deadline_s=_deadline_s(args))
    render.warn(result)
    _print(args, result.as_json(), lambda: render.answer_text(result))
    return 0


def _eval(args: argparse.Namespace) -> int:
    from sextant.systems.rag import render
    from sextant.systems.rag.beir import read_qrels, read_queries, write_run
    from sextant.systems.rag.document import Troubles
    from sextant.systems.rag.drawn import drawn
    from sextant.systems.rag.evaluate import evaluate

    troubles = Troubles()
    queries = read_queries(Path(args.queries), troubles)
    qrels = read_qrels(Path(args.qrels))
    with _service(args) as service, drawn() as progress:
        scores = evaluate(service, queries, qrels, deadline_s=_deadline_s(args), progress=progress)
    for line in troubles.lines():
        print(f"warning: {line}", file=sys.stderr)
    if args.run_file:
        write_run(Path(args.run_file), scores.rankings)
    _print(args, scores.as_json(), lambda: render.scores_text(scores))
    return 0


@contextmanager
def _service(args: argparse.Namespace) -> Iterator[Service]:
    """The index of the options, open and warm, its shards here or on a fleet."""
    if args.mode != "dense":
        raise EngineError(
            f"{args.mode} search is not part of this version", where="--mode", hint="--mode dense"
        )
    _deadline_s(args)
    from sextant.systems.rag.service import open_service

    address = args.fleet or os.environ.get("RAY_ADDRESS")
    if address is None:
        with open_service(args.index, model=args.model) as service:
            service.warm()
            yield service
        return
    from sextant.fleet import Fleet
    from sextant.search.manifest import Manifest

    # Not after the fleet's seconds: is there an index at all?
    Manifest.read(Path(args.index))
    with (
        Fleet.start(None if address == "local" else address) as fleet,
        open_service(args.index, fleet, model=args.model) as service,
    ):
        service.warm()
        yield service


def _k(args: argparse.Namespace) -> int:
    if not 1 <= args.k <= _MOST_HITS:
        raise InputError(f"must be from 1 to {_MOST_HITS}, not {args.k}", where="--k")
    return int(args.k)


def _deadline_s(args: argparse.Namespace) -> float:
    try:
        seconds = parse(args.deadline, SECONDS)
    except ValueError as error:
        raise InputError(str(error), where="--deadline", hint="such as 200ms or 2 s") from error
    if not 0 < seconds < 86_400:
        raise InputError(
            f"must be above 0 and under a day, not {args.deadline}", where="--deadline"
        )
    return seconds


def _print(args: argparse.Namespace, value: dict[str, Any], text: Callable[[], str]) -> None:
    print(json.dumps(value, ensure_ascii=False) if args.json else text())
