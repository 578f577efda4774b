"""From rows of facts to what the laws of training take."""

from __future__ import annotations

from dataclasses import fields

from sextant.facts import Machine
from sextant.facts.training import TrainingFacts
from sextant.laws.accelerator import Accelerator, Kernels
from sextant.laws.constants import Constants
from sextant.laws.spread import Spread


def accelerator_of(
    machine: Machine,
    facts: TrainingFacts,
    *,
    fast_domain: int | None = None,
    node_link_bytes_per_s: float | None = None,
) -> Accelerator:
    """One accelerator of a machine.

    `fast_domain` and `node_link_bytes_per_s` (all links of one fast domain) are the user's own
    where they differ from the machine's row.
    """
    curves = facts.curves(machine.name)
    names = [f.name for f in fields(Kernels)]
    domain = fast_domain or max(1, machine.fast_domain)
    if node_link_bytes_per_s is None:
        network = machine.network_bytes_per_s / machine.units
    else:
        network = node_link_bytes_per_s / domain
    return Accelerator(
        name=machine.name,
        memory_bytes=machine.unit_memory_bytes,
        bandwidth_bytes_per_s=machine.unit_bandwidth_bytes_per_s,
        peak_flops_per_s=dict(machine.peak_flops_per_s),
        fast_link_bytes_per_s=machine.fast_link_bytes_per_s,
        fast_domain=domain,
        network_bytes_per_s=network,
        kernels=Kernels(**{name: curves[name] for name in names}),
    )


def constants_of(facts: TrainingFacts) -> Constants:
    """The constants that ship."""
    return Constants(**facts.values())


def spread_of(facts: TrainingFacts) -> Spread:
    """The widths of intervals that ship."""
    return Spread(**facts.values("spread"))
