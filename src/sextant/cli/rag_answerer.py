"""Who answers `sextant rag ask`: the options, and the answerer that they name."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from sextant.errors import InputError

if TYPE_CHECKING:
    from sextant.fleet import Fleet
    from sextant.systems.rag.answerers import Answerer

_MOST_RANKS = 64


def add_answerer_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--answerer` and what belongs to it."""
    parser.add_argument(
        "--answerer",
        default="extractive",
        metavar="WHO",
        help="extractive: the documents' own sentences; openai:URL: an OpenAI-compatible endpoint, "
        "its key in SEXTANT_ANSWERER_KEY; hf:DIR: a Hugging Face causal model (extractive)",
    )
    parser.add_argument("--answerer-model", metavar="NAME", help="the endpoint's name of the model")
    parser.add_argument(
        "--ranks",
        type=int,
        default=1,
        metavar="N",
        help="processes that an hf model is split over (1)",
    )


@contextmanager
def opened_answerer(args: argparse.Namespace, fleet: Fleet | None) -> Iterator[Answerer]:
    """The answerer of the options, on the fleet or, for several ranks without one, on its own."""
    from sextant.systems.rag.writers import open_answerer

    spec, ranks = getattr(args, "answerer", "extractive"), getattr(args, "ranks", 1)
    if not 1 <= ranks <= _MOST_RANKS:
        raise InputError(f"must be from 1 to {_MOST_RANKS}, not {ranks}", where="--ranks")
    if ranks > 1 and not spec.startswith("hf:"):
        raise InputError("only a model of ours is split over ranks", where="--ranks", hint="hf:DIR")
    with ExitStack() as stack:
        if ranks > 1 and fleet is None:
            from sextant.fleet import Fleet

            fleet = stack.enter_context(Fleet.start())
        model = getattr(args, "answerer_model", None)
        answerer = open_answerer(spec, model=model, ranks=ranks, fleet=fleet)
        yield stack.enter_context(closing(answerer))
