"""One rank's training: steps, held text, checkpoints, and a record of them."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sextant.decoder.mesh import Meshes
from sextant.decoder.model import Decoder
from sextant.decoder.parallelize import Recompute, Treatment
from sextant.systems.pretraining import checkpoint, held
from sextant.systems.pretraining.islands.loop import IslandLoop
from sextant.systems.pretraining.job import RECORD_FILE, Job
from sextant.systems.pretraining.record import Record
from sextant.systems.pretraining.sampler import training_sampler
from sextant.systems.pretraining.state import set_updates, training_state
from sextant.systems.pretraining.step import Outcome, Stepper, build_parts
from sextant.systems.pretraining.tokens import Tokens

_MOST_REFUSED = 5
"""So many steps in a row without a finite gradient end a run: more data will not mend it."""


class Trainer:
    """Trains one job on this rank.

    Args:
        job: what is trained.
        tokens: the data, opened.
        meshes: of the job; None for one process.
        device: where it computes.
        alive: called after every step, to say that this rank moves.
        yields: whether the run should end at its next checkpoint, if whoever runs it may ask so.
    """

    def __init__(
        self,
        job: Job,
        tokens: Tokens,
        meshes: Meshes | None,
        device: torch.device,
        alive: Callable[[], None],
        yields: Callable[[], bool] | None = None,
    ) -> None:
        job.check(tokens.card)
        self._job, self._tokens, self._meshes, self._device = job, tokens, meshes, device
        self._alive, self._yields = alive, yields
        self._rank = 0 if meshes is None else meshes.dense.get_rank()
        self._record = Record(job.out / RECORD_FILE) if self._rank == 0 else None
        self._sampler = training_sampler(tokens, sequence=job.sequence, seed=job.seed)
        self._stepper = self._build()
        self._writer = checkpoint.Writer(
            job.out,
            identity=job.identity(tokens.card),
            layout=job.layout.describe(),
            keep=job.keep,
            distributed=meshes is not None,
            alive=alive,
        )
        self._updates = self._refused = self._taken = 0
        self._outer = self._islands()
        self._stalled_s = self._busy_s = 0.0
        self._held: list[tuple[held.Ids, held.Ids]] | None = None

    @property
    def parts(self) -> Sequence[Decoder]:
        """This rank's parts of the model."""
        return self._stepper.parts

    def run(self) -> bool:
        """Goes on from the newest checkpoint to the last step.

        Returns:
            Whether it came there; False if it was asked to end at a checkpoint.

        Raises:
            InputError: the checkpoints are of another job, or none is whole.
            EngineError: the loss is not finite and stays so, or a checkpoint cannot be written.
        """
        kept = first = self._resume()
        if self._outer is not None:
            first = min(self._outer.join(), self._job.steps)
        self._note(
            "begin",
            step=first,
            layout=self._job.layout.describe(),
            ranks=self._job.layout.ranks,
            device=self._device.type,
        )
        step = first
        while step < self._job.steps:
            begun_s = time.perf_counter()
            outcome = self._step(step)
            seconds = time.perf_counter() - begun_s
            self._busy_s += seconds
            self._taken += 1
            self._note_step(step, outcome, seconds)
            self._stand(step, outcome)
            self._alive()
            step += 1
            if self._outer is not None:
                step = self._outer.after(step, self._job.steps)
            if self._after(step):
                return False
        if step == first != kept:  # the other islands came to the end while this one was away
            self._after(step)
        self._end()
        return True

    def _build(self) -> Stepper:
        job = self._job
        dtype = getattr(torch, job.dtype)
        treatment = Treatment(recompute=Recompute(job.recompute), compile=job.compile, dtype=dtype)
        parts = build_parts(job.model, self._meshes, treatment, seed=job.seed, device=self._device)
        if job.import_from is not None:
            from sextant.decoder.hugging_face import Weights, load_weights

            weights = Weights(job.import_from, job.model)
            for part in parts:
                load_weights(part, weights)
        return Stepper(parts, self._meshes, job.recipe, micro_batch=job.micro_batch, dtype=dtype)

    def _islands(self) -> IslandLoop | None:
        job = self._job
        if job.outer is None:
            return None
        return IslandLoop(
            job.outer,
            identity=job.identity(self._tokens.card),
            parts=self._stepper.parts,
            meshes=self._meshes,
            stall_s=job.stall_s,
            alive=self._alive,
            note=self._note,
        )

    def _resume(self) -> int:
        """Reads the newest checkpoint; gives the step to go on with."""
        chosen = self._agree_on_checkpoint()
        if chosen is None:
            return 0
        name, step, updates = chosen
        state = training_state(self._stepper.parts, self._stepper.optimizer)
        folder = self._job.out / checkpoint.FOLDER / name
        checkpoint.load(state, folder, distributed=self._meshes is not None)
        set_updates(self._stepper.optimizer, updates)
        self._updates = updates
        return step

    def _agree_on_checkpoint(self) -> tuple[str, int, int] | None:
        """What rank 0 finds whole; others would verify the same files again."""
        told: list[Any] = [None]
        if self._rank == 0:
            try:
                found = checkpoint.newest(self._job.out, self._job.identity(self._tokens.card))
            except Exception as error:  # noqa: BLE001  every rank raises it, or they would wait
                told = [error]
            else:
                if found is not None:
                    folder, card, troubles = found
                    for trouble in troubles:
                        self._note("trouble", what=trouble)
                    told = [(folder.name, card.step, card.updates)]
        if self._meshes is not None:
            import torch.distributed as dist

            dist.broadcast_object_list(told, src=0)
        if isinstance(told[0], Exception):
            raise told[0]
        return told[0]

    def _step(self, step: int) -> Outcome:
        job, degrees = self._job, self._job.layout
        each = job.batch // degrees.data
        data_rank = 0 if self._meshes is None else self._meshes.data_rank
        samples, own = job.samples
        ids = self._sampler.batch(step * samples + own + data_rank * each, each)
        text = torch.from_numpy(ids).to(self._device)
        rate = job.recipe.rate(step, job.steps)
        tokens, targets = text[:, :-1].contiguous(), text[:, 1:].contiguous()
        outcome = self._stepper.step(tokens, targets, learning_rate=rate)
        if outcome.applied:
            return outcome
        # A flaw of the moment is not there a second time; what the text or the weights have is.
        self._note("trouble", what=f"no finite gradient at step {step}: it is taken once more")
        return self._stepper.step(tokens, targets, learning_rate=rate)

    def _stand(self, step: int, outcome: Outcome) -> None:
        """Counts what was learned; ends a run that learns no more."""
        if outcome.applied:
            self._updates, self._refused = self._updates + 1, 0
            return
        self._refused += 1
        if self._refused >= _MOST_REFUSED:
            what = f"no finite gradient for {self._refused} steps, the last of them {step}"
            hint = "a lower learning rate, or resume from an older checkpoint"
            raise checkpoint.FlawedError(what, where=str(self._job.out), hint=hint)

    def _after(self, done: int) -> bool:
        """Evaluates and saves where it is time; says whether the run ends here, unfinished."""
        job = self._job
        last = done == job.steps
        if job.eval_steps and (done % job.eval_steps == 0 or last):
            self._evaluate(done)
        if done % job.checkpoint_steps and not last:
            return False
        ends = not last and self._asked_to_end()
        state = training_state(self._stepper.parts, self._stepper.optimizer)
        try:
            saved = self._writer.save(state, step=done, updates=self._updates, wait=last or ends)
        except checkpoint.FlawedError as error:
            # What is learned from here on is lost: better to go back at once.
            self._note("trouble", what=error.what)
            raise
        self._stalled_s += saved.stalled_s
        if saved.trouble:
            # Training is worth more than one checkpoint of it: the next may find room.
            self._note("trouble", what=saved.trouble)
        self._note("checkpoint", step=done, stall_s=saved.stalled_s, waited=last or ends)
        return ends

    def _asked_to_end(self) -> bool:
        """Whether rank 0 was asked to; all of them then end at the same step."""
        if self._yields is None:
            return False
        told = [self._rank == 0 and self._yields()]
        if self._meshes is not None:
            import torch.distributed as dist

            dist.broadcast_object_list(told, src=0)
        return told[0]

    def _evaluate(self, done: int) -> None:
        found = self.evaluate(self._job.eval_windows)
        if found is not None:
            self._note("held", step=done, **asdict(found))

    def evaluate(self, most: int) -> held.Score | None:
        """Scores held text, at most so many windows of it; None if nothing was held back."""
        card = self._tokens.card
        parts = [part for part in card.parts if part.split == "held"]
        if not parts:
            return None
        if self._held is None:
            streams = [self._tokens.stream(part) for part in parts]
            self._held = list(held.windows(streams, self._job.sequence))
        # Every n-th, so that a few stand for all of the text.
        chosen = self._held[:: max(1, -(-len(self._held) // most))]
        loss, counted = 0.0, 0
        data_rank = 0 if self._meshes is None else self._meshes.data_rank
        ways = self._job.layout.data
        for tokens, targets in held.batches(chosen, self._job.batch, data_rank, ways):
            some, num = self._stepper.evaluate(
                torch.from_numpy(tokens).to(self._device),
                torch.from_numpy(targets).to(self._device),
            )
            loss, counted = loss + some, counted + num
            self._alive()
        per_token = sum(part.text_bytes for part in parts) / sum(p.tokens for p in parts)
        return held.score(loss, counted, counted * per_token)

    def _note_step(self, step: int, outcome: Outcome, seconds: float) -> None:
        self._note(
            "step",
            step=step,
            loss=outcome.loss,
            gradient_norm=outcome.gradient_norm,
            learning_rate=self._job.recipe.rate(step, self._job.steps),
            tokens=outcome.tokens,
            seconds=seconds,
            applied=outcome.applied,
            peak_memory_bytes=peak_memory_bytes(self._device),
        )

    def _end(self) -> None:
        if self._outer is not None:
            self._outer.close()
        steps = self._taken
        tokens = steps * self._job.batch * self._job.sequence
        self._note(
            "end",
            steps=steps,
            tokens_per_s=tokens / self._busy_s if self._busy_s else 0.0,
            checkpoint_stall_s=self._stalled_s,
            peak_memory_bytes=peak_memory_bytes(self._device),
        )

    def _note(self, kind: str, **told: Any) -> None:
        if self._record is not None:
            self._record.write(kind, **told)


def peak_memory_bytes(device: torch.device) -> int:
    """The most that this rank held: of the accelerator, or of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:", 1)[1].split()[0]) * 1024
    except (OSError, IndexError):
        # Not Linux. There `ru_maxrss` of a forked child would begin at its parent's peak.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
