import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignmlm.numerics.counter_rng import below, key, keys, mix, smallest_share, uniform


def test_keys_are_what_they_always_were():
    assert key("mask", 0, 1) == 9106076673042780641
    assert key("a") == 15829060357068751680
    assert keys(5, np.arange(3)).tolist() == [
        7134611160154358618, 13877614986023876344, 4292726422858613063,
    ]  # fmt: skip


def test_parts_of_a_key_count_in_their_order():
    assert len({key("a", 1, 2), key("a", 2, 1), key("b", 1, 2), key("a", 12)}) == 4


def test_negative_seeds_have_keys_of_their_own():
    assert key("a", -1) != key("a", 1)


def test_mixing_loses_nothing():
    assert len(np.unique(mix(np.arange(100_000, dtype=np.uint64)))) == 100_000


def test_uniform_numbers_fill_the_unit_interval_evenly():
    numbers = uniform(keys(3, np.arange(100_000)))
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=10, range=(0, 1))
    assert abs(counts - 10_000).max() < 500


@given(st.integers(1, 2**32), st.integers(0, 2**63))
def test_integers_stay_below_their_bound(bound, seed):
    drawn = below(keys(seed, np.arange(50)), bound)
    assert drawn.min() >= 0
    assert drawn.max() < bound


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_a_share_is_exact_and_contains_every_smaller_one(share):
    bits = keys(1, np.arange(1000))
    chosen = smallest_share(bits, share)
    assert chosen.sum() == 1000 * share
    assert not (smallest_share(bits, share / 2) & ~chosen).any()
