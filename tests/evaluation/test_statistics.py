import math
from itertools import permutations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.draws import key, keys, uniform
from alignmlm.evaluation.statistics import (
    added_noise,
    bootstrap_p_value,
    correlation,
    drawn_indices,
    drawn_sums,
    holm,
    item_orders,
    mean_interval,
    paired_bootstrap,
    paired_t,
    permutation_p_value,
    spearman,
)


def normals(name: str, *shape: int) -> np.ndarray:
    bits = keys(key("test", name), np.arange(math.prod(shape)))
    return scipy.stats.norm.ppf(np.clip(uniform(bits), 1e-12, None)).reshape(shape)


def difference_of_means(items: int):
    return lambda sums: (sums[:, 0] - sums[:, 1]) / items


numbers = st.lists(st.integers(-5, 5).map(float), min_size=3, max_size=12)


@given(numbers)
def test_the_interval_over_seeds_is_scipys(values):
    found = mean_interval(np.array(values))
    if len(set(values)) == 1:
        assert (found.low, found.high) == (values[0], values[0])
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
    found = [mean_interval(10 + row) for row in normals("t", 4000, seeds)]
    covered = sum(not one.excludes(10.0) for one in found) / len(found)
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


def test_paired_t_is_scipys():
    a, b = normals("a", 7), normals("b", 7)
    found, expected = paired_t(a, b), scipy.stats.ttest_rel(a, b)
    bounds = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx((bounds.low, bounds.high))


def test_equal_sides_do_not_differ():
    same = np.array([70.1, 70.2, 70.3])
    assert (paired_t(same, same).p, paired_t(same + 1, same).p < 1e-6) == (1.0, True)


def test_draws_are_even_and_always_the_same():
    drawn = np.concatenate(list(drawn_indices(7, 5000, "x")))
    again = np.concatenate(list(drawn_indices(7, 5000, "x")))
    counts = np.bincount(drawn.ravel(), minlength=7)
    assert (drawn == again).all()
    assert scipy.stats.chisquare(counts).pvalue > 0.001


def test_other_names_draw_other_items():
    one, two = (next(drawn_indices(50, 10, name)) for name in ("x", "y"))
    assert (one != two).mean() > 0.9


def test_sums_over_draws_are_the_sums_of_the_drawn_items():
    values = normals("sums", 11, 3)
    drawn = np.concatenate(list(drawn_indices(11, 40, "x")))
    assert drawn_sums(values, 40, "x") == pytest.approx(values[drawn].sum(axis=1))


def test_the_paired_bootstrap_agrees_with_scipys():
    values = normals("boot", 200, 2) + np.array([0.1, 0.0])
    found, _ = paired_bootstrap(values, difference_of_means(200), "x")
    differences = (values[:, 0] - values[:, 1],)
    expected = scipy.stats.bootstrap(
        differences, np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    bounds = found.interval.low, found.interval.high
    assert bounds == pytest.approx((expected.low, expected.high), abs=0.015)
    assert found.interval.estimate == pytest.approx(np.mean(differences))


def test_the_paired_bootstrap_covers_the_truth_in_95_of_100_experiments():
    missed = 0
    for turn in range(1000):
        values = normals(f"cover{turn}", 100, 2) + np.array([0.3, 0.0])
        found, _ = paired_bootstrap(values, difference_of_means(100), turn, draws=500)
        missed += found.interval.excludes(0.3)
    assert missed / 1000 == pytest.approx(0.05, abs=0.03)


def test_bootstrap_p_values_of_equal_sides_are_even():
    found = []
    for turn in range(1000):
        values = normals(f"null{turn}", 60, 2)
        found.append(paired_bootstrap(values, difference_of_means(60), turn, draws=400)[0].p)
    shares = [np.mean(np.array(found) <= level) for level in (0.05, 0.2, 0.5)]
    assert shares == pytest.approx([0.05, 0.2, 0.5], abs=0.05)


def test_a_bootstrap_p_value_is_never_0():
    assert bootstrap_p_value(np.full(999, 3.0)) == pytest.approx(2 / 1000)


@pytest.mark.parametrize(("seed_noise", "residue"), [(0.3, 1.0), (0.0, 1.0), (1.0, 0.2)])
def test_noise_of_seeds_and_examples_together_covers_the_truth(seed_noise, residue):
    turns, seeds, examples, missed = 1500, 3, 100, 0
    every = normals("example", turns, examples, 1) + 2.0
    every = every + seed_noise * normals("seed", turns, 1, seeds)
    every = every + residue * normals("residue", turns, examples, seeds)
    for scores in every:
        over_seeds = scores.mean(axis=0).std(ddof=1) / math.sqrt(seeds)
        over_examples = scores.mean(axis=1).std(ddof=1) / math.sqrt(examples)
        parts = [(over_seeds, seeds - 1), (over_examples, examples - 1)]
        missed += added_noise(scores.mean(), parts)[0].excludes(2.0)
    assert missed / turns < 0.05 + 4 * math.sqrt(0.05 * 0.95 / turns)


def test_noise_of_one_part_alone_is_students():
    interval, p = added_noise(1.0, [(0.5, 4), (0.0, 99)])
    half = scipy.stats.t.ppf(0.975, 4) * 0.5
    assert (interval.low, interval.high) == pytest.approx((1 - half, 1 + half))
    assert p == pytest.approx(2 * scipy.stats.t.sf(2.0, 4))


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
