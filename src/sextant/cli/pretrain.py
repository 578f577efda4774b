"""`sextant pretrain`: text to tokens, tokens to a language model, and what comes of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sextant.cli.pretrain_show import bar
from sextant.cli.pretrain_train import add_train
from sextant.cli.specs import add_json, print_json
from sextant.errors import InputError

if TYPE_CHECKING:
    from sextant.systems.pretraining.saved import Saved

_SubParsers = argparse._SubParsersAction


def add_parser(subparsers: _SubParsers[argparse.ArgumentParser]) -> None:
    """Adds the command with its own commands to the parser."""
    what = "train a language model on your own text, split in any way"
    parser = subparsers.add_parser(
        "pretrain",
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog="example: sextant pretrain prepare --text books --out tokens && "
        "sextant pretrain train --data tokens --model 10m --out run",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_prepare(commands)
    add_train(commands)
    _add_eval(commands)
    _add_generate(commands)
    _add_export(commands)


def _add_prepare(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "prepare",
        help="make tokens of text",
        description="Tokenizes .txt, .md, .jsonl and .parquet into packed shards; a run that was "
        "killed goes on. A weight is the source's share of what is trained on.",
        epilog="example: sextant pretrain prepare --text books=0.7 web=0.3 --out tokens",
    )
    parser.add_argument(
        "--text", required=True, nargs="+", metavar="PATH[=WEIGHT]", help="files or folders"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where tokens go")
    parser.add_argument("--tokenizer", type=Path, metavar="PATH", help="a tokenizer.json")
    parser.add_argument(
        "--vocab", type=int, default=8192, metavar="N", help="else train one (8192)"
    )
    parser.add_argument(
        "--hold", type=float, default=0.01, metavar="SHARE", help="kept for validation (0.01)"
    )
    add_json(parser)
    parser.set_defaults(run=_prepare)


def _prepare(args: argparse.Namespace) -> int:
    from sextant.systems.pretraining.prepare import Wish
    from sextant.systems.pretraining.prepare import prepare as make
    from sextant.systems.pretraining.text import Source

    wish = Wish(
        sources=tuple(Source.parse(text) for text in args.text),
        num_ids=args.vocab,
        tokenizer=args.tokenizer,
        held_fraction=args.hold,
    )
    with bar("tokenizing") as advance:
        card = make(wish, args.out, advance)
    for trouble in card.troubles:
        print(f"warning: {trouble}", file=sys.stderr)
    if args.hold and not card.tokens("held"):
        print("warning: no text is held back: too few pieces; a larger --hold", file=sys.stderr)
    told = {
        "tokens": card.tokens("train"),
        "held_tokens": card.tokens("held"),
        "vocab": card.num_ids,
        "duplicates": card.duplicates,
        "parts": [
            {"name": p.name, "split": p.split, "tokens": p.tokens, "bytes": p.text_bytes}
            for p in card.parts
        ],
        "out": str(args.out),
    }
    if args.json:
        print_json(told)
    else:
        print(
            f"{told['tokens']:,} tokens to train on, {told['held_tokens']:,} held back, "
            f"of {card.num_ids:,} kinds; {card.duplicates} duplicates left out: {args.out}"
        )
    return 0


def _checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=Path,
        metavar="DIR",
        help="a run's folder (its newest checkpoint), or one checkpoint of it",
    )


def _add_eval(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "eval",
        help="the loss of a checkpoint on text",
        epilog="example: sextant pretrain eval --checkpoint run --text held.txt",
    )
    _checkpoint(parser)
    parser.add_argument("--text", required=True, nargs="+", type=Path, metavar="PATH")
    add_json(parser)
    parser.set_defaults(run=_eval)


def _opened(args: argparse.Namespace) -> Saved:
    """The newest checkpoint that is whole; a person is told if a newer one is not."""
    from sextant.systems.pretraining.saved import open_saved

    saved = open_saved(args.checkpoint)
    for trouble in saved.troubles:
        print(f"warning: {trouble}; step {saved.step} in its place", file=sys.stderr)
    return saved


def _eval(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from sextant.systems.pretraining.saved import evaluate

    found = evaluate(_opened(args), args.text)
    if args.json:
        print_json(asdict(found))
    else:
        print(
            f"{found.loss_per_token:.4f} nats a token, {found.bits_per_byte:.4f} bits a byte, "
            f"over {found.tokens:,} tokens of {found.bytes:,} bytes"
        )
    return 0


def _add_generate(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "generate",
        help="let a checkpoint write on",
        epilog='example: sextant pretrain generate --checkpoint run --prompt "Once" --tokens 100',
    )
    _checkpoint(parser)
    parser.add_argument("--prompt", nargs="+", default=["\n"], metavar="TEXT", help="one or more")
    parser.add_argument("--tokens", type=int, default=100, metavar="N", help="at most (100)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="X", help="0: greedy")
    parser.add_argument("--top-k", type=int, metavar="N")
    parser.add_argument("--top-p", type=float, metavar="P")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    add_json(parser)
    parser.set_defaults(run=_generate)


def _generate(args: argparse.Namespace) -> int:
    from sextant.decoder.generator import Sampling

    if args.tokens < 1:
        raise InputError(f"at least 1, not {args.tokens}", where="--tokens")
    sampling = Sampling(
        temperature=args.temperature, top_k=args.top_k, top_p=args.top_p, seed=args.seed
    )
    from sextant.systems.pretraining.saved import write_on

    texts = write_on(_opened(args), args.prompt, tokens=args.tokens, sampling=sampling)
    if args.json:
        print_json([{"prompt": p, "text": t} for p, t in zip(args.prompt, texts, strict=True)])
    else:
        print("\n---\n".join(p + t for p, t in zip(args.prompt, texts, strict=True)))
    return 0


def _add_export(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "export",
        help="write a checkpoint as a Hugging Face folder",
        description="Llama's layout, or Mixtral's with experts: config.json, safetensors, "
        "tokenizer. `sextant rag ask --answerer hf:DIR` answers with it.",
        epilog="example: sextant pretrain export --checkpoint run --out model",
    )
    _checkpoint(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    add_json(parser)
    parser.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    from sextant.systems.pretraining.saved import export

    saved = _opened(args)
    export(saved, args.out, dtype=args.dtype)
    if args.json:
        print_json({"out": str(args.out), "step": saved.step})
    else:
        print(f"step {saved.step}: {args.out}")
    return 0
