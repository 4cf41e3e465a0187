import math
from itertools import permutations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.evaluation.scores.statistics import (
    Noise,
    correlation,
    difference,
    drawn_indices,
    half_width,
    holm,
    item_orders,
    jackknife_error,
    mean_interval,
    permutation_p_value,
    seed_noise,
    spearman,
)
from alignmlm.numerics.counter_rng import key, keys, uniform


def normals(name: str, *shape: int) -> np.ndarray:
    bits = keys(key("test", name), np.arange(math.prod(shape)))
    return scipy.stats.norm.ppf(np.clip(uniform(bits), 1e-12, None)).reshape(shape)


def chi_squared(name: str, turns: int, freedom: int) -> np.ndarray:
    return (normals(name, turns, freedom) ** 2).sum(axis=1)


numbers = st.lists(st.integers(-5, 5).map(float), min_size=3, max_size=12)


@given(numbers)
def test_the_interval_over_seeds_is_scipys(values):
    found = mean_interval(np.array(values))
    if len(set(values)) == 1:
        assert not found.known
        return
    expected = scipy.stats.t.interval(
        0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values)
    )
    assert (found.low, found.high) == pytest.approx(expected)


def test_one_seed_has_no_interval():
    found = mean_interval(np.array([3.0]))
    assert (found.estimate, found.known, found.excludes(100.0)) == (3.0, False, False)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_over_seeds_covers_the_truth_in_95_of_100_experiments(seeds):
    found = [mean_interval(10 + row) for row in normals("t", 1000, seeds)]
    covered = sum(not one.excludes(10.0) for one in found) / len(found)
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 1000))


def test_the_p_value_of_one_source_of_noise_is_students():
    a, b = normals("a", 7), normals("b", 7)
    found, expected = difference((a - b).mean(), seed_noise(a - b)), scipy.stats.ttest_rel(a, b)
    bounds = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)
    assert (found.interval.low, found.interval.high) == pytest.approx((bounds.low, bounds.high))


def test_the_p_value_is_the_level_at_which_the_interval_touches_zero():
    noises = [Noise("3 seeds", 0.7, 2), Noise("50 examples", 1.3, 49)]
    found = difference(2.9, noises)
    assert difference(2.9, noises, 1 - found.p).interval.low == pytest.approx(0, abs=1e-9)
    assert found.p > max(difference(2.9, [noise]).p for noise in noises)


@pytest.mark.parametrize(
    "noises",
    [
        [Noise("2,000 examples", 1.0, 1999)],
        [Noise("58,000 examples", 0.3, 58_000)],
        [Noise("one", 1.0, 2384), Noise("other", 0.9, 2384)],
        [Noise("one", 2.0, 5671), Noise("other", 1.8, 5671)],
    ],
)
@pytest.mark.parametrize("estimate", [30.0, 60.0, 100.0])
def test_a_large_difference_has_a_tiny_p_value_that_is_not_zero(noises, estimate):
    found = difference(estimate, noises)
    assert 0 < found.p < 1e-20
    if found.p > 1e-300:
        assert half_width(noises, found.p) == pytest.approx(estimate)


@pytest.mark.parametrize(("seeds", "of_examples"), [(2, 0.2), (3, 0.4), (3, 2.0)])
def test_noise_of_seeds_and_examples_together_covers_the_truth(seeds, of_examples):
    turns, examples = 1000, 50
    truth = normals("estimate", turns) * math.hypot(1, of_examples)
    errors = [
        scale * np.sqrt(chi_squared(f"{scale} {freedom}", turns, freedom) / freedom)
        for scale, freedom in ((1.0, seeds - 1), (of_examples, examples - 1))
    ]
    found = [
        difference(estimate, [Noise("seeds", one, seeds - 1), Noise("examples", two, examples - 1)])
        for estimate, one, two in zip(truth, *errors, strict=True)
    ]
    beyond = np.array([one.interval.excludes(0.0) for one in found])
    assert (beyond == [one.p < 0.05 for one in found]).all()
    assert beyond.mean() < 0.05 + 3 * math.sqrt(0.05 * 0.95 / turns)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0, 1.0], "no spread over 2 seeds"),
        ([70.1 - 60.1, 80.3 - 70.3], "no spread over 2 seeds"),
        ([0.0, 0.0, 0.0], "no spread over 3 seeds"),
        ([4.0], "one seed without answers"),
        ([1.0, math.nan], "not measured"),
    ],
)
def test_without_known_noise_there_is_neither_an_interval_nor_a_p_value(values, reason):
    differences = np.array(values)
    found = difference(differences.mean(), seed_noise(differences))
    assert (found.interval.known, math.isnan(found.p)) == (False, True)
    assert found.method == f"no p-value: {reason}"


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = normals("left out", 30)
    left_out = (values.sum() - values) / 29
    assert jackknife_error(left_out) == pytest.approx(scipy.stats.sem(values))


