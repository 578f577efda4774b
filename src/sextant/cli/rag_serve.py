"""`sextant rag serve`: the index as a service over HTTP, with its page."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from sextant.cli.rag_answerer import add_answerer_options, opened_answerer
from sextant.cli.times import TIME_HELP, seconds
from sextant.errors import InputError, missing_engine

if TYPE_CHECKING:
    from sextant.fleet import Fleet
    from sextant.systems.rag.serve.router import Settings

_SubParsers = argparse._SubParsersAction
_PORT = 8765
_MOST_PROCESSES = 64
_INTERRUPTED_S = 1.0
"""After Ctrl-C somebody waits at the keyboard."""
_READY_S = 120.0


def add_serve(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    """Adds `serve` to the commands of `rag`."""
    what = "serve an index over HTTP, with a page to ask it"
    parser = commands.add_parser(
        "serve",
        help=what,
        description=f"{what[0].upper()}{what[1:]}. Only this machine is served, unless a token "
        "file is given. SIGTERM finishes what is under way, and exits 0. "
        f"{TIME_HELP}.",
        epilog="example: sextant rag serve --index index --port 8765 --deadline 500ms",
    )
    parser.add_argument("--index", required=True, metavar="DIR", help="what `rag index` made")
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="(127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=_PORT, metavar="P", help=f"0 takes a free one ({_PORT})"
    )
    parser.add_argument(
        "--deadline", default="5 s", metavar="T", help="of a question that names none (5 s)"
    )
    parser.add_argument(
        "--token-file",
        metavar="F",
        help="who may ask: a token a line, then its groups, or * for all; needed beyond loopback",
    )
    parser.add_argument("--model", metavar="PATH", help="where the index's model lies now")
    parser.add_argument(
        "--replicas", type=int, metavar="R", help="processes a shard (as the index was planned)"
    )
    parser.add_argument(
        "--routers",
        type=int,
        default=1,
        metavar="N",
        help="processes that take questions, at ports P, P+1, ... (1); with two none is alone",
    )
    parser.add_argument("--fleet", metavar="ADDRESS", help="shards on this Ray cluster")
    add_answerer_options(parser)
    parser.add_argument(
        "--in-process", action="store_true", help="all in one process: no replicas, no drills"
    )
    parser.add_argument(
        "--log-questions", action="store_true", help="write the questions into the log too"
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object on stdout once it serves"
    )
    parser.set_defaults(run=_serve)


def _serve(args: argparse.Namespace) -> int:
    try:
        from sextant.systems.rag.serve.router import Settings
    except ImportError as error:
        raise missing_engine(error.name or "fastapi", "rag") from None
    from sextant.search.manifest import Manifest
    from sextant.systems.rag.writers import check_answerer

    if args.replicas is None:
        args.replicas = 1 if args.in_process else _planned_replicas(Path(args.index))
    _check(args)
    check_answerer(args.answerer, args.answerer_model)
    settings = Settings(
        index=str(Path(args.index).resolve()),
        model=args.model,
        host=args.host,
        deadline_s=_deadline_s(args),
        token_file=None if args.token_file is None else str(Path(args.token_file).resolve()),
        log=None,
        log_questions=args.log_questions,
        ready_s=_READY_S,
        answerer=args.answerer,
        answerer_model=args.answerer_model,
    )
    _check_access(args, settings)
    # Not after the seconds that the shards take: is there an index at all?
    documents = Manifest.read(Path(args.index)).documents
    with _Ending() as ending:
        alone = args.in_process or _cluster(args)
        with (_alone if alone else _routed)(args, settings, ending) as urls:
            _say(args, urls, documents)
            ending.wait()
    if ending.interrupted:
        raise KeyboardInterrupt
    return 0


class _Ending:
    """SIGTERM and SIGINT: while the server starts they end the command, then they end it in order.

    A second one does not wait for that.
    """

    def __init__(self) -> None:
        self._told: list[int] = []
        self._waiting = threading.Event()
        self._over = threading.Event()

    @property
    def interrupted(self) -> bool:
        """Whether it was Ctrl-C."""
        return self._told[:1] == [signal.SIGINT]

    @property
    def drain_s(self) -> float:
        """How long what is under way may take."""
        from sextant.systems.rag.serve.limits import Limits

        return _INTERRUPTED_S if self.interrupted else Limits().drain_s

    def wait(self) -> None:
        """Until the first signal."""
        self._waiting.set()
        while not self._over.wait(1.0):
            pass

    def __enter__(self) -> _Ending:
        self._before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
        for number in self._before:
            signal.signal(number, self._tell)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _tell(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._told.append(number)
        if len(self._told) == 1 and self._waiting.is_set():
            self._over.set()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(0)


@contextmanager
def _alone(args: argparse.Namespace, settings: Settings, ending: _Ending) -> Iterator[list[str]]:
    """Questions are taken by this process: the shards are its threads, or on a Ray cluster."""
    from sextant.fleet import Fleet
    from sextant.systems.rag.serve.front import Front
    from sextant.systems.rag.serve.journal import Journal
    from sextant.systems.rag.serve.relay import PipeEnd, relay
    from sextant.systems.rag.serve.server import bind

    listener = bind(args.host, args.port)
    with (
        closing(listener),
        relay(sys.stderr) as pipe,
        _fleet_of(args, Fleet) as fleet,
        opened_answerer(args, fleet) as answerer,
        settings.open(fleet, answerer, args.replicas) as service,
    ):
        # Whoever reads stderr may stop reading; no question waits for that.
        journal = Journal(PipeEnd(str(pipe)), questions=settings.log_questions)
        front = Front(service, settings.rules(), listener, journal)
        front.start()
        yield [front.url]
        front.stop(ending.drain_s)


@contextmanager
def _fleet_of(args: argparse.Namespace, kind: type[Fleet]) -> Iterator[Fleet | None]:
    address = _cluster(args)
    if address is None:
        yield None
        return
    with kind.start(address) as fleet:
        yield fleet


@contextmanager
def _routed(args: argparse.Namespace, settings: Settings, ending: _Ending) -> Iterator[list[str]]:
    """The shards and the routers are processes of a fleet, which this one keeps."""
    from dataclasses import replace

    from sextant.fleet import Fleet
    from sextant.systems.rag.serve.front import url_of
    from sextant.systems.rag.serve.journal import Journal
    from sextant.systems.rag.serve.relay import relay
    from sextant.systems.rag.serve.router import ROLE, router_spec
    from sextant.systems.rag.serve.shard_gangs import ShardGangs

    ports = _ports(args)
    journal, index = Journal(sys.stderr), Path(settings.index)
    with (
        relay(sys.stderr) as pipe,
        Fleet.start() as fleet,
        ShardGangs(index, fleet, replicas=args.replicas, ready_s=_READY_S, journal=journal),
    ):
        told, standby = replace(settings, log=str(pipe)), len(ports) > 1
        specs = [router_spec(n, port, told, standby=standby) for n, port in enumerate(ports)]
        routers = fleet.gang(ROLE, specs)
        routers.ready(_READY_S)
        yield [url_of(args.host, port) for port in ports]
        # The shards end after who asks them.
        routers.close(ending.drain_s + _INTERRUPTED_S)


def _ports(args: argparse.Namespace) -> list[int]:
    """A port a router, each free just now.

    Raises:
        InputError: one is taken.
    """
    from sextant.systems.rag.serve.server import bind

    wanted = [args.port + n if args.port else 0 for n in range(args.routers)]
    found = [bind(args.host, port) for port in wanted]
    ports = [int(one.getsockname()[1]) for one in found]
    for one in found:
        one.close()
    return ports


def _planned_replicas(index_dir: Path) -> int:
    """What the plan had for this index when it was built; 1 where nobody planned.

    Raises:
        InputError: there is no index.
    """
    from sextant.search.manifest import Manifest

    plan = Manifest.read(index_dir).about.get("plan", {})
    return max(1, min(int(plan.get("replicas", 1)), _MOST_PROCESSES))


def _check(args: argparse.Namespace) -> None:
    """The numbers, and what goes with what.

    Raises:
        InputError: something does not.
    """
    for name in ("replicas", "routers"):
        if not 1 <= getattr(args, name) <= _MOST_PROCESSES:
            what = f"must be from 1 to {_MOST_PROCESSES}, not {getattr(args, name)}"
            raise InputError(what, where=f"--{name}")
    if not 0 <= args.port < 65_536 - args.routers:
        raise InputError(f"must be from 0 to 65535, not {args.port}", where="--port")
    if args.in_process and (args.replicas > 1 or args.routers > 1 or args.fleet):
        hint = "without --in-process"
        raise InputError("one process is one", where="--in-process", hint=hint)
    if args.ranks > 1 and not (args.in_process or _cluster(args)):
        hint = "--in-process, or --fleet ADDRESS; the ranks are processes there too"
        raise InputError("routers share no model that is split", where="--ranks", hint=hint)
    if args.routers > 1 and _cluster(args):
        hint = "one command a router, on a cluster"
        raise InputError("routers are processes of this machine", where="--routers", hint=hint)


def _check_access(args: argparse.Namespace, settings: Settings) -> None:
    """Refuse to be open to other machines without a token.

    Raises:
        InputError: it would be, or the token file is wrong.
    """
    from sextant.systems.rag.serve.tokens import is_open_to_others

    rules = settings.rules()
    if rules.tokens is None and not rules.loopback:
        raise InputError(
            "whoever can reach the machine could ask without a token",
            where=f"--host {args.host}",
            hint="--token-file FILE with a token of 16 characters or more a line",
        )
    if settings.token_file is not None and is_open_to_others(Path(settings.token_file)):
        path = args.token_file
        print(f"warning: {path}: other users can read it; chmod 600 {path}", file=sys.stderr)


def _deadline_s(args: argparse.Namespace) -> float:
    from sextant.systems.rag.serve.limits import Limits

    longest_s = Limits().longest_deadline_s
    return seconds(args.deadline, "--deadline", most_s=longest_s)


def _cluster(args: argparse.Namespace) -> str | None:
    """The Ray cluster that was asked for."""
    return args.fleet or os.environ.get("RAY_ADDRESS")


def _say(args: argparse.Namespace, urls: list[str], documents: int) -> None:
    """Where it serves, once it does."""
    if args.json:
        print(json.dumps({"urls": urls, "pid": os.getpid(), "documents": documents}), flush=True)
    else:
        print(f"{'  '.join(urls)}  {documents:,} documents; Ctrl-C ends it", flush=True)
