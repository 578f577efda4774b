"""Runs every microbenchmark and makes a machine of what they found."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sextant.errors import InputError
from sextant.facts.machine import Machine
from sextant.facts.probe import compute, system
from sextant.facts.probe.pace import pace
from sextant.facts.store import home, load_facts

HERE = "here"
"""The name under which this machine is kept."""


def run_probe(today: str, progress: Callable[[str, int, int], None]) -> Machine:
    """Measures this machine; takes about half a minute.

    Args:
        today: the date to write beside the row.
        progress: called before each microbenchmark with its name, its number and how many.
    """
    cores = len(os.sched_getaffinity(0))
    steps: list[tuple[str, Callable[[], dict[str, float]]]] = [
        ("memory bandwidth", lambda: compute.memory(cores)),
        ("matrix products", lambda: compute.matmul(cores)),
        ("index scan", compute.index_scan),
        ("disk", system.disk),
        ("loopback", system.loopback),
        ("process start", system.processes),
        ("embedding, asking and merging in turn", lambda: pace(cores)),
    ]
    measured: dict[str, float] = {}
    for number, (name, step) in enumerate(steps):
        progress(name, number, len(steps))
        measured |= step()
    progress("done", len(steps), len(steps))
    peak = {
        kind: measured[key]
        for kind in ("fp32", "bf16")
        if (key := f"matmul_{kind}_flops_per_s") in measured
    }
    return Machine(
        name=HERE,
        title=f"this machine: {cores} cores",
        kind="cpu-server",
        accelerators=0,
        accelerator_memory_bytes=0.0,
        accelerator_bandwidth_bytes_per_s=0.0,
        peak_flops_per_s=peak,
        fast_link_bytes_per_s=0.0,
        fast_domain=1,
        cores=cores,
        memory_bytes=float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        memory_bandwidth_bytes_per_s=measured["memory_read_bytes_per_s"],
        disk_bytes=float(shutil.disk_usage(home().anchor).total),
        disk_bandwidth_bytes_per_s=measured["disk_write_bytes_per_s"],
        network_bytes_per_s=measured["loopback_bytes_per_s"],
        price_usd_per_hour=0.0,
        price_source="the machine at hand",
        source="sextant probe",
        date=today,
        measured=measured,
    )


def refresh(machine: Machine) -> Machine:
    """The machine with the costs that change from minute to minute measured again; ten seconds."""
    return replace(machine, measured={**machine.measured, **pace(machine.cores)})


def keep(machine: Machine) -> Path:
    """Stores the machine among the user's facts: written, made durable, then renamed.

    Raises:
        InputError: the user's folder cannot be written.
    """
    path = home() / "machines" / f"{machine.name}.toml"
    try:
        _write(machine, path)
    except OSError as error:
        reason = f"cannot be written: {error.strerror}"
        raise InputError(reason, where=str(path), hint="SEXTANT_HOME moves it") from None
    load_facts.cache_clear()
    return path


def _write(machine: Machine, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"[{machine.name}]"]
    for key in Machine.__dataclass_fields__:
        value = getattr(machine, key)
        if key in ("name", "aliases"):
            continue
        lines.append(f"{key} = {_toml(value)}")
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    with beside.open("w", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    beside.rename(path)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{name} = {float(number)!r}" for name, number in value.items()) + " }"
        )
    return json.dumps(value) if isinstance(value, str) else repr(value)
