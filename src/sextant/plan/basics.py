"""What any workload says of itself, and the plan's voice where no system's planner applies."""

from __future__ import annotations

from sextant.axes import Axis
from sextant.facts import Facts, Machine
from sextant.plan.ceilings import find_ceilings
from sextant.plan.demand import active_parameters, parameters
from sextant.plan.part import Part, exact
from sextant.plan.quantity import Ceiling, Hardest, Quantity, Striking
from sextant.units import show, show_count, show_ratio
from sextant.workload import Workload


def plan_basics(workload: Workload, machine: Machine, facts: Facts) -> Part:
    """Sizes that need no layout; always applies."""
    found = find_ceilings(workload, machine, facts)
    worst = found[0] if found else None
    return Part(
        name="basics",
        quantities=tuple(_quantities(workload)),
        layout={},
        striking=_striking(worst),
        hardest=_hardest(worst),
        busy={},
        waiting={},
    )


def _quantities(workload: Workload) -> list[Quantity]:
    found = []
    if (corpus := workload.corpus) is not None:
        size = corpus.records * corpus.bytes_per_record
        because = (
            f"{show_count(corpus.records)} records x {show(corpus.bytes_per_record, 'B')} = "
            f"{show(size, 'B')}"
        )
        found.append(exact("corpus_bytes", size, "B", because, "arithmetic"))
    for name, model in workload.model.items():
        label = "model" if name == "model" else name
        count, active = parameters(model), active_parameters(model)
        because = "stated" if model.parameters else f"from its shape = {show_count(count)}"
        key = f"{label}_parameters"
        found.append(exact(key, count, "", f"{because}; active {show_count(active)}", "arithmetic"))
    return found


def _striking(worst: Ceiling | None) -> Striking:
    if worst is None:
        return Striking(number="1 machine", because="nothing here asks for more than one")
    return Striking(number=show_ratio(worst.ratio), because=worst.because)


def _hardest(worst: Ceiling | None) -> Hardest:
    if worst is None or not worst.binds:
        what = "nothing that distribution would help"
        because = worst.because if worst else "no limit of one machine is near"
        axis = worst.axis if worst else Axis.COORDINATION
        return Hardest(what=what, axis=axis, because=f"one machine is enough: {because}")
    return Hardest(what=f"the {worst.name} ceiling", axis=worst.axis, because=worst.because)
