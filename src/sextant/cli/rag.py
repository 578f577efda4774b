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

from sextant.cli.rag_answerer import add_answerer_options, opened_answerer
from sextant.cli.rag_bench import add_bench
from sextant.cli.rag_index import add_index
from sextant.cli.rag_serve import add_serve
from sextant.cli.times import TIME_HELP, seconds
from sextant.errors import InputError

if TYPE_CHECKING:
    from sextant.systems.rag.service import Service

_MOST_HITS = 10_000
_LONGEST_DEADLINE_S = 86_400.0
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
    add_index(commands)
    _add_question(commands, "search", "the passages nearest to a question", _search, k=10)
    _add_question(
        commands, "ask", "an answer in the documents' own words, with citations", _ask, k=5
    )
    add_serve(commands)
    _add_eval(commands)
    add_bench(commands)


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
        description=f"Gives {what}. {TIME_HELP}.",
        epilog=f'example: sextant rag {name} "What does yield do?" --index index --deadline 200ms',
    )
    parser.add_argument("question", metavar="QUESTION")
    parser.add_argument("--k", type=int, default=k, metavar="N", help=f"passages ({k})")
    parser.add_argument(
        "--filter",
        metavar="JSON",
        help="only documents whose fields meet it, such as "
        '{"lang": "en", "year": {"gte": 2019, "lt": 2024}}; also in, exists, and, or, not',
    )
    parser.add_argument(
        "--groups",
        metavar="A,B",
        help="only what these groups may read; an empty text is what everybody may (all of it)",
    )
    _add_service_options(parser)
    if name == "ask":
        add_answerer_options(parser)
    parser.set_defaults(run=run)


def _add_eval(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "eval",
        help="BEIR-style evaluation: nDCG@10, recall@100, MRR@10",
        description="Scores an index on queries with judgements, as one who may read all of it. "
        f"{TIME_HELP}.",
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
        "--mode",
        choices=("dense", "lexical", "hybrid"),
        default="hybrid",
        help="by meaning, by words, or by both (hybrid)",
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


def _search(args: argparse.Namespace) -> int:
    from sextant.systems.rag import render

    how = _how(args)
    with _service(args, warm=args.mode != "lexical") as service:
        result = service.search(args.question, **how)
    render.warn(result)
    _print(args, result.as_json(), lambda: render.search_text(result))
    return 0


def _ask(args: argparse.Namespace) -> int:
    from sextant.systems.rag import render

    how = _how(args)
    with _service(args) as service:
        result = service.ask(args.question, **how)
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
        scores = evaluate(
            service,
            queries,
            qrels,
            mode=args.mode,
            deadline_s=_deadline_s(args),
            progress=progress,
        )
    for line in troubles.lines():
        print(f"warning: {line}", file=sys.stderr)
    if args.run_file:
        write_run(Path(args.run_file), scores.rankings)
    _print(args, scores.as_json(), lambda: render.scores_text(scores))
    return 0


@contextmanager
def _service(args: argparse.Namespace, *, warm: bool = True) -> Iterator[Service]:
    """The index of the options, open and warm, its shards here or on a fleet."""
    _deadline_s(args)
    from sextant.systems.rag.service import open_service

    address = args.fleet or os.environ.get("RAY_ADDRESS")
    if address is None:
        with (
            opened_answerer(args, None) as answerer,
            open_service(args.index, model=args.model, answerer=answerer) as service,
        ):
            if warm:
                service.warm()
            yield service
        return
    from sextant.fleet import Fleet
    from sextant.search.manifest import Manifest

    # Not after the fleet's seconds: is there an index at all?
    Manifest.read(Path(args.index))
    with (
        Fleet.start(None if address == "local" else address) as fleet,
        opened_answerer(args, fleet) as answerer,
        open_service(args.index, fleet, model=args.model, answerer=answerer) as service,
    ):
        if warm:
            service.warm()
        yield service


def _k(args: argparse.Namespace) -> int:
    if not 1 <= args.k <= _MOST_HITS:
        raise InputError(f"must be from 1 to {_MOST_HITS}, not {args.k}", where="--k")
    return int(args.k)


def _deadline_s(args: argparse.Namespace) -> float:
    return seconds(args.deadline, "--deadline", most_s=_LONGEST_DEADLINE_S)


def _how(args: argparse.Namespace) -> dict[str, Any]:
    """The options of a question, as the service takes them."""
    from sextant.search.filters import parse_filter

    groups = None if args.groups is None else [one.strip() for one in args.groups.split(",")]
    return {
        "k": _k(args),
        "deadline_s": _deadline_s(args),
        "mode": args.mode,
        "filter": None if args.filter is None else parse_filter(args.filter, "--filter"),
        "groups": groups and [group for group in groups if group],
    }


def _print(args: argparse.Namespace, value: dict[str, Any], text: Callable[[], str]) -> None:
    print(json.dumps(value, ensure_ascii=False) if args.json else text())
