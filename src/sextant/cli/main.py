"""Finds the command, runs it, and turns what goes wrong into a message and an exit code."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from sextant import __version__
from sextant.errors import SextantError

COMMANDS = (
    "map",
    "plan",
    "budget",
    "explain",
    "facts",
    "probe",
    "rehearse",
    "drill",
    "backtest",
    "calibrate",
    "rag",
    "pretrain",
    "swarm",
)
"""In the order in which a person meets them; each is a module of this package."""

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors look like all others."""

    def error(self, message: str) -> NoReturn:
        """Prints the error with a hint, and exits 2."""
        report(message, where="command line", hint=f"{self.prog} --help")
        raise SystemExit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        0 fine, 1 a bug, 2 wrong input, 3 infeasible, 4 an engine failed, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without ● prints ? for it
        sys.stdout.reconfigure(errors="replace")
    arguments = [argument for argument in arguments if argument != "--debug"]

    def run() -> int:
        args = build_parser(_named(arguments)).parse_args(arguments)
        code: int = args.run(args)
        sys.stdout.flush()
        return code

    return guarded(run, debug=debug)


def guarded(run: Callable[[], int], *, debug: bool) -> int:
    """Runs, and turns an exception into a message and an exit code (raises it if debugging)."""
    try:
        return run()
    except SextantError as error:
        if debug:
            raise
        report(error.what, where=error.where, hint=error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        report("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        report(f"{type(error).__name__}: {error}", hint="a bug; --debug shows where")
        return 1


def _named(arguments: Sequence[str]) -> Sequence[str]:
    """The command that is asked for, if it is plain which; else all, for help or an error."""
    return arguments[:1] if arguments and arguments[0] in COMMANDS else COMMANDS


def build_parser(commands_shown: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser with the commands asked for: each that is left out is a module not imported."""
    parser = Parser(
        prog="sextant",
        description="Plan, rehearse and drill a distributed AI system on six axes.",
        epilog="example: sextant plan atlas:web-scale-rag",
    )
    parser.add_argument("--version", action="version", version=f"sextant {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Parser
    )
    for name in commands_shown:
        importlib.import_module(f"sextant.cli.{name}").add_parser(commands)
    return parser


def report(what: str, *, where: str | None = None, hint: str | None = None) -> None:
    """Prints an error on stderr: what, where, and what to do."""
    place = f"{where}: " if where else ""
    print(f"error: {place}{what}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
