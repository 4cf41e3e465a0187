"""Uncertainty: t intervals over seeds and examples, permutation tests, Holm.

Where the noise cannot be estimated there is neither an interval nor a p-value. Every draw is a hash
(alignmlm/numerics/counter_rng.py), so that the same numbers give the same intervals.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from alignmlm.numerics.counter_rng import below, key, keys

LEVEL = 0.95
RESAMPLES = 10_000
DRAWS_AT_ONCE = 2**21
SMALLEST_P = 1e-300  # smaller p-values are given as this one: they are near the smallest float
ROUNDING = 1e-9  # numbers this close, as a share of the largest, count as equal


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the bounds of its interval; the bounds are nan where nothing bounds it."""

    estimate: float
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        """Whether it has bounds."""
        return not math.isnan(self.low)

    def excludes(self, value: float) -> bool:
        """Whether the interval has bounds and the value lies outside."""
        return self.known and not self.low <= value <= self.high


class Noise(NamedTuple):
    """The standard error that one source of noise gives an estimate."""

    source: str  # "3 seeds", "300 examples"
    error: float
    freedom: int  # degrees of freedom of the error; 0: from a single draw


@dataclass(frozen=True, slots=True)
class Difference:
    """An interval, the p-value of "it is 0" (nan where it has none), and where both come from."""

    interval: Interval
    p: float
    method: str


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rho in [-1, 1] with its bootstrap interval and two-sided permutation p-value."""

    interval: Interval
    p: float
    pairs: int

    @property
    def rho(self) -> float:
        """The coefficient of the sample itself."""
        return self.interval.estimate


def standard_error(values: Float[np.ndarray, " seed"]) -> float:
    """The standard error of the mean; 0 where the values differ by rounding alone, nan for one."""
    if len(values) < 2:
        return math.nan
    if np.ptp(values) <= ROUNDING * max(1.0, np.abs(values).max()):
        return 0.0
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def jackknife_error(left_out: Float[np.ndarray, " item"]) -> float:
    """The standard error of an estimate, from its leave-one-out values.

    For a mean it equals the usual standard error of the mean.
    Source: Tukey, 1958 (Annals of Mathematical Statistics 29), the jackknife.
    """
    return standard_error(left_out) * (len(left_out) - 1)


def half_width(noises: Sequence[Noise], p: float) -> float:
    """Half of the interval at level 1 - p: half widths of independent errors, added in quadrature.

    Each error has its own Student's t. With Satterthwaite's degrees of freedom instead, equal sides
    would be called different in up to 12 % of comparisons at two or three seeds.
    Source: Zou and Donner, 2008 (Statistics in Medicine 27), the method of variance estimates
    recovery; Howe, 1974 (Journal of the American Statistical Association 69).
    """
    from scipy.special import stdtrit

    return math.hypot(*(noise.error * stdtrit(noise.freedom, p / 2) for noise in noises))


def p_value(estimate: float, noises: Sequence[Noise]) -> float:
    """The p at which the interval of an estimate would just touch 0; at least SMALLEST_P."""
    from scipy.optimize import brentq
    from scipy.special import stdtr

    alone = max(2 * stdtr(noise.freedom, -abs(estimate) / noise.error) for noise in noises)
    least = max(float(alone), SMALLEST_P)

    def beyond(log_p: float) -> float:
        return half_width(noises, math.exp(log_p)) - abs(estimate)

    if half_width(noises, least) <= abs(estimate) or beyond(math.log(least)) <= 0:
        return least
    return math.exp(brentq(beyond, math.log(least), 0.0))


def what_is_missing(estimate: float, noises: Sequence[Noise]) -> str | None:
    """Why the noise of an estimate is unknown; None where it is known."""
    sources = " and ".join(noise.source for noise in noises)
    if math.isnan(estimate):
        return "not measured"
    if not noises:
        return "one seed without answers"
    for noise in noises:
        if noise.freedom < 1:
            return f"{noise.source} only"
        if math.isnan(noise.error):
            return f"a single one of {noise.source} counts"
    return None if any(noise.error for noise in noises) else f"no spread over {sources}"


def difference(estimate: float, noises: Sequence[Noise], level: float = LEVEL) -> Difference:
    """An estimate with the noise of all sources; neither bounds nor p where that is unknown."""
    if reason := what_is_missing(estimate, noises):
        return Difference(Interval(estimate), math.nan, f"no p-value: {reason}")
    varied = [noise for noise in noises if noise.error]
    half = half_width(varied, 1 - level)
    interval = Interval(estimate, estimate - half, estimate + half)
    return Difference(interval, p_value(estimate, varied), " and ".join(n.source for n in noises))


def seed_noise(values: Float[np.ndarray, " seed"]) -> list[Noise]:
    """The noise of the mean over seeds; empty for a single seed."""
    seeds = len(values)
    return [Noise(f"{seeds} seeds", standard_error(values), seeds - 1)] if seeds > 1 else []


def mean_interval(values: Float[np.ndarray, " seed"], level: float = LEVEL) -> Interval:
    """The mean over seeds and Student's t interval; no bounds for one seed, or for equal ones.

    Source: Student, 1908 (Biometrika 6), the probable error of a mean.
    """
    return difference(float(values.mean()), seed_noise(values), level).interval


def drawn_indices(
    items: int, draws: int, *names: int | str
) -> Iterator[Int[np.ndarray, "draw item"]]:
    """Bootstrap samples of item indices, drawn with replacement; yielded in chunks of draws."""
    parent, step = key("bootstrap", *names), max(1, DRAWS_AT_ONCE // items)
    places = np.arange(items)
    for start in range(0, draws, step):
        rows = keys(parent, np.arange(start, min(start + step, draws)))
        yield below(keys(rows[:, None], places[None, :]), items)


def percentile_interval(
    estimate: float, values: Float[np.ndarray, " draw"], level: float = LEVEL
) -> Interval:
    """The estimate and the middle `level` of the draws, nan left out; no bounds if all are equal.

    Source: Efron, 1979 (Annals of Statistics 7), the percentile method.
    """
    defined = values[~np.isnan(values)]
    if not len(defined) or np.ptp(defined) <= ROUNDING:
        return Interval(estimate)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def rank_correlations(
    x: Float[np.ndarray, "#draw item"], y: Float[np.ndarray, "#draw item"]
) -> Float[np.ndarray, " draw"]:
    """Spearman's rho of each row, in [-1, 1]; nan where a row is constant."""
    from scipy.stats import ConstantInputWarning, pearsonr, rankdata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return pearsonr(rankdata(x, axis=1), rankdata(y, axis=1), axis=1).statistic


