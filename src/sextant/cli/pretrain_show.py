"""How a training is shown: its bar, its warnings, its sums and its curve."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.units import show

if TYPE_CHECKING:
    from sextant.sights.event_file import EventFile
    from sextant.systems.pretraining.job import Job


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; what it gives is called with how much is done and all there is."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bars:
        task = bars.add_task(what, total=None)

        def advance(done: int, total: int, note: str = "") -> None:
            bars.update(task, completed=done, total=total, description=f"{what}  {note}".rstrip())

        yield advance


def ticker(
    job: Job, advance: Callable[..., None], board: EventFile | None = None
) -> Callable[[], None]:
    """Reads what the record says from now on, and shows it; also on TensorBoard's board."""
    from sextant.systems.pretraining.record import parsed

    path = record_of(job)
    at = path.stat().st_size if path.is_file() else 0

    def tick() -> None:
        nonlocal at, board
        if not path.is_file():
            return
        with path.open("rb") as stream:
            stream.seek(at)
            lines = stream.read().split(b"\n")
            at = stream.tell() - len(lines[-1])
        for line in lines[:-1]:
            if (event := parsed(line)) is None:
                continue
            if board is not None and not _posted(board, event):
                board = None
            if event.get("kind") == "step":
                advance(event["step"] + 1, job.steps, _note(job, event))
            elif event.get("kind") == "lost":
                whose = "" if event["rank"] is None else f"rank {event['rank']} "
                print(f"warning: {whose}{event['why']}", file=sys.stderr)
            elif event.get("kind") == "trouble":
                print(f"warning: {event['what']}", file=sys.stderr)

    return tick


def _note(job: Job, step: Mapping[str, Any]) -> str:
    """What stands beside the bar."""
    rate = _rate(step)
    share = _mfu(job, rate)
    note = f"loss {step['loss']:.4f}, {rate:,.0f} tokens/s"
    note += "" if share is None else f", MFU {share:.0%}"
    held = step.get("peak_memory_bytes")  # records of before have none
    return note if held is None else f"{note}, {show(held, 'B')}"


def _rate(step: Mapping[str, Any]) -> float:
    return float(step["tokens"] / max(1e-9, step["seconds"]))


def _posted(board: EventFile, event: Mapping[str, Any]) -> bool:
    """Puts the numbers of a step, or of held text, on the board; False if that is not to be had."""
    values = {}
    if event.get("kind") == "step":
        values = {
            "train/loss": event["loss"],
            "train/gradient_norm": event["gradient_norm"],
            "train/learning_rate": event["learning_rate"],
            "train/tokens_per_s": _rate(event),
        }
    elif event.get("kind") == "held":
        names = ("loss_per_token", "bits_per_byte")
        values = {f"held/{name}": event[name] for name in names}
    try:
        if values:
            board.write(values, step=event["step"], at_s=event["at_s"])
    except OSError as error:
        print(f"warning: nothing more for TensorBoard: {error.strerror}", file=sys.stderr)
        return False
    return True


def record_of(job: Job) -> Path:
    """The record of a run's steps: of its first island, where it starts islands itself."""
    from sextant.systems.pretraining.job import RECORD_FILE

    alone = job.outer is None or job.outer.harbour
    return (job.out if alone else job.out / "island-0") / RECORD_FILE


def summary(job: Job) -> dict[str, Any]:
    """What a run came to, out of its record."""
    from sextant.systems.pretraining import record

    path = record_of(job)
    steps = record.steps(path)
    losses = [steps[step]["loss"] for step in sorted(steps)]
    ends, held = list(record.read(path, "end")), list(record.read(path, "held"))
    end = ends[-1] if ends else {}
    whole = (list(record.read(path, "whole")) or [{}])[-1]
    met = list(record.read(path, "exchange"))
    return {
        "steps": len(losses),
        "loss": losses[-1],
        "losses": losses,
        "held_loss": held[-1]["loss_per_token"] if held else None,
        "held_bits_per_byte": held[-1]["bits_per_byte"] if held else None,
        "tokens_per_s": end.get("tokens_per_s", 0.0),
        "mfu": _mfu(job, end.get("tokens_per_s", 0.0)),
        "peak_memory_bytes": end.get("peak_memory_bytes"),
        "checkpoint_stall_s": end.get("checkpoint_stall_s"),
        "lost": len(list(record.read(path, "lost"))),
        "goodput": whole.get("goodput"),
        "recoveries": whole.get("recoveries", []),
        "exchanges": len(met),
        "exchanged_bytes": sum(e["sent_bytes"] + e["received_bytes"] for e in met),
        "layout": job.layout.describe(),
        "record": str(path),
    }


def _mfu(job: Job, tokens_per_s: float) -> float | None:
    """Model FLOPs over what this machine's products reach; None where it was not probed."""
    from sextant.facts import load_facts
    from sextant.facts.probe import HERE
    from sextant.systems.pretraining.auto import shape_of

    here = load_facts().machines.get(HERE)
    if here is None or not tokens_per_s:
        return None
    precision = "bf16" if job.dtype == "bfloat16" else "fp32"
    flops = shape_of(job.model, job.sequence).flops_per_token() * tokens_per_s
    return flops / (here.flops_per_s(precision) * here.units)


def curve(job: Job) -> bytes:
    """The loss curve of a run, as a PNG file."""
    from sextant.sights.curve import loss_png
    from sextant.systems.pretraining import record

    path = record_of(job)
    losses = {step: event["loss"] for step, event in record.steps(path).items()}
    held = {event["step"]: event["loss_per_token"] for event in record.read(path, "held")}
    return loss_png(losses, held)
