"""Bytes of a rank, by hand for a model that fits on a page."""

from __future__ import annotations

import pytest

from sextant.errors import InputError
from sextant.laws.shape import TransformerShape
from sextant.plan.training_memory import RankShape, rank_bytes

TINY = TransformerShape(
    layers=2,
    hidden=8,
    heads=2,
    kv_heads=1,
    head_dim=4,
    ffn=16,
    vocab=32,
    sequence=4,
    tied_embeddings=True,
    biases=False,
)
# A layer: q and out 8 x 8 each, k and v 8 x 4 each, three of 8 x 16, two norms of 8.
LAYER = 2 * 64 + 2 * 32 + 3 * 128 + 16
# A layer keeps of a token: two norms (2 x 8 + 1), two inputs of 8, q k v and what was gathered
# (8 + 4 + 4 + 8), a sum for each of two heads, and four of the inner width.
KEPT = 2 * 17 + 16 + 24 + 2 + 64
LAST = 17 + 8 + 32


def test_one_rank_holds_all() -> None:
    held = rank_bytes(TINY, RankShape(micro_batch=3))
    weights = 2 * LAYER + 32 * 8 + 8
    assert (held.parameters, held.gradients) == (4 * weights, 4 * weights)
    assert held.optimizer == 8 * weights
    assert held.activations == 4 * 3 * 4 * (2 * KEPT + LAST)
    assert held.total == 16 * weights + held.activations


def test_shards_of_state_do_not_split_activations() -> None:
    whole, split = (rank_bytes(TINY, RankShape(fsdp=n)) for n in (1, 2))
    assert split.parameters == whole.parameters / 2
    assert split.activations == whole.activations


def test_the_fullest_stage_counts_what_is_in_flight() -> None:
    held = rank_bytes(TINY, RankShape(pp=2, micro_batches=4, micro_batch=1))
    first, last = 4 * 2 * 4 * KEPT, 4 * 4 * (KEPT + LAST)
    assert held.activations == max(first, last)
    one = rank_bytes(TINY, RankShape(pp=2, micro_batches=1, micro_batch=1))
    assert one.activations == last  # nothing is in flight twice


def test_experts_are_not_counted() -> None:
    with pytest.raises(InputError, match="dense"):
        rank_bytes(
            TransformerShape(
                layers=2,
                hidden=8,
                heads=2,
                kv_heads=1,
                head_dim=4,
                ffn=16,
                vocab=32,
                sequence=4,
                experts=4,
                active_experts=2,
                expert_ffn=16,
            ),
            RankShape(),
        )
