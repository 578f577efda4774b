"""Serving: rooflines against measurements, caches, experts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws import experts, kv, serving

A100 = {"peak": 312e12, "bytes": 1.555e12, "link": 300e9}


def test_cache_of_llama_3_70b() -> None:
    assert kv.kv_bytes_per_token(80, 8, 128, 2) == 327_680
    assert kv.requests_that_fit(100.0, 40.0, 25.0) == 2.4


def test_cache_of_deepseek_v3() -> None:
    assert kv.latent_kv_bytes_per_token(61, 576, 2) == 70_272


def test_forward_flops_by_hand() -> None:
    assert serving.forward_flops(100, 10, 2, 4, 5) == 2 * 100 * 10 + 4 * 2 * 4 * 10 * 5


@pytest.mark.parametrize(("ways", "measured"), [(1, 22.0e-3), (2, 13.5e-3)])
def test_decode_of_13b_on_a100(ways: int, measured: float) -> None:
    """FasterTransformer, 13B, batch 1, as quoted by llm-analysis (which is 14% to 24% off)."""
    read = 26e9 / ways
    step = serving.roofline_s(26e9 / ways, read, 0.6 * A100["peak"], 0.76 * A100["bytes"])
    step += serving.tensor_parallel_exchange_s(40, 1, 5120, 2, ways, A100["link"], 25e-6)
    assert step == pytest.approx(measured, rel=0.05)


def test_all_reduce_by_hand() -> None:
    assert serving.all_reduce_s(8e9, 4, 6e9, 1.0) == pytest.approx(3.0)
    assert serving.all_reduce_s(8e9, 1, 6e9, 1.0) == 0.0


def test_a_replica_by_hand() -> None:
    assert serving.requests_per_s(0.1, 100, 0.02, 10) == pytest.approx(1 / 0.3)
    assert serving.request_s(0.1, 100, 0.02, 5) == pytest.approx(0.1 + 2.0 / 0.5)


@given(st.floats(1, 1e20), st.floats(1, 1e15), st.floats(1e9, 1e16), st.floats(1e9, 1e13))
def test_the_roofline_is_never_beaten(
    flops: float, read: float, peak: float, bandwidth: float
) -> None:
    seconds = serving.roofline_s(flops, read, peak, bandwidth)
    assert seconds * peak >= flops * (1 - 1e-9)
    assert seconds * bandwidth >= read * (1 - 1e-9)


@given(st.floats(1e-4, 1), st.floats(1, 1000), st.floats(1e-3, 1), st.floats(1, 500))
def test_a_larger_batch_never_finishes_fewer(p: float, o: float, s: float, b: float) -> None:
    assert serving.requests_per_s(p, o, s, b) <= serving.requests_per_s(p, o, s, 2 * b)


def test_routed_parameters_of_deepseek_v3() -> None:
    """Counted from the shape: 58 layers x 256 experts x 3 x 7168 x 2048 = 653.9 billion."""
    common, routed = experts.split_parameters(671e9, 37e9, 256, 8)
    assert routed == pytest.approx(58 * 256 * 3 * 7168 * 2048, rel=0.005)
    assert common + routed == pytest.approx(671e9)


def test_touched_experts_by_hand() -> None:
    assert experts.touched_fraction(1, 8, 2) == pytest.approx(0.25)
    assert experts.touched_fraction(2, 8, 2) == pytest.approx(1 - 0.75**2)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 512))
def test_more_tokens_touch_more_experts(a: float, b: float, n: int) -> None:
    few, many = sorted((a, b))
    low = experts.touched_fraction(few, n, 1)
    assert 0.0 <= low <= experts.touched_fraction(many, n, 1) <= 1.0


@pytest.mark.parametrize(
    ("ranks", "dispatch", "combine"),
    [(64, 173e-6, 314e-6), (128, 192e-6, 369e-6), (256, 194e-6, 360e-6)],
)
def test_all_to_all_of_deepep(ranks: int, dispatch: float, combine: float) -> None:
    """DeepEP's low-latency kernels: 128 tokens, 8 experts, hidden 7168, 50 GB/s a GPU."""
    sent = experts.all_to_all_bytes(128, 8, 7168, 1, 2, ranks)
    found = experts.all_to_all_s(sent, 50e9, 45e-6)
    assert found == pytest.approx(dispatch + combine, rel=0.15)


def test_nothing_travels_in_a_group_of_one() -> None:
    assert experts.all_to_all_bytes(128, 8, 7168, 1, 2, 1) == 0.0
    assert experts.all_to_all_s(0.0, 1e9, 1e-3) == 0.0