def test_the_jackknife_of_a_ratio_agrees_with_scipys_bootstrap():
    gained, possible = normals("gained", 300) + 5, normals("possible", 300) + 9
    left_out = (gained.sum() - gained) / (possible.sum() - possible)
    expected = scipy.stats.bootstrap(
        (gained, possible), lambda g, p, axis: g.sum(axis) / p.sum(axis), paired=True,
        n_resamples=4000, method="basic", rng=np.random.default_rng(0),
    ).standard_error  # fmt: skip
    assert jackknife_error(left_out) == pytest.approx(expected, rel=0.05)


def test_draws_are_even_and_always_the_same():
    drawn = np.concatenate(list(drawn_indices(7, 5000, "x")))
    again = np.concatenate(list(drawn_indices(7, 5000, "x")))
    counts = np.bincount(drawn.ravel(), minlength=7)
    assert (drawn == again).all()
    assert scipy.stats.chisquare(counts).pvalue > 0.001


def test_other_names_draw_other_items():
    one, two = (next(drawn_indices(50, 10, name)) for name in ("x", "y"))
    assert (one != two).mean() > 0.9


@given(numbers, st.randoms(use_true_random=False))
def test_spearman_is_scipys_with_ties(x, random):
    y = [random.choice([-1.0, 0.0, 0.5, 2.0]) for _ in x]
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(spearman(np.array(x), np.array(y)))
        return
    assert spearman(np.array(x), np.array(y)) == pytest.approx(scipy.stats.spearmanr(x, y)[0])


@settings(deadline=None, max_examples=6)
@given(st.lists(st.integers(0, 4).map(float), min_size=6, max_size=6))
def test_the_permutation_p_value_of_few_items_is_that_of_all_orders(y):
    x = np.array([1.0, 2.0, 2.0, 4.0, 5.0, 6.0])
    if len(set(y)) == 1:
        return
    rho = abs(scipy.stats.spearmanr(x, y)[0])
    orders = [abs(scipy.stats.spearmanr(x, order)[0]) for order in permutations(y)]
    expected = np.mean(np.array(orders) >= rho - 1e-9)
    assert permutation_p_value(x, np.array(y)) == pytest.approx(expected)


def test_drawn_orders_are_orders_and_even():
    orders = item_orders(9, 4000, "x")
    assert (np.sort(orders, axis=1) == np.arange(9)).all()
    assert scipy.stats.chisquare(np.bincount(orders[:, 0], minlength=9)).pvalue > 0.001


def test_the_permutation_p_value_of_many_items_agrees_with_scipys():
    x = normals("px", 40)
    y = 0.3 * x + normals("py", 40)
    expected = scipy.stats.permutation_test(
        (x,), lambda x: scipy.stats.spearmanr(x, y)[0], permutation_type="pairings",
        n_resamples=4000, rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    assert permutation_p_value(x, y) == pytest.approx(expected, abs=0.02)


def test_the_bootstrap_of_a_correlation_agrees_with_scipys():
    x = normals("cx", 60)
    y = x + normals("cy", 60)
    expected = scipy.stats.bootstrap(
        (x, y), lambda x, y: scipy.stats.spearmanr(x, y)[0], paired=True, vectorized=False,
        n_resamples=2000, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    found = correlation(x, y).interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.03)


@pytest.mark.parametrize("y", [[1.0, 1.0, 1.0], [1.0, 2.0]])
def test_a_correlation_of_too_little_has_neither_bounds_nor_p(y):
    found = correlation(np.arange(len(y), dtype=float), np.array(y))
    assert (found.interval.known, math.isnan(found.p)) == (False, True)


def test_a_perfect_correlation_has_no_interval_but_a_p_value():
    found = correlation(np.arange(4.0), np.array([1.0, 2.0, 5.0, 9.0]))
    assert (found.rho, found.interval.known, found.p) == (1.0, False, pytest.approx(2 / 24))


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_has_no_p_value():
    found = holm([0.03, math.nan, 0.9])
    assert found[0] == pytest.approx(0.06)
    assert (math.isnan(found[1]), found[2]) == (True, 0.9)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_rejects_what_the_steps_of_its_paper_reject(p_values):
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        order, rejected = sorted(range(len(p_values)), key=lambda i: p_values[i]), set()
        for place, i in enumerate(order):
            if p_values[i] > level / (len(order) - place):
                break
            rejected.add(i)
        close = any(abs(a - level) < 1e-9 for a in adjusted)
        assert close or rejected == {i for i, p in enumerate(adjusted) if p <= level}
