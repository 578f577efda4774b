"""Checkpoints: sharded, written while training goes on, published only when durable.

OUT/checkpoints/step-00000100/            complete: its name was given last
    .metadata, __0_0.distcp, ...          torch.distributed.checkpoint's own files
    checkpoint.json                       step, job, and each file's size and SHA-256
OUT/checkpoints/step-00000200.building/   what a killed run left; cleared away by the next
OUT/checkpoints/step-00000200.replaced/   one that a newer of the same step takes the place of

Tensors go by their names in the whole model, so that any layout reads what any other wrote.
`.metadata` is a pickle, of which `reader.py` takes the types of such a table and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sextant.errors import EngineError, InputError
from sextant.systems.pretraining.staging import Staged
from sextant.systems.pretraining.tokens import sha256_of, write_json

FOLDER = "checkpoints"
CARD = "checkpoint.json"
FORMAT = "sextant-checkpoint/1"
_BUILDING = ".building"
_REPLACED = ".replaced"
_LONGEST_S = 1800.0
"""For as long a checkpoint may be under way, on a disk however slow."""
_ALIVE_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What a checkpoint says of itself.

    Attributes:
        step: steps taken.
        updates: of them, those that changed the weights (a step without a finite loss does not).
        identity: of the job (`Job.identity`).
        layout: that it was written under.
        files: size and SHA-256 of each.
    """

    step: int
    updates: int
    identity: str
    layout: str
    files: Mapping[str, tuple[int, str]]


def name_of(step: int) -> str:
    """The folder of a step's checkpoint."""
    return f"step-{step:08d}"


def found(out: Path) -> list[Path]:
    """The complete checkpoints of a run, newest first; also one that is named itself.

    One that was being replaced counts until its successor has its name.
    """
    if (out / CARD).is_file():
        return [out]
    complete = {path.name: path for path in (out / FOLDER).glob("step-*") if _is_whole(path)}
    return [
        path
        for name, path in sorted(complete.items(), reverse=True)
        if not name.endswith(_REPLACED) or name.removesuffix(_REPLACED) not in complete
    ]


def _is_whole(path: Path) -> bool:
    return not path.name.endswith(_BUILDING) and (path / CARD).is_file()


def verify(folder: Path) -> Card:
    """Reads a checkpoint's card and compares every file with it.

    Raises:
        InputError: the card is damaged, or a file is torn or corrupt; it is named.
    """
    path = folder / CARD
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain.pop("format") != FORMAT:
            raise InputError(f"not a checkpoint of format {FORMAT}", where=str(path))
        files = {str(name): (int(size), str(sha)) for name, (size, sha) in plain["files"].items()}
        card = Card(**{**plain, "files": files})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"damaged: {error}", where=str(path)) from error
    for name, (size, sha) in card.files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            raise InputError(f"torn: {name}", where=str(folder))
        if sha256_of(file) != sha:
            raise InputError(f"corrupt: {name} is not its checksum", where=str(folder))
    return card


def newest(out: Path, identity: str | None = None) -> tuple[Path, Card, list[str]] | None:
    """The newest checkpoint that is whole, and what is wrong with newer ones.

    Raises:
        InputError: it is of another job than `identity`, or there are some and none is whole.
    """
    troubles: list[str] = []
    for folder in found(out):
        try:
            card = verify(folder)
        except InputError as error:
            troubles.append(str(error))
            continue
        if identity is not None and card.identity != identity:
            hint = (
                "another --out, or the model, data, batch, sequence and seed that it was made with"
            )
            raise InputError("a checkpoint of another training", where=str(folder), hint=hint)
        return folder, card, troubles
    if troubles:
        raise InputError(f"no checkpoint is whole: {troubles[0]}", where=str(out))
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """A checkpoint that was begun: how long training stood still, and what came of the last.

    `trouble` is why the one before could not be written, if it could not.
    """

    stalled_s: float
    trouble: str | None = None


class FlawedError(EngineError):
    """Weights or gradients are not finite: only an older checkpoint can be gone on from."""


