"""What a federation's rounds come to: bytes, times, answers, privacy."""

from __future__ import annotations

from collections.abc import Iterator

from sextant.facts import Facts
from sextant.laws.federation import round_bytes, secure_upload_bits
from sextant.laws.gather import slowest_s
from sextant.laws.privacy import gaussian_epsilon, noise_for
from sextant.laws.skew import effective_count, median_over_mean
from sextant.plan.part import exact, within
from sextant.plan.quantity import Quantity
from sextant.plan.rounds import Round
from sextant.units import show, show_count, show_seconds
from sextant.workload import Sites, Workload

ARITHMETIC = "closed form"
DAY_S = 86400.0


def round_quantities(
    workload: Workload, sites: Sites, plan: Round, facts: Facts, total_s: float
) -> Iterator[Quantity]:
    """All quantities of the federation's part."""
    yield from _bytes(plan)
    yield from _times(workload, sites, plan, facts, total_s)
    yield from _privacy(sites, plan, facts)


def _bytes(plan: Round) -> Iterator[Quantity]:
    total, each = round_bytes(plan.sites, plan.model_bytes), 2.0 * plan.model_bytes
    model = f"{show_count(plan.numbers)} parameters x {plan.number_bytes:g} B"
    source = "McMahan et al. 2017, algorithm 1"
    because = f"{show_count(plan.sites)} sites x 2 (down and up) x {model} = {show(total, 'B')}"
    yield exact("bytes_per_round", total, "B", because, source)
    because = f"2 (down and up) x {model} = {show(each, 'B')}"
    yield exact("bytes_per_round_per_site", each, "B", because, source)
    because = f"{show_count(plan.sites * plan.records)} records at the sites, none of which is sent"
    yield exact("patient_bytes_leaving", 0.0, "B", because, "the workload: records may not leave")
    bits = secure_upload_bits(plan.sites, plan.numbers, 8.0 * plan.number_bytes)
    over = bits / 8.0 / plan.model_bytes - 1.0
    because = (
        f"{show(bits / 8.0, 'B')} up from each site instead of {show(plan.model_bytes, 'B')}: "
        f"keys and shares for {show_count(plan.sites)} sites, and a sum that may not overflow"
    )
    source = "Bonawitz et al. 2017, Practical Secure Aggregation, section 7"
    yield exact("secure_aggregation_overhead", over, "fraction", because, source)


def _times(
    workload: Workload, sites: Sites, plan: Round, facts: Facts, total_s: float
) -> Iterator[Quantity]:
    row = facts.rows["site_records_log_sigma"]
    because = f"{show_count(plan.records)} records x {show_seconds(sites.seconds_per_record)}"
    yield within("local_epoch_s", plan.epoch_s, "s", 1.5, because, ARITHMETIC)
    way = (
        f"{show_seconds(sites.link_round_trip / 2.0)} + {show(plan.model_bytes, 'B')} / "
        f"{show(sites.link, 'B/s')} = {show_seconds(plan.transfer_s)} one way"
    )
    yield within("transfer_s", plan.transfer_s, "s", 1.5, way, ARITHMETIC)
    yield _round_quantity(sites, plan, row.low, row.high)
    rounds = f"{sites.rounds} rounds, as stated"
    yield exact("rounds", float(sites.rounds), "", rounds, "the workload")
    because = f"{sites.rounds} rounds x {show_seconds(plan.round_s)} = {show_seconds(total_s)}"
    if workload.training is not None:
        because += f"; {show_seconds(workload.training.finish_within)} allowed"
    yield within("training_days", total_s / DAY_S, "days", 2.0, because, ARITHMETIC)
    yield _answering(sites, plan)
    because = (
        f"{sites.count} sites x exp(-{plan.sigma:g}^2): as many equal sites as carry the weight "
        "of sites whose records differ this much"
    )
    value = effective_count(plan.sites, plan.sigma)
    yield Quantity(
        name="effective_sites",
        value=value,
        unit="sites",
        low=effective_count(plan.sites, row.high),
        high=effective_count(plan.sites, row.low),
        because=because,
        source=f"Kish 1965, section 11.7; spread: {row.source}",
    )


def _round_quantity(sites: Sites, plan: Round, low_sigma: float, high_sigma: float) -> Quantity:
    present = max(1.0, sites.count * (1.0 - sites.dropout))

    def seconds(sigma: float, probability: float) -> float:
        median = plan.epoch_s * median_over_mean(sigma)
        whole = slowest_s(median, sigma, present, probability) + 2.0 * plan.transfer_s
        return whole if plan.deadline_s is None else min(whole, plan.deadline_s)

    ends = sorted((seconds(low_sigma, 0.25), seconds(high_sigma, 0.75), plan.round_s))
    because = (
        f"slowest of {present:.3g} sites {show_seconds(plan.slowest_s)} (log-normal records, "
        f"sigma {plan.sigma:g}) + {show_seconds(2.0 * plan.transfer_s)} there and back"
    )
    if plan.deadline_s is not None:
        because += f", cut at the deadline of {show_seconds(plan.deadline_s)}"
    return Quantity(
        name="round_s",
        value=plan.round_s,
        unit="s",
        low=ends[0],
        high=ends[-1],
        because=because,
        source="David and Nagaraja 2003, Order Statistics; spread: FLamby's centres",
    )


def _answering(sites: Sites, plan: Round) -> Quantity:
    because = f"{sites.count} sites x {1.0 - sites.dropout:.0%} that do not drop out"
    if plan.deadline_s is not None:
        share = plan.answering / (sites.count * (1.0 - sites.dropout))
        because += f" x {share:.1%} in time for {show_seconds(plan.deadline_s)}"
    spread = max(1.0, plan.answering * max(0.0, 1.0 - plan.answering / sites.count)) ** 0.5
    return Quantity(
        name="sites_answering",
        value=plan.answering,
        unit="sites",
        low=max(0.0, plan.answering - 1.2816 * spread),
        high=min(plan.sites, plan.answering + 1.2816 * spread),
        because=because,
        source="binomial; Bonawitz et al. 2019 report 6% to 10% of dropouts",
    )


def _privacy(sites: Sites, plan: Round, facts: Facts) -> Iterator[Quantity]:
    allowed, delta = facts.value("privacy_epsilon"), facts.value("privacy_delta")
    noise = noise_for(allowed, sites.rounds, delta)
    spent = gaussian_epsilon(noise, sites.rounds, delta)
    source = "Mironov 2017, Renyi Differential Privacy, propositions 1, 3 and 7"
    because = (
        f"{sites.rounds} rounds of Gaussian noise, {noise:.3g} times the clipped update of a "
        f"site, at delta {delta:g}: T/2z^2 + sqrt(2T ln(1/delta))/z = {spent:.3g}"
    )
    yield exact("epsilon", spent, "", because, source)
    because = f"the noise that spends epsilon {allowed:g} over {sites.rounds} rounds"
    yield exact("noise_multiplier", noise, "", because, source)
    because = (
        f"{noise:.3g} / {plan.answering:.3g} sites: noise of the mean update, over one clipped "
        "update; below 1 a round still learns"
    )
    yield within("noise_of_mean", noise / plan.answering, "", 1.3, because, source)
