"""A harbour for a job, and a job's islands on one computer."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sextant.errors import EngineError, missing_engine
from sextant.systems.pretraining.elastic import Elastic
from sextant.systems.pretraining.islands.harbour import Harbour
from sextant.systems.pretraining.job import RECORD_FILE, Job
from sextant.systems.pretraining.launch import Patience, alone, launch
from sextant.systems.pretraining.record import Record
from sextant.systems.pretraining.tokens import TokensCard

_LOOK_S = 0.2


def open_harbour(job: Job, listen: tuple[str, int] = ("127.0.0.1", 0)) -> Harbour:
    """A harbour for the islands of a job, which keeps its state in the job's folder.

    Raises:
        InputError: what it kept there is damaged, or of another model.
        EngineError: torch is missing, or the address is taken.
    """
    try:
        import torch
    except ImportError:
        raise missing_engine("torch", "pretraining") from None
    from sextant.decoder.parallelize import Treatment
    from sextant.systems.pretraining.islands.loop import TOKEN, gathered
    from sextant.systems.pretraining.step import build_parts

    assert job.outer is not None, "a harbour is of a job with islands"
    cpu = torch.device("cpu")
    (part,) = build_parts(job.model, None, Treatment(), seed=job.seed, device=cpu)
    if job.import_from is not None:
        from sextant.decoder.hugging_face import Weights, load_weights

        load_weights(part, Weights(job.import_from, job.model))
    try:
        return Harbour(
            gathered(part),
            job.outer,
            job.out,
            identity=job.identity(TokensCard.read(job.data)),
            token=os.environ.get(TOKEN, ""),
            listen=listen,
            note=Record(job.out / RECORD_FILE).write,
        )
    except OSError as error:
        what = f"cannot listen: {error}"
        raise EngineError(what, where=f"{listen[0]}:{listen[1]}") from None


def island_jobs(job: Job, harbour: str) -> list[Job]:
    """The job of each island: its part of every step, in a folder of its own."""
    assert job.outer is not None
    return [
        replace(
            job,
            out=job.out / f"island-{number}",
            outer=replace(job.outer, harbour=harbour, island=number),
        )
        for number in range(job.outer.islands)
    ]


def launch_islands(
    job: Job,
    patience: Patience | None = None,
    tick: Callable[[], None] = lambda: None,
    *,
    elastic: Elastic | None = None,
) -> list[Path]:
    """Runs all islands of a job on this computer, each with its own ranks.

    Returns:
        The folders of the islands; all of them end with the same weights.

    Raises:
        SextantError: an island could not be run to its end.
    """
    with alone(job.out):
        return _launched(job, patience, tick, elastic)


def _launched(
    job: Job, patience: Patience | None, tick: Callable[[], None], elastic: Elastic | None
) -> list[Path]:
    harbour = open_harbour(job)
    jobs = island_jobs(job, f"{harbour.place[0]}:{harbour.place[1]}")
    troubles: list[Exception] = []

    def run(island: Job) -> None:
        try:
            launch(island, patience, elastic=elastic)
        except Exception as error:  # noqa: BLE001 - whatever it was, the run has not succeeded
            troubles.append(error)

    for island in jobs:
        island.write()
    threads = [threading.Thread(target=run, args=(island,), daemon=True) for island in jobs]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(_LOOK_S)
            tick()
    finally:
        harbour.close()
    if troubles:
        raise troubles[0]
    return [island.out for island in jobs]
