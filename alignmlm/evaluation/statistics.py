"""How sure a number is: intervals over seeds, paired bootstrap, permutation tests, Holm.

Every draw is a hash (alignmlm/draws.py), so that the same numbers give the same intervals.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Float, Int

from alignmlm.draws import below, key, keys

LEVEL = 0.95
RESAMPLES = 10_000
DRAWS_AT_ONCE = 2**21
Statistic = Callable[[Float[np.ndarray, "draw column"]], Float[np.ndarray, " draw"]]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the bounds of its interval; the bounds are nan where nothing bounds it."""

    estimate: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether it has bounds."""
        return not math.isnan(self.low)

    def excludes(self, value: float) -> bool:
        """Whether the interval has bounds and the value lies outside."""
        return self.known and not self.low <= value <= self.high


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


def t_interval(estimate: float, error: float, freedom: float, level: float = LEVEL) -> Interval:
    """The estimate plus and minus Student's t times its standard error."""
    from scipy.stats import t

    half = float(t.ppf((1 + level) / 2, freedom)) * error
    return Interval(estimate, estimate - half, estimate + half)


def t_p_value(estimate: float, error: float, freedom: float) -> float:
    """The two-sided p-value of an estimate; 1 for 0 without an error, else 0 without one."""
    from scipy.stats import t

    if error == 0:
        return float(estimate == 0)
    return float(2 * t.sf(abs(estimate) / error, freedom))


def standard_error(values: Float[np.ndarray, " seed"]) -> float:
    """The standard error of the mean; of equal values 0, whatever rounding makes of them."""
    if np.ptp(values) == 0:
        return 0.0
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def mean_interval(values: Float[np.ndarray, " seed"], level: float = LEVEL) -> Interval:
    """The mean over seeds and Student's t interval; no bounds where there is one seed.

    Source: Student, 1908 (Biometrika 6), the probable error of a mean.
    """
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    return t_interval(mean, standard_error(values), float(len(values) - 1), level)


def paired_t(
    a: Float[np.ndarray, " seed"], b: Float[np.ndarray, " seed"], level: float = LEVEL
) -> Difference:
    """Mean of a - b over seeds with its t interval; neither bounds nor p where there is one."""
    differences = a - b
    interval = mean_interval(differences, level)
    if len(differences) < 2:
        return Difference(interval, math.nan, "one seed")
    error = standard_error(differences)
    p = t_p_value(interval.estimate, error, float(len(differences) - 1))
    return Difference(interval, p, f"paired t over {len(differences)} seeds")


def drawn_indices(
    items: int, draws: int, *names: int | str
) -> Iterator[Int[np.ndarray, "draw item"]]:
    """For each draw as many items as there are, with replacement; some draws at a time."""
    parent, step = key("bootstrap", *names), max(1, DRAWS_AT_ONCE // items)
    places = np.arange(items)
    for start in range(0, draws, step):
        rows = keys(parent, np.arange(start, min(start + step, draws)))
        yield below(keys(rows[:, None], places[None, :]), items)


def drawn_sums(
    values: Float[np.ndarray, "item column"], draws: int = RESAMPLES, *names: int | str
) -> Float[np.ndarray, "draw column"]:
    """Sums of each column over the items of each draw; the same items for all columns."""
    items = len(values)
    sums = []
    for drawn in drawn_indices(items, draws, *names):
        cells = drawn + items * np.arange(len(drawn))[:, None]
        times = np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape)
        sums.append(times.astype(np.float64) @ values)
    return np.concatenate(sums)


def percentile_interval(
    estimate: float, found: Float[np.ndarray, " draw"], level: float = LEVEL
) -> Interval:
    """The estimate and the middle share of what was found in draws; nan is left out.

    Source: Efron, 1979 (Annals of Statistics 7), the percentile method.
    """
    kept = found[~np.isnan(found)]
    if not len(kept):
        return Interval(estimate, math.nan, math.nan)
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def bootstrap_p_value(found: Float[np.ndarray, " draw"]) -> float:
    """Twice the smaller share of draws on either side of 0, with one draw added to each side.

    Source: Davison and Hinkley, 1997, section 4.2.3 (the added one); Koehn, 2004 (paired draws).
    """
    smaller = min((found <= 0).sum(), (found >= 0).sum())
    return min(1.0, float(2 * (smaller + 1) / (len(found) + 1)))


