"""Federated rounds: bytes, unlike sites, secure sums, privacy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws.federation import round_bytes, secure_upload_bits, transfer_s
from sextant.laws.privacy import gaussian_epsilon, noise_for
from sextant.laws.skew import effective_count, median_over_mean


def test_round_bytes_by_hand() -> None:
    assert round_bytes(20, 8e6 * 4) == 1.28e9
    assert transfer_s(32e6, 12.5e6, 0.05) == pytest.approx(0.025 + 2.56)


@pytest.mark.parametrize(
    ("users", "numbers", "expansion"), [(2**10, 2**20, 1.73), (2**14, 2**24, 1.98)]
)
def test_secure_sums_reproduce_the_paper(users: int, numbers: int, expansion: float) -> None:
    """Bonawitz et al. 2017, abstract: 1.73 and 1.98 times the data in the clear."""
    bits = secure_upload_bits(users, numbers, 16)
    assert bits / (16 * numbers) == pytest.approx(expansion, abs=0.006)


@given(st.integers(1, 10**6), st.floats(1, 1e12), st.sampled_from([8, 16, 32]))
def test_a_secure_sum_costs_more_than_none(sites: int, numbers: float, bits: float) -> None:
    assert secure_upload_bits(sites, numbers, bits) >= numbers * bits


def test_effective_sites_by_simulation() -> None:
    weights = np.exp(0.8 * np.random.default_rng(2).standard_normal(200_000))
    measured = float(weights.sum() ** 2 / (weights**2).sum())
    assert effective_count(200_000, 0.8) == pytest.approx(measured, rel=0.05)
    assert median_over_mean(0.8) == pytest.approx(1.0 / float(weights.mean()), rel=0.02)


def test_epsilon_by_hand() -> None:
    # T = 1, z = 1, delta = e^-2: 1/2 + sqrt(2 x 2) = 2.5
    assert gaussian_epsilon(1.0, 1, math.exp(-2)) == pytest.approx(2.5)


@given(st.floats(0.01, 100), st.floats(1, 1e9), st.floats(1e-12, 0.1))
def test_the_noise_for_a_budget_spends_it(epsilon: float, rounds: float, delta: float) -> None:
    noise = noise_for(epsilon, rounds, delta)
    assert gaussian_epsilon(noise, rounds, delta) == pytest.approx(epsilon, rel=1e-6)
    assert gaussian_epsilon(2 * noise, rounds, delta) < epsilon


@given(st.floats(0.1, 50), st.integers(1, 1000))
def test_the_closed_form_is_the_best_order(noise: float, rounds: int) -> None:
    """No order of Renyi divergence gives a smaller epsilon than the closed form."""
    delta = 1e-5
    closed = gaussian_epsilon(noise, rounds, delta)
    for order in np.linspace(1.01, 500, 400):
        bound = order * rounds / (2 * noise**2) + math.log(1 / delta) / (order - 1)
        assert closed <= bound + 1e-9
