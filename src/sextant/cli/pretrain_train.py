"""`sextant pretrain train`: starts or resumes a training, and shows how it goes."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sextant.cli.pretrain_islands import add_islands, harbour_place, serve, terms_of
from sextant.cli.pretrain_resume import changed, check_resumed, with_defaults
from sextant.cli.pretrain_show import bar, curve, summary, ticker
from sextant.cli.specs import add_json, print_json
from sextant.errors import InputError

if TYPE_CHECKING:
    from sextant.decoder.config import DecoderConfig
    from sextant.decoder.mesh import Degrees
    from sextant.systems.pretraining.elastic import Elastic
    from sextant.systems.pretraining.job import Job
    from sextant.systems.pretraining.tokens import TokensCard

_SubParsers = argparse._SubParsersAction

_LEAST_STALL_S, _MOST_STALL_S = 1.0, 86_400.0


def add_train(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "train",
        help="train, or go on with a training",
        description="Trains a decoder on prepared tokens. Any layout gives the same model. A lost "
        "rank is started again from the newest checkpoint; --resume goes on with a run that ended, "
        "in another layout if asked. Under torchrun: "
        "torchrun --nproc-per-node N -m sextant.systems.pretraining DIR/job.json",
        epilog="example: sextant pretrain train --data tokens --model 10m --out run --steps 1000",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, metavar="DIR", help="what `prepare` wrote")
    source.add_argument(
        "--text", nargs="+", metavar="PATH", help="text, prepared into OUT-tokens beside OUT first"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the run's folder")
    parser.add_argument(
        "--model", metavar="SIZE", help="10m, 124m, 1b, or a TOML file with [model] (10m)"
    )
    parser.add_argument(
        "--import",
        dest="imported",
        type=Path,
        metavar="DIR",
        help="begin with a Hugging Face model",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument(
        "--layout", metavar="auto|LAYOUT", help="such as dp=2,tp=2; auto is the plan's (auto)"
    )
    parser.add_argument("--ranks", type=int, metavar="N", help="for auto: devices (all, or 1)")
    parser.add_argument(
        "--launch", default="python", choices=("python", "fleet"), help="who starts the ranks"
    )
    parser.add_argument("--fleet", metavar="ADDRESS", help="a running Ray cluster")
    parser.add_argument("--steps", type=int, metavar="N", help="(once through the tokens)")
    parser.add_argument(
        "--tensorboard", action="store_true", help="also write OUT/tensorboard as it goes"
    )
    _add_shape(parser)
    add_islands(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def _add_shape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, metavar="N", help="sequences a step (32)")
    parser.add_argument("--sequence", type=int, metavar="N", help="tokens (the model's context)")
    parser.add_argument("--micro-batch", type=int, metavar="N", help="sequences at once, a rank")
    parser.add_argument("--learning-rate", type=float, metavar="X", help="(0.001)")
    parser.add_argument("--warmup", type=int, metavar="N", help="steps (100)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="(float32)")
    parser.add_argument("--recompute", choices=("none", "selective", "full"), help="(none)")
    parser.add_argument("--compile", action="store_true", default=None, help="compile the blocks")
    parser.add_argument("--seed", type=int, metavar="S", help="(0)")
    parser.add_argument("--checkpoint-steps", type=int, metavar="N", help="(100)")
    parser.add_argument("--keep", type=int, metavar="N", help="newest checkpoints (2)")
    parser.add_argument("--eval-steps", type=int, metavar="N", help="0: never (100)")
    parser.add_argument("--stall", type=float, metavar="S", help="seconds (60)")


def run(args: argparse.Namespace) -> int:
    """Trains, and prints or writes what came of it."""
    from sextant.sights.event_file import EventFile
    from sextant.systems.pretraining.checkpoint import found, newest
    from sextant.systems.pretraining.job import JOB_FILE
    from sextant.systems.pretraining.launch import alone
    from sextant.systems.pretraining.tokens import TokensCard

    if args.stall is not None and not _LEAST_STALL_S <= args.stall <= _MOST_STALL_S:
        hint = f"from {_LEAST_STALL_S:g} to {_MOST_STALL_S:g}"
        raise InputError(f"{args.stall} seconds", where="--stall", hint=hint)
    elastic = _elastic(args)
    job = _resumed(args) if args.resume else _fresh(with_defaults(args))
    card = TokensCard.read(job.data)
    job.check(card)
    if args.resume:
        # Refused before anything of the run is written over.
        newest(job.out, job.identity(card))
    if args.listen is not None:
        harbour_place(job, args.listen)
        if args.tensorboard:
            raise InputError("a harbour takes no steps to show", where="--tensorboard")
    if args.fleet is not None and args.launch != "fleet":
        raise InputError("only for --launch fleet", where="--fleet")
    with _launcher(args, job, elastic) as launch:
        with alone(job.out):
            board = EventFile(job.out / "tensorboard", time.time()) if args.tensorboard else None
            job.write()
            if args.listen is not None:
                return serve(job, args.listen)
        try:
            with bar("training") as advance:
                launch(ticker(job, advance, board))
        except InputError:
            if not args.resume and not found(job.out):
                # Refused before it learned anything: the folder is free for what is mended.
                with alone(job.out):
                    (job.out / JOB_FILE).unlink(missing_ok=True)
            raise
    told = summary(job)
    (job.out / "loss.png").write_bytes(curve(job))
    if args.json:
        print_json(told)
    else:
        held = f", {told['held_loss']:.4f} on held text" if told["held_loss"] is not None else ""
        print(
            f"{told['steps']:,} steps, loss {told['loss']:.4f}{held}; "
            f"{told['tokens_per_s']:,.0f} tokens/s as {told['layout']}; {told['record']}"
        )
    return 0


@contextmanager
def _launcher(
    args: argparse.Namespace, job: Job, elastic: Elastic | None
) -> Iterator[Callable[[Callable[[], None]], object]]:
    """Whoever starts the ranks; what it refuses is refused before anything is written."""
    if args.launch == "fleet":
        if job.outer is not None:
            raise InputError("islands take --launch python", where="--launch")
        from sextant.fleet import Fleet
        from sextant.systems.pretraining.on_fleet import HEALTH, launch_on

        with Fleet.start(args.fleet, policy=HEALTH) as fleet:
            yield lambda tick: launch_on(fleet, job, tick=tick, elastic=elastic)
    elif job.outer is None or job.outer.harbour:
        from sextant.systems.pretraining.launch import launch

        yield lambda tick: launch(job, tick=tick, elastic=elastic)
    else:
        from sextant.systems.pretraining.islands.serve import launch_islands

        yield lambda tick: launch_islands(job, tick=tick, elastic=elastic)


def _elastic(args: argparse.Namespace) -> Elastic | None:
    from sextant.systems.pretraining.elastic import Elastic

    if args.elastic is not None and args.elastic < 1:
        raise InputError(f"at least 1 rank, not {args.elastic}", where="--elastic")
    return None if args.elastic is None else Elastic(least=args.elastic)


def _fresh(args: argparse.Namespace) -> Job:
    from sextant.systems.pretraining.job import JOB_FILE, Job, Recipe
    from sextant.systems.pretraining.tokens import TokensCard

    if (args.out / JOB_FILE).exists():
        hint = "--resume goes on with it; or another --out"
        raise InputError("a training is here already", where=str(args.out), hint=hint)
    data = args.data if args.text is None else _prepared(args)
    if data is None:
        raise InputError("what is trained on?", where="--data", hint="--data DIR or --text PATH")
    card = TokensCard.read(data)
    model = _model(args, card)
    sequence = model.context if args.sequence is None else args.sequence
    once = max(1, card.tokens("train") // max(1, args.batch * sequence))
    steps = once if args.steps is None else args.steps
    micro_batch = 1 if args.micro_batch is None else args.micro_batch
    layout = _layout(args, model, args.batch, sequence, micro_batch)
    if args.micro_batch is None:
        micro_batch = _largest_micro_batch(args.batch, layout)
    return Job(
        model=model,
        data=data.resolve(),
        out=args.out.resolve(),
        steps=steps,
        batch=args.batch,
        sequence=sequence,
        micro_batch=micro_batch,
        seed=args.seed,
        recipe=Recipe(learning_rate=args.learning_rate, warmup_steps=args.warmup),
        layout=layout,
        dtype=args.dtype,
        recompute=args.recompute,
        compile=args.compile,
        import_from=args.imported.resolve() if args.imported else None,
        checkpoint_steps=args.checkpoint_steps,
        keep=args.keep,
        eval_steps=args.eval_steps,
        stall_s=args.stall,
        outer=terms_of(args),
    )


def _resumed(args: argparse.Namespace) -> Job:
    """The job that is there, with what may change as it was asked for."""
    from sextant.systems.pretraining.job import JOB_FILE, Job

    check_resumed(args)
    # A run may have been moved, or copied: what goes on is what lies here.
    job = replace(Job.read(args.out / JOB_FILE), out=args.out.resolve())
    job = changed(job, args)
    if args.layout is None and args.ranks is None:
        return job
    layout = _layout(args, job.model, job.batch, job.sequence, job.micro_batch)
    micro_batch = args.micro_batch or _largest_micro_batch(job.batch, layout)
    return replace(job, layout=layout, micro_batch=micro_batch)


def _prepared(args: argparse.Namespace) -> Path:
    from sextant.systems.pretraining.prepare import Wish, prepare
    from sextant.systems.pretraining.text import Source

    out = args.out.resolve()
    data: Path = out.with_name(f"{out.name}-tokens")
    wish = Wish(sources=tuple(Source.parse(text) for text in args.text), num_ids=8192)
    with bar("tokenizing") as advance:
        prepare(wish, data, advance)
    return data


def _model(args: argparse.Namespace, card: TokensCard) -> DecoderConfig:
    from sextant.decoder.config import named_config, vocab_for

    if args.imported is not None:
        from sextant.decoder.hugging_face import read_config

        if args.model is not None:
            raise InputError("the imported model has its sizes", where="--model")
        _check_tokenizer(args.imported, card)
        return read_config(args.imported)
    return named_config(args.model or "10m", vocab_for(card.num_ids))


def _check_tokenizer(folder: Path, card: TokensCard) -> None:
    from sextant.systems.pretraining.tokenizer import Tokenizer

    if Tokenizer.load(folder).sha256 != card.tokenizer_sha256:
        hint = f"sextant pretrain prepare --tokenizer {folder} --text ... --out ..."
        what = "these tokens were made by another tokenizer than the model's"
        raise InputError(what, where="--data", hint=hint)


def _layout(
    args: argparse.Namespace, model: DecoderConfig, batch: int, sequence: int, micro_batch: int
) -> Degrees:
    from sextant.decoder.mesh import Degrees
    from sextant.systems.pretraining.auto import auto_layout

    if args.layout not in (None, "auto"):
        return Degrees.parse(args.layout)
    ranks = args.ranks or max(1, len(list(Path("/dev").glob("nvidia[0-9]*"))))
    if ranks == 1:
        return Degrees()
    from sextant.facts import load_facts

    return auto_layout(
        model,
        ranks=ranks,
        batch=batch,
        micro_batch=micro_batch,
        sequence=sequence,
        machine="h100-80gb-sxm",
        precision="bf16",
        facts=load_facts(),
    )


def _largest_micro_batch(batch: int, layout: Degrees) -> int:
    """The most sequences at once that leave a pipeline twice its stages of micro-batches."""
    each = max(1, batch // layout.data)
    if layout.pp == 1:
        return math.gcd(each, 8)
    wanted = max(1, each // (2 * layout.pp))
    fits = (n for n in range(1, wanted + 1) if each % n == 0 and each // n % layout.pp == 0)
    return max(fits, default=1)