def paired_bootstrap(
    values: Float[np.ndarray, "item column"],
    difference: Statistic,
    *names: int | str,
    draws: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[Difference, Float[np.ndarray, " draw"]]:
    """A difference computed from sums over items, how sure it is, and its value in each draw.

    Items are examples or seeds, the columns what both sides scored on them: each draw takes the
    same items for both sides.
    Source: Koehn, 2004 (EMNLP), paired bootstrap resampling.
    """
    found = difference(drawn_sums(values, draws, *names))
    estimate = float(difference(values.sum(axis=0, keepdims=True))[0])
    interval = percentile_interval(estimate, found, level)
    method = f"paired bootstrap of {len(values)} items"
    return Difference(interval, bootstrap_p_value(found), method), found


def added_noise(
    estimate: float,
    parts: Sequence[tuple[float, int]],
    level: float = LEVEL,
) -> tuple[Interval, float]:
    """Interval and p-value of an estimate whose independent errors add up.

    Each part is a standard error and its degrees of freedom. Where both seeds and examples vary,
    their shared residue counts twice, so the interval is rather too wide than too narrow.
    Source: Satterthwaite, 1946 (Biometrics Bulletin 2), equation 17.
    """
    squares = [error**2 for error, _ in parts]
    total = sum(squares)
    shares = [square**2 / freedom for square, (_, freedom) in zip(squares, parts, strict=True)]
    freedom = total**2 / sum(shares) if sum(shares) else 1.0
    error = math.sqrt(total)
    return t_interval(estimate, error, freedom, level), t_p_value(estimate, error, freedom)


def ranks(values: Float[np.ndarray, "*draw item"]) -> Float[np.ndarray, "*draw item"]:
    """Ranks along the last axis from 1; equal values share the mean of their ranks."""
    from scipy.stats import rankdata

    return rankdata(values, axis=-1).astype(np.float64)


def row_correlations(
    x: Float[np.ndarray, "#draw item"], y: Float[np.ndarray, "#draw item"]
) -> Float[np.ndarray, " draw"]:
    """Pearson's coefficient of each row, in [-1, 1]; nan where a row is constant."""
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    lengths = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    products = (x * y).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(np.where(lengths > 0, products / lengths, np.nan), -1, 1)


def spearman(x: Float[np.ndarray, " item"], y: Float[np.ndarray, " item"]) -> float:
    """Spearman's rho in [-1, 1], equal values with mean ranks; nan where one side is constant."""
    return float(row_correlations(ranks(x)[None], ranks(y)[None])[0])


def item_orders(items: int, draws: int, *names: int | str) -> Int[np.ndarray, "draw item"]:
    """All orders of the items where there are at most `draws` of them, else that many drawn."""
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
    found = np.abs(row_correlations(ranks(x)[None], ranks(y)[orders]))
    far = int((found >= abs(spearman(x, y)) - 1e-12).sum())
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

    No bounds and no p-value where a side is constant or there are fewer than three pairs.
    Source: Tang et al., 2022 (arXiv:2211.08547), section 5 (rho of alignment and Delta).
    """
    rho = spearman(x, y)
    if math.isnan(rho) or len(x) < 3:
        return Correlation(Interval(rho, math.nan, math.nan), math.nan, len(x))
    parts = drawn_indices(len(x), draws, "correlation", *names)
    found = np.concatenate([row_correlations(ranks(x[i]), ranks(y[i])) for i in parts])
    p = permutation_p_value(x, y, *names, draws=draws)
    return Correlation(percentile_interval(rho, found, level), p, len(x))


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
