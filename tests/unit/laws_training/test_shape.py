"""Parameters and FLOPs of published models, counted from their shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sextant.laws.shape import TransformerShape


def test_llama_3_8b_has_the_stated_parameters(llama_8b: TransformerShape) -> None:
    assert llama_8b.parameters == 8_030_261_248  # Llama 3 8B, config.json


def test_gpt_3_is_12_l_h_squared_and_its_embedding(gpt_175b: TransformerShape) -> None:
    blocks = 12 * 96 * 12288**2
    assert gpt_175b.parameters == pytest.approx(blocks + 51200 * 12288, rel=1e-4)


def test_deepseek_v3_total_and_active(deepseek_v3: TransformerShape) -> None:
    # arXiv 2412.19437: 671B in all, 37B for each token.
    assert deepseek_v3.parameters == pytest.approx(671e9, rel=0.005)
    assert deepseek_v3.active_parameters == pytest.approx(37e9, rel=0.02)


def test_mixtral_total_and_active() -> None:
    mixtral = TransformerShape(
        layers=32,
        hidden=4096,
        heads=32,
        kv_heads=8,
        ffn=14336,
        vocab=32000,
        sequence=4096,
        experts=8,
        active_experts=2,
        expert_ffn=14336,
    )
    assert mixtral.parameters == pytest.approx(46.7e9, rel=0.001)  # arXiv 2401.04088
    assert mixtral.active_parameters == pytest.approx(12.9e9, rel=0.005)


def test_flops_are_six_a_weight_and_twelve_l_s_h(gpt_175b: TransformerShape) -> None:
    # Narayanan et al. 2021, equation 3 without recompute: 72 B s L h^2 (1 + s/6h + V/12Lh).
    layers, hidden, vocab, sequence = 96, 12288, 51200, 2048
    inner = 1 + sequence / (6 * hidden) + vocab / (12 * layers * hidden)
    expected = 72 * layers * hidden**2 * inner
    assert gpt_175b.flops_per_token() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("count", [1e8, 1e9, 8e9, 70e9, 405e9, 1e12])
def test_a_shape_from_a_count_has_that_count(count: float) -> None:
    shape = TransformerShape.from_parameters(count, sequence=4096)
    assert shape.parameters == pytest.approx(count, rel=0.06)
    assert 40 <= shape.hidden / shape.layers <= 250
    assert shape.heads * 128 == shape.hidden
    assert shape.heads % shape.kv_heads == 0


def test_a_learned_position_table_and_biases_add_up(gpt_175b: TransformerShape) -> None:
    more = replace(gpt_175b, learned_positions=True, biases=True)
    per_layer = 3 * 12288 + 12288 + 49152 + 12288 + 2 * 12288
    assert more.parameters - gpt_175b.parameters == 2048 * 12288 + 96 * per_layer
