import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.data.schedule import (
    keyed_permutation,
    language_of_samples,
    mixture_of,
    mixture_table,
)
from alignmlm.errors import ConfigError

weights = st.lists(st.integers(1, 20).map(float), min_size=1, max_size=5)


@given(weights)
@settings(deadline=None, max_examples=40)
def test_each_language_has_its_share_give_or_take_one_after_any_number_of_samples(weights):
    table = mixture_table(weights)
    shares = np.bincount(table, minlength=len(weights)) / len(table)
    assert shares == pytest.approx(np.array(weights) / sum(weights), abs=1e-3)
    drawn = table[np.arange(2 * len(table)) % len(table)]
    counts = np.cumsum(drawn[:, None] == np.arange(len(weights)), axis=0)
    exact = np.arange(1, len(drawn) + 1)[:, None] * shares
    assert abs(counts - exact).max() < 1 + 1e-9


@given(weights, st.integers(0, 10**12))
@settings(deadline=None, max_examples=40)
def test_samples_of_a_language_are_counted_without_gaps(weights, start):
    mixture = mixture_of(weights, {})
    numbers = start + np.arange(3 * len(mixture[0].table))
    languages, counts = language_of_samples(mixture, numbers)
    for language in range(len(weights)):
        assert (np.diff(counts[languages == language]) == 1).all()


@given(weights, st.lists(st.integers(1, 900), unique=True, max_size=3), st.data())
@settings(deadline=None, max_examples=40)
def test_no_row_comes_twice_and_none_is_left_out_where_weights_change(first, steps, data):
    size = len(first)
    other = st.lists(st.integers(1, 20).map(float), min_size=size, max_size=size)
    mixture = mixture_of(first, {step: data.draw(other) for step in steps})
    languages, counts = language_of_samples(mixture, np.arange(1000))
    for language in range(size):
        of_language = counts[languages == language]
        assert of_language.tolist() == list(range(len(of_language)))


def test_weights_change_at_the_sample_that_is_named():
    mixture = mixture_of([1.0, 1.0], {100: [1.0, 3.0]})
    languages, _ = language_of_samples(mixture, np.arange(500))
    assert languages[:100].mean() == 0.5
    assert languages[100:].mean() == 0.75


def test_equal_weights_take_turns():
    assert mixture_table([1.0, 1.0]).tolist() == [0, 1]


@pytest.mark.parametrize("bad", [[0.0, 1.0], [-1.0, 1.0], [1.0, 100_000.0]])
def test_a_weight_that_cannot_be_honoured_is_refused(bad):
    with pytest.raises(ConfigError, match=r"languages\.weight"):
        mixture_table(bad)


def test_only_the_ratio_of_weights_counts_however_small_they_are():
    assert mixture_table([1e-7, 1e-7]).tolist() == [0, 1]
    assert mixture_table([5e-324, 1.5e-323]).tolist() == mixture_table([1.0, 3.0]).tolist()


def test_more_than_a_thousand_languages_have_equal_weights():
    assert mixture_table([1.0] * 1001).tolist() == list(range(1001))


def test_weights_that_change_after_the_last_possible_sample_never_do():
    mixture = mixture_of([1.0, 1.0], {2**67: [1.0, 3.0], 2**68: [3.0, 1.0]})
    languages, counts = language_of_samples(mixture, np.arange(2**62, 2**62 + 4))
    assert languages.tolist() == [0, 1, 0, 1]
    assert counts.tolist() == [2**61, 2**61, 2**61 + 1, 2**61 + 1]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 65, 1000, 4097])
def test_a_keyed_permutation_visits_everything_once(size):
    assert sorted(keyed_permutation(7, np.arange(size), size).tolist()) == list(range(size))


def test_a_permutation_of_a_huge_range_stays_inside_it():
    size = 10**12 + 39
    images = keyed_permutation(7, np.arange(10**11, 10**11 + 1000), size)
    assert len(set(images.tolist())) == 1000
    assert images.min() >= 0
    assert images.max() < size


def test_another_key_gives_another_order():
    first, second = (keyed_permutation(key, np.arange(100), 100).tolist() for key in (1, 2))
    assert first != second
    assert first != list(range(100))
