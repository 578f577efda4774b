"""The order of samples depends on the seed and the number alone, and wastes nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.systems.pretraining.sampler import Sampler, permuted
from sextant.systems.pretraining.tokens import Stream


def sampler(*sizes: int, weights: tuple[float, ...] = (), seed: int = 7) -> Sampler:
    starts = np.cumsum([0, *sizes])
    streams = [Stream([np.arange(a, b, dtype=np.uint32)]) for a, b in itertools.pairwise(starts)]
    return Sampler(streams, weights or sizes, sequence=4, seed=seed)


@given(size=st.integers(1, 3000), key=st.text(max_size=5))
@settings(max_examples=40, deadline=None)
def test_a_permutation_misses_nothing(size: int, key: str) -> None:
    assert sorted(permuted(i, size, key) for i in range(size)) == list(range(size))


def test_no_window_comes_again_before_all_have_come() -> None:
    one = sampler(4001)
    places = [one.place(g) for g in range(3000)]
    for epoch in range(3):
        seen = [p.window for p in places if p.epoch == epoch]
        assert sorted(seen) == list(range(1000))


def test_epochs_and_seeds_differ_in_order() -> None:
    first = [sampler(4001).place(g).window for g in range(1000)]
    second = [sampler(4001).place(1000 + g).window for g in range(1000)]
    other = [sampler(4001, seed=8).place(g).window for g in range(1000)]
    assert first != second
    assert first != other


def test_weights_hold_in_every_block() -> None:
    mixed = sampler(4001, 400_001, weights=(3.0, 1.0))
    parts = [mixed.place(g).part for g in range(4096)]
    for start in range(0, 4096, 1024):
        assert parts[start : start + 1024].count(0) == 768


def test_ranks_and_resumes_see_each_sample_once() -> None:
    whole = sampler(4001).batch(0, 64)
    # Four ranks for five steps of 8, then two ranks from there on.
    seen = [
        sampler(4001).batch(step * 8 + rank * 2, 2) for step in range(5) for rank in range(4)
    ] + [sampler(4001).batch(step * 8 + rank * 4, 4) for step in range(5, 8) for rank in range(2)]
    np.testing.assert_array_equal(np.concatenate(seen), whole)


def test_a_window_crosses_shards() -> None:
    parts = [np.arange(0, 5, dtype=np.uint16), np.arange(5, 7, dtype=np.uint16)]
    stream = Stream([*parts, np.arange(7, 20, dtype=np.uint16)])
    assert stream.window(3, 8).tolist() == list(range(3, 11))


def test_a_source_that_is_too_short_is_refused() -> None:
    with pytest.raises(InputError, match="shorter than one sequence"):
        sampler(4001, 4)