class Writer:
    """Writes checkpoints of one run beside the training; one at a time.

    Args:
        out: the run's folder, the same for all ranks.
        identity: of the job.
        layout: that it runs under.
        keep: how many of the newest stay.
        distributed: whether there are several ranks; each then makes a `Writer`.
        alive: called now and then while a checkpoint is waited for.
    """

    def __init__(
        self,
        out: Path,
        *,
        identity: str,
        layout: str,
        keep: int,
        distributed: bool,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = out / FOLDER
        self._identity, self._layout, self._keep = identity, layout, keep
        self._distributed, self._alive = distributed, alive
        self._group: Any = None
        self._first = True
        self._pending: Future[None] | None = None
        self._staged = Staged()
        if distributed:
            import torch.distributed as dist

            self._first = dist.get_rank() == 0
            # Its own group: it talks from another thread while training talks on its own.
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=_LONGEST_S))
        if self._first:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._folder.glob(f"*{_BUILDING}"):
                shutil.rmtree(path)
            for path in self._folder.glob(f"*{_REPLACED}"):
                _settle(path)

    def save(
        self, state: Mapping[str, Any], *, step: int, updates: int, wait: bool = False
    ) -> Begun:
        """Begins a checkpoint; every rank calls it. Waits for the one before, if that is not done.

        One that could not be written (a full disk) is cleared away, and told with the next.

        Args:
            state: tensors by name; copied before this returns.
            step: steps taken.
            updates: of them, those that changed weights.
            wait: returns only when it is published.

        Raises:
            FlawedError: the one before was not finite, or this one, and `wait` was asked for.
            EngineError: this checkpoint could not be written, and `wait` was asked for.
        """
        begun_s = time.perf_counter()
        trouble = None
        try:
            self.finish()
        except FlawedError:
            raise
        except EngineError as error:
            trouble = error.what
        building = self._folder / (name_of(step) + _BUILDING)
        done: Future[None] = Future()
        self._staged.take(state)
        self._pending = done
        threading.Thread(
            target=self._write, args=(done, building, step, updates), daemon=True
        ).start()
        if wait:
            self.finish()
        return Begun(stalled_s=time.perf_counter() - begun_s, trouble=trouble)

    def finish(self) -> None:
        """Waits until what was begun is published.

        Raises:
            FlawedError: it was not finite.
            EngineError: it could not be written.
            TimeoutError: its disk stands still; the rank cannot go on.
        """
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        # What torch raises of several ranks is no Exception, so it is asked for, not caught.
        end_s = time.monotonic() + _LONGEST_S
        while not wait_for([pending], timeout=_ALIVE_S).done:
            if time.monotonic() > end_s:
                raise TimeoutError(f"a checkpoint is not published after {_LONGEST_S:.0f} s")
            self._alive()
        if isinstance(error := pending.exception(), FlawedError):
            raise error
        if error is not None:
            what = f"a checkpoint could not be written: {_first_cause(error)}"
            raise EngineError(what, where=str(self._folder)) from error

    def _write(self, done: Future[None], building: Path, step: int, updates: int) -> None:
        import torch.distributed.checkpoint as dcp

        try:
            # That one process writes alone is meant so. Filters are the process's, and who
            # leaves a `catch_warnings` takes those set since along: so it is said where needed.
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            if not self._staged.is_finite(self._group):
                what = f"the weights or moments after {step} steps are not finite"
                hint = "a lower learning rate, or an older checkpoint; an import is wrong itself"
                raise FlawedError(what, where=str(self._folder), hint=hint)
            dcp.save(
                self._staged.tensors,
                checkpoint_id=str(building),
                process_group=self._group,
                no_dist=not self._distributed,
            )
            if self._first:
                self._publish(building, step, updates)
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001  told to whoever waits for it
            if self._first:
                shutil.rmtree(building, ignore_errors=True)
            done.set_exception(error)

    def _publish(self, building: Path, step: int, updates: int) -> None:
        files = sorted(path for path in building.iterdir() if path.is_file())
        card = Card(
            step=step,
            updates=updates,
            identity=self._identity,
            layout=self._layout,
            files={path.name: (path.stat().st_size, sha256_of(path)) for path in files},
        )
        _sync(files)
        write_json(building / CARD, {"format": FORMAT, **asdict(card)})
        _sync([building])
        target = self._folder / name_of(step)
        replaced = target.with_name(target.name + _REPLACED)
        if target.exists():  # a run that was set back comes by the same step again
            if replaced.exists():
                shutil.rmtree(replaced)
            target.rename(replaced)
        building.rename(target)
        _sync([self._folder])
        if replaced.exists():
            shutil.rmtree(replaced)
        for old in found(self._folder.parent)[self._keep :]:
            shutil.rmtree(old)


def _settle(replaced: Path) -> None:
    """Undoes, or ends, a replacement that a kill cut off."""
    target = replaced.with_name(replaced.name.removesuffix(_REPLACED))
    if target.exists():
        shutil.rmtree(replaced)
    else:
        replaced.rename(target)


def load(state: dict[str, Any], folder: Path, *, distributed: bool) -> None:
    """Reads a checkpoint into tensors, in place, whatever layout wrote it.

    Raises:
        InputError: it does not hold these tensors.
    """
    import torch.distributed.checkpoint as dcp

    from sextant.systems.pretraining.reader import TensorReader

    reader = TensorReader(folder)
    # Before torch does, which would wrap what is wrong with it in words of its own.
    reader.read_metadata()
    try:
        with warnings.catch_warnings():
            # That one process reads it alone is meant so.
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            dcp.load(state, storage_reader=reader, no_dist=not distributed)
    except (RuntimeError, ValueError, KeyError, dcp.api.CheckpointException) as error:
        raise InputError(
            f"not a checkpoint of this model: {_first_cause(error)}", where=str(folder)
        ) from error


def _first_cause(error: BaseException) -> str:
    """The operating system's word for it, where a failure of several ranks has one in it."""
    failures = getattr(error, "failures", None)
    if isinstance(failures, dict) and failures:
        error = next(iter(failures.values()))[0]
    while not isinstance(error, OSError) and error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _sync(paths: Sequence[Path]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
