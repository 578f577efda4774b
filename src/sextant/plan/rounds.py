"""One round of a federation: how long it takes, and how many sites answer."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.errors import InfeasibleError
from sextant.facts import Facts
from sextant.laws.federation import transfer_s
from sextant.laws.gather import on_time_fraction, slowest_s
from sextant.laws.skew import median_over_mean
from sextant.plan.demand import parameters, trained_model
from sextant.units import show, show_seconds
from sextant.workload import DTYPE_BYTES, Sites, Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One round, in numbers."""

    sites: float
    numbers: float
    number_bytes: float
    records: float
    transfer_s: float
    """One way."""
    epoch_s: float
    """A local epoch at a site of mean size."""
    median_s: float
    """A local epoch at the median site."""
    sigma: float
    slowest_s: float
    """A local epoch at the slowest site that takes part, at the median."""
    deadline_s: float | None
    answering: float
    round_s: float

    @property
    def model_bytes(self) -> float:
        """Bytes of the model once."""
        return self.numbers * self.number_bytes


def size_round(workload: Workload, sites: Sites, facts: Facts) -> Round:
    """The round of these sites, its times at the median of what chance may bring."""
    model = trained_model(workload)
    numbers = parameters(model) if model else facts.value("site_model_parameters")
    number_bytes = DTYPE_BYTES[model.dtype] if model else DTYPE_BYTES["fp32"]
    records = sites.records_per_site or facts.value("site_records")
    if sites.records_per_site is None and workload.corpus is not None:
        records = max(1.0, workload.corpus.records / sites.count)
    sigma = facts.value("site_records_log_sigma")
    epoch = records * sites.seconds_per_record
    median = epoch * median_over_mean(sigma)
    present = max(1.0, sites.count * (1.0 - sites.dropout))
    slowest = slowest_s(median, sigma, present, 0.5)
    one_way = transfer_s(numbers * number_bytes, sites.link, sites.link_round_trip)
    answering, whole = sites.count * (1.0 - sites.dropout), slowest + 2.0 * one_way
    if sites.round_deadline is not None:
        answering *= on_time_fraction(median, sigma, sites.round_deadline - 2.0 * one_way)
        whole = min(whole, sites.round_deadline)
    return Round(
        sites=float(sites.count),
        numbers=numbers,
        number_bytes=number_bytes,
        records=records,
        transfer_s=one_way,
        epoch_s=epoch,
        median_s=median,
        sigma=sigma,
        slowest_s=slowest,
        deadline_s=sites.round_deadline,
        answering=answering,
        round_s=whole,
    )


def check_deadline(sites: Sites, plan: Round) -> None:
    """Raises `InfeasibleError` where no site, or not one, can answer by the deadline."""
    if plan.deadline_s is None:
        return
    if plan.deadline_s < 2.0 * plan.transfer_s:
        raise InfeasibleError(
            f"round deadline: the model's {show(plan.model_bytes, 'B')} take "
            f"{show_seconds(2.0 * plan.transfer_s)} there and back, "
            f"{show_seconds(plan.deadline_s)} allowed",
            where="sites.round_deadline",
            hint="a faster link, a smaller model or a longer deadline",
        )
    if plan.answering < 1.0:
        raise InfeasibleError(
            f"round deadline: a local epoch takes {show_seconds(plan.median_s)} at the median "
            f"site, so {plan.answering:.2g} of {sites.count} sites are expected to answer within "
            f"{show_seconds(plan.deadline_s)}",
            where="sites.round_deadline",
            hint="a longer deadline, fewer records a round or faster sites",
        )
