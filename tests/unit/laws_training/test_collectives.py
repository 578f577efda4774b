"""Collectives and pipelines: by hand, by simulation, and never above the links."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws.accelerator import Accelerator
from sextant.laws.collectives import Group, all_reduce_s, all_to_all_s, gather_s, group
from sextant.laws.constants import Constants
from sextant.laws.job import Job, job
from sextant.laws.layout import Layout
from sextant.laws.pipeline import fullest_stage_layers, in_flight, pipeline_s
from sextant.laws.shape import TransformerShape
from sextant.laws.traffic import stage_send_s


@pytest.fixture
def one(llama_8b: TransformerShape, h100: Accelerator) -> Job:
    return job(llama_8b, Layout(), h100)


def ranks(size: int, local: int) -> Group:
    return Group(size=np.array(float(size)), local=np.array(float(local)))


def test_an_all_reduce_in_a_node_by_hand(one: Job, constants: Constants) -> None:
    plain = replace(constants, fast_share=0.8, fast_latency_s=10e-6)
    # 2 x 7/8 of 1 GB over 0.8 of 450 GB/s, and two latencies.
    expected = 2 * (7 / 8 * 1e9 / (0.8 * 450e9) + 10e-6)
    assert all_reduce_s(np.array(1e9), ranks(8, 8), one, plain) == pytest.approx(expected)


def test_a_gather_over_nodes_by_hand(one: Job, constants: Constants) -> None:
    plain = replace(constants, network_share=0.5, fast_latency_s=0.0, network_hop_s=1e-6)
    # 64 ranks, 8 a node: 7/8 of the message enters each node through 8 cards of 50 GB/s.
    expected = 7 / 8 * 8e9 / (8 * 0.5 * 50e9) + 7e-6
    assert gather_s(np.array(8e9), ranks(64, 8), one, plain) == pytest.approx(expected)


def test_groups_that_share_a_node_share_its_links(one: Job, constants: Constants) -> None:
    alone = gather_s(np.array(8e9), ranks(64, 8), one, constants)
    # Eight groups with one rank a node each carry their own message through the same cards.
    beside = gather_s(np.array(8e9), ranks(64, 1), one, constants)
    assert beside > 7.0 * alone


def test_one_rank_sends_nothing(one: Job, constants: Constants) -> None:
    for law in (gather_s, all_reduce_s, all_to_all_s):
        assert law(np.array(1e9), ranks(1, 1), one, constants) == 0.0


def test_groups_follow_the_order_of_ranks(one: Job) -> None:
    found = group(np.array(16.0), np.array(4.0), one)
    assert (float(found.local), float(found.domains)) == (2.0, 8.0)
    found = group(np.array(4.0), np.array(1.0), one)
    assert (float(found.local), float(found.domains)) == (4.0, 1.0)


@given(
    size=st.sampled_from([2, 4, 8, 16, 64, 1024]),
    local=st.sampled_from([1, 2, 4, 8]),
    message=st.floats(1.0, 1e12),
)
def test_no_gather_beats_the_links(size: int, local: int, message: float) -> None:
    from sextant.facts import load_facts
    from sextant.facts.training import load_training_facts
    from sextant.laws.machine import accelerator_of, constants_of

    training = load_training_facts()
    machine = accelerator_of(load_facts().machine("h100"), training)
    shape = TransformerShape.from_parameters(1e9, sequence=1024)
    local = min(local, size)
    seconds = gather_s(
        np.array(message),
        ranks(size, local),
        job(shape, Layout(), machine),
        constants_of(training),
    )
    assert seconds >= message * (size - 1) / size / 450e9
    if size > local:
        assert seconds >= message * (1 - local / size) / local / 50e9


def one_f_one_b(stages: int, micro_batches: int, forward: float, backward: float) -> float:
    """When the last backward pass of a 1F1B schedule ends, found by playing it."""
    orders = []
    for stage in range(stages):
        warm = min(stages - stage - 1, micro_batches)
        order = [("f", i) for i in range(warm)]
        for i in range(micro_batches - warm):
            order += [("f", warm + i), ("b", i)]
        order += [("b", i) for i in range(micro_batches - warm, micro_batches)]
        orders.append(order)
    done: dict[tuple[str, int, int], float] = {}
    clock, at = [0.0] * stages, [0] * stages
    while any(at[s] < len(orders[s]) for s in range(stages)):
        for stage in range(stages):
            if at[stage] == len(orders[stage]):
                continue
            kind, i = orders[stage][at[stage]]
            before = ("f", i, stage - 1) if kind == "f" else ("b", i, stage + 1)
            first = kind == "f" and stage == 0
            last = kind == "b" and stage == stages - 1
            needed = ("f", i, stage) if last else before
            if not first and needed not in done:
                continue
            start = max(clock[stage], 0.0 if first else done[needed])
            clock[stage] = start + (forward if kind == "f" else backward)
            done[(kind, i, stage)] = clock[stage]
            at[stage] += 1
    return max(clock)


@pytest.mark.parametrize(("stages", "micro_batches"), [(1, 4), (2, 8), (4, 4), (8, 32), (12, 64)])
def test_equal_stages_take_what_the_schedule_takes(stages: int, micro_batches: int) -> None:
    played = one_f_one_b(stages, micro_batches, 1.0, 2.0)
    found = pipeline_s(
        np.array(3.0), np.array(3.0 * stages), np.array(float(micro_batches)), np.array(1.0)
    )
    assert found == pytest.approx(played)


def test_interleaving_divides_the_bubble() -> None:
    slowest, whole, count = np.array(3.0), np.array(24.0), np.array(16.0)
    plain = pipeline_s(slowest, whole, count, np.array(1.0)) - 48.0
    chunks = pipeline_s(slowest, whole, count, np.array(3.0)) - 48.0
    assert (plain, chunks) == (pytest.approx(21.0), pytest.approx(7.0))


def test_stages_and_what_they_hold(gpt_175b: TransformerShape, a100: Accelerator) -> None:
    layout = Layout(tp=8, pp=12, dp=4, global_batch=2048)
    one = job(gpt_175b, layout, a100, "fp16")
    assert fullest_stage_layers(one) == 8.0
    assert in_flight(one) == 12.0
    # Korthikanti et al. 2022, section 4.2.3: L (1 + (p-1)/(p m)) layers with interleaving.
    chunked = replace(one, interleave=np.array(2.0))
    assert in_flight(chunked) == pytest.approx(12 * (1 + 11 / 24))
    # The next stage holds one micro-batch less, or two virtual stages' layers.
    assert (in_flight(one, 1.0), in_flight(chunked, 1.0)) == (11.0, pytest.approx(16.5))
    few = replace(one, global_batch=np.array(16.0))
    assert in_flight(few) == 4.0
    uneven = replace(one, layers=np.array(78.0), largest_stage=np.array(7.0))
    assert fullest_stage_layers(uneven) == 7.0
    counted = replace(one, layers=np.array(70.0), embeddings_as_layers=np.array(1.0))
    assert fullest_stage_layers(counted) == 6.0


def test_copies_that_crossed_the_network_still_travel_in_the_domain(
    one: Job, constants: Constants
) -> None:
    plain = replace(constants, fast_share=1.0, network_share=1.0, fast_latency_s=0.0)
    sent, crossing = np.array(8e9), np.array(1e9)
    found = all_to_all_s(sent, ranks(64, 8), one, plain, crossing_bytes=crossing)
    # 7/8 of all copies over 450 GB/s, 7/8 of one copy a domain over 50 GB/s.
    assert found == pytest.approx(max(7 / 8 * 8e9 / 450e9, 7 / 8 * 1e9 / 50e9))
    many = all_to_all_s(np.array(80e9), ranks(64, 8), one, plain, crossing_bytes=crossing)
    assert many == pytest.approx(7 / 8 * 80e9 / 450e9)


def test_a_stage_s_slowest_hop_sets_the_pace(h100: Accelerator, constants: Constants) -> None:
    shape = TransformerShape.from_parameters(8e9, sequence=4096)
    inside, across = (
        stage_send_s(job(shape, Layout(tp=2, pp=pp, global_batch=16), h100), constants)
        for pp in (4, 8)
    )
    assert across > 5.0 * inside
