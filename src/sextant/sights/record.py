"""Run records: predictions written before anything runs, measurements after, one line each.

A record is one JSONL file that is only ever appended to. The measurements name the run and the
hash of its predictions, so that a prediction that was changed afterwards is found out.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.facts import home
from sextant.plan.quantity import Quantity


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What is expected of one quantity, with its 80% interval, in the SI unit that `unit` names."""

    quantity: str
    predicted: float
    low: float
    high: float
    unit: str


def predictions_of(quantities: Iterable[Quantity]) -> tuple[Prediction, ...]:
    """The numbers of quantities, without their arithmetic."""
    return tuple(
        Prediction(quantity=q.name, predicted=q.value, low=q.low, high=q.high, unit=q.unit)
        for q in quantities
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """One quantity, predicted and measured."""

    quantity: str
    predicted: float
    low: float
    high: float
    measured: float
    unit: str

    @property
    def ratio(self) -> float:
        """Measured over predicted; 1 where both are zero."""
        if self.predicted == 0:
            return 1.0 if self.measured == 0 else math.copysign(math.inf, self.measured)
        return self.measured / self.predicted

    @property
    def inside(self) -> bool:
        """Whether the measured value lies in the predicted interval."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, kw_only=True, slots=True)
class RunKey:
    """Which run: the hash of its predictions, and a name that no other run has."""

    plan_sha256: str
    run: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run as its record has it; without sights while it runs, or if it never ended.

    `about` is what was written beside the predictions, `outcome` beside the measurements.
    """

    key: RunKey
    at_s: float
    predictions: tuple[Prediction, ...]
    sights: tuple[Sight, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    outcome: Mapping[str, Any] = field(default_factory=dict)


def record_path() -> Path:
    """The record that is used where none is named."""
    return home() / "runs" / "runs.jsonl"


def plan_sha256(predictions: Sequence[Prediction]) -> str:
    """The hash of the predictions as canonical JSON, whatever their order.

    Raises:
        ValueError: a prediction is not finite.
    """
    rows = [asdict(p) for p in sorted(predictions, key=lambda p: p.quantity)]
    # An integer and the float of the same value must hash alike: JSON would write 1 and 1.0.
    for row in rows:
        row |= {key: float(row[key]) for key in ("predicted", "low", "high")}
    return hashlib.sha256(_line(rows)).hexdigest()


def write_predictions(
    path: Path,
    predictions: Sequence[Prediction],
    *,
    at_s: float,
    about: Mapping[str, Any] | None = None,
    run: str | None = None,
) -> RunKey:
    """Writes what is expected, and its hash, before anything runs.

    Args:
        path: the record; it and its folder are made if they are not there.
        predictions: one for each quantity.
        at_s: the time, in seconds since the epoch.
        about: more to keep: the workload, the scale, the fleet.
        run: a name for the run; by default a new one.

    Raises:
        ValueError: two predictions are of one quantity, or one is not finite.
        OSError: the record cannot be written.
    """
    if len({p.quantity for p in predictions}) != len(predictions):
        raise ValueError("two predictions are of one quantity")
    key = RunKey(plan_sha256=plan_sha256(predictions), run=run or uuid.uuid4().hex[:12])
    line = {
        "kind": "predicted",
        "run": key.run,
        "plan_sha256": key.plan_sha256,
        "at_s": at_s,
        "about": dict(about or {}),
        "predictions": [asdict(p) for p in predictions],
    }
    _append(path, line)
    return key


def write_measurements(
    path: Path,
    key: RunKey,
    measured: Mapping[str, float],
    *,
    at_s: float,
    outcome: Mapping[str, Any] | None = None,
) -> None:
    """Writes what was measured, as a line that refers to the predictions.

    Raises:
        ValueError: a measurement is not finite.
        OSError: the record cannot be written.
    """
    line = {
        "kind": "measured",
        "run": key.run,
        "plan_sha256": key.plan_sha256,
        "at_s": at_s,
        "outcome": dict(outcome or {}),
        "measured": dict(measured),
    }
    _append(path, line)


def sights_of(
    predictions: Sequence[Prediction], measured: Mapping[str, float]
) -> tuple[Sight, ...]:
    """The predictions that were measured, each beside its measurement."""
    return tuple(
        Sight(**asdict(p), measured=float(measured[p.quantity]))
        for p in predictions
        if p.quantity in measured
    )


def read_runs(path: Path) -> tuple[Run, ...]:
    """The runs of a record, in the order in which they began.

    A line that was cut off (a crash while writing) is left out.

    Raises:
        InputError: the record cannot be read, or predictions do not have the hash beside them.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"cannot read the record: {error.strerror}", where=str(path)) from None
    runs: dict[RunKey, Run] = {}
    for number, text in enumerate(lines, 1):
        row = _object(text)
        try:
            if row.get("kind") == "predicted":
                run = _begun(row)
                runs[run.key] = run
            elif row.get("kind") == "measured":
                key = RunKey(plan_sha256=row["plan_sha256"], run=row["run"])
                if key in runs:
                    runs[key] = _ended(runs[key], row)
        except (KeyError, TypeError, ValueError) as error:
            where = f"{path}: line {number}"
            raise InputError(f"not a line of a record: {error}", where=where) from None
    return tuple(runs.values())


def _object(text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _begun(row: Mapping[str, Any]) -> Run:
    predictions = tuple(Prediction(**p) for p in row["predictions"])
    if plan_sha256(predictions) != row["plan_sha256"]:
        raise ValueError("the predictions do not have the hash that is beside them")
    key = RunKey(plan_sha256=row["plan_sha256"], run=row["run"])
    return Run(key=key, at_s=row["at_s"], predictions=predictions, about=row.get("about", {}))


def _ended(run: Run, row: Mapping[str, Any]) -> Run:
    return Run(
        key=run.key,
        at_s=run.at_s,
        predictions=run.predictions,
        sights=sights_of(run.predictions, row["measured"]),
        about=run.about,
        outcome=row.get("outcome", {}),
    )


def _line(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def _append(path: Path, row: Mapping[str, Any]) -> None:
    """Adds one line in one write, and waits until it is on the disk."""
    line = _line(row) + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line  # a crash cut the last line off: leave it behind
        while line:
            line = line[os.write(descriptor, line) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