def spearman(x: Float[np.ndarray, " item"], y: Float[np.ndarray, " item"]) -> float:
    """Spearman's rho in [-1, 1], equal values with mean ranks; nan where one side is constant."""
    return float(rank_correlations(x[None], y[None])[0]) if len(x) > 1 else math.nan


def item_orders(items: int, draws: int, *names: int | str) -> Int[np.ndarray, "draw item"]:
    """All permutations of the items if there are at most `draws`, else `draws` random ones."""
    if math.factorial(items) <= draws:
        return np.array(list(permutations(range(items))), np.int64)
    rows = keys(key("permutation", *names), np.arange(draws))
    return np.argsort(keys(rows[:, None], np.arange(items)[None, :]), axis=1, kind="stable")


def permutation_p_value(
    x: Float[np.ndarray, " item"],
    y: Float[np.ndarray, " item"],
    *names: int | str,
    draws: int = RESAMPLES,
) -> float:
    """Share of orders of y with a Spearman's rho at least as far from 0; exact for few items.

    Source: Phipson and Smyth, 2010 (SAGMB 9), (b + 1) / (m + 1) where the orders are drawn.
    """
    orders = item_orders(len(x), draws, *names)
    reordered = np.abs(rank_correlations(x[None], y[orders]))
    far = int((reordered >= abs(spearman(x, y)) - 1e-12).sum())
    exact = math.factorial(len(x)) <= draws
    return far / len(orders) if exact else (far + 1) / (len(orders) + 1)


def correlation(
    x: Float[np.ndarray, " item"],
    y: Float[np.ndarray, " item"],
    *names: int | str,
    draws: int = RESAMPLES,
    level: float = LEVEL,
) -> Correlation:
    """Spearman's rho of pairs, percentile bootstrap over pairs, permutation p-value.

    No bounds and no p-value where a side is constant or there are fewer than three pairs; no bounds
    where all resamples agree, as those of two sides with the same order do.
    Source: Tang et al., 2022 (arXiv:2211.08547), section 5 (rho of alignment and Delta).
    """
    rho = spearman(x, y)
    if math.isnan(rho) or len(x) < 3:
        return Correlation(Interval(rho), math.nan, len(x))
    parts = drawn_indices(len(x), draws, "correlation", *names)
    resampled = np.concatenate([rank_correlations(x[i], y[i]) for i in parts])
    p = permutation_p_value(x, y, *names, draws=draws)
    return Correlation(percentile_interval(rho, resampled, level), p, len(x))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values as adjusted for their number, in the same order; nan stays and is not counted.

    Source: Holm, 1979 (Scandinavian Journal of Statistics 6), the step-down procedure.
    """
    order = sorted(
        (i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i]
    )
    adjusted, highest = list(p_values), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, p_values[i] * (len(order) - place)))
        adjusted[i] = highest
    return adjusted
