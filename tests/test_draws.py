import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.draws import as_uint64, below, key, keys, mix, smallest_share, uniform

bounded = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 2**64 - 1)


def hashes(seed, count):
    return keys(seed, np.arange(count))


def test_keys_of_names_and_integers_never_change():
    assert key() == 0
    assert key("mask", 0, 1) == 9106076673042780641
    assert key(-1) == 16490336266968443936


def test_keys_of_children_never_change():
    expected = [7191089600892374487, 309689372594955804, 16616101746815609346]
    assert keys(7, np.arange(3)).tolist() == expected


def test_a_key_depends_on_the_order_of_its_parts():
    assert key("mask", 1, 2) != key("mask", 2, 1)


def test_a_name_and_an_integer_are_different_parts():
    assert key("1") != key(1)


def test_integers_are_taken_modulo_2_to_the_64():
    assert as_uint64(-1) == as_uint64(2**64 - 1)


@bounded
@given(seeds)
def test_children_of_one_key_have_keys_of_their_own(seed):
    assert len(np.unique(hashes(seed, 1000))) == 1000


@bounded
@given(seeds)
def test_children_taken_one_at_a_time_have_the_same_keys(seed):
    alone = [int(keys(seed, np.array([child]))[0]) for child in range(5)]
    assert hashes(seed, 5).tolist() == alone


@bounded
@given(st.lists(seeds, min_size=2, max_size=50, unique=True))
def test_mixing_never_maps_two_integers_to_one(values):
    assert len(np.unique(mix(np.array(values, np.uint64)))) == len(values)


def test_uniform_numbers_reach_from_0_to_just_below_1():
    ends = uniform(np.array([0, 2**64 - 1], np.uint64))
    assert ends[0] == 0
    assert 1 - 2**-52 < ends[1] < 1


@bounded
@given(seeds)
def test_uniform_numbers_fill_ten_bins_evenly(seed):
    numbers = uniform(hashes(seed, 20_000))
    counts = np.histogram(numbers, bins=10, range=(0, 1))[0]
    assert counts.sum() == 20_000  # none outside [0, 1]
    assert abs(counts - 2000).max() < 300  # seven standard deviations


@bounded
@given(seeds, st.integers(1, 2**32))
def test_draws_below_a_bound_are_in_range(seed, bound):
    drawn = below(hashes(seed, 500), bound)
    assert drawn.min() >= 0
    assert drawn.max() < bound


@bounded
@given(seeds)
def test_draws_below_a_small_bound_hit_every_number_about_equally(seed):
    counts = np.bincount(below(hashes(seed, 10_000), 5), minlength=5)
    assert abs(counts - 2000).max() < 300


def test_bounds_may_differ_from_draw_to_draw():
    top = np.full(3, 2**64 - 1, np.uint64)
    assert below(top, np.array([1, 10, 100])).tolist() == [0, 9, 99]


@bounded
@given(seeds, st.integers(0, 300), st.floats(0, 1))
def test_a_share_is_exact(seed, count, share):
    assert smallest_share(hashes(seed, count), share).sum() == round(share * count)


@bounded
@given(seeds, st.integers(0, 300), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_contains_a_smaller_one(seed, count, one, other):
    bits = hashes(seed, count)
    small = smallest_share(bits, min(one, other))
    assert (small <= smallest_share(bits, max(one, other))).all()
