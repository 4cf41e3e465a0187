"""Which language each sample comes from, and which row of it: pure functions of integers."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import gcd, isfinite

import numpy as np
from jaxtyping import Int, UInt64

from alignmlm.data.blocks import mixed
from alignmlm.errors import ConfigError
from alignmlm.numerics.counter_rng import key, keys
from alignmlm.numerics.numba_jit import compiled

PARTS = 1000  # weights are honoured to a thousandth
ROUNDS = 6
MOST_SAMPLES = 2**63  # of a run; a change of weights after that many never happens


def weight_parts(weights: list[float]) -> list[int]:
    """Weights as small whole numbers, to a thousandth of their sum.

    Raises:
        ConfigError: a weight that is not positive, or too small to be honoured.
    """
    finite = bool(weights) and all(map(isfinite, weights))
    shares = [Fraction(weight) for weight in weights if finite]
    if max(shares, default=0) * PARTS >= 1:  # smaller ones would be rounded away
        shares = [share.limit_denominator(10**6) for share in shares]
    if len(set(shares)) == 1 and shares[0] > 0:
        return [1] * len(shares)
    if not shares or min(shares) <= 0 or min(shares) * PARTS < sum(shares):
        raise ConfigError("languages.weights", weights, "be positive, at least 0.001 of their sum")
    exact = [share / sum(shares) * PARTS for share in shares]
    parts = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: parts[i] - exact[i])
    for language in by_remainder[: PARTS - sum(parts)]:
        parts[language] += 1
    return [part // gcd(*parts) for part in parts]


def mixture_table(weights: list[float]) -> Int[np.ndarray, " period"]:
    """The language of each sample in one period of the mixture.

    After any number of samples each language has its share of them, give or take one: among
    those that are due, the one with the earliest deadline comes next.
    Source: Tijdeman, 1980 (the chairman assignment problem).
    """
    parts = weight_parts(weights)
    period, counts, table = sum(parts), [0] * len(parts), []
    for slot in range(period):
        due = [i for i, part in enumerate(parts) if counts[i] * period <= slot * part]
        chosen = min(due, key=lambda i: ((counts[i] + 1) / parts[i], i))
        counts[chosen] += 1
        table.append(chosen)
    return np.array(table, np.int64)


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of the run with one set of weights."""

    first: int  # number of its first sample
    table: Int[np.ndarray, " period"]
    inside: Int[np.ndarray, " period"]  # samples of the same language before it in the period
    whole: Int[np.ndarray, " language"]  # samples of each language in a period
    before: Int[np.ndarray, " language"]  # samples of each language before the phase


Mixture = list[Phase]


def phase_of(first: int, weights: list[float], before: Int[np.ndarray, " language"]) -> Phase:
    """The phase that starts at sample `first`."""
    table = mixture_table(weights)
    seen = table[:, None] == np.arange(len(weights))
    inside = (np.cumsum(seen, axis=0) - seen)[np.arange(len(table)), table]
    return Phase(first, table, inside, seen.sum(axis=0), before)


def mixture_of(weights: list[float], changes: dict[int, list[float]]) -> Mixture:
    """The mixture of a run: the weights at its start, and the changed ones from given samples on.

    No row is repeated or skipped where weights change: each language continues with its own
    next row.
    """
    phases = [phase_of(0, weights, np.zeros(len(weights), np.int64))]
    for first, changed in sorted(changes.items()):
        last, start = phases[-1], min(first, MOST_SAMPLES - 1)
        periods, rest = divmod(start - last.first, len(last.table))
        part = np.bincount(last.table[:rest], minlength=len(weights))
        phases.append(phase_of(start, changed, last.before + periods * last.whole + part))
    return phases


def language_of_samples(
    mixture: Mixture, samples: Int[np.ndarray, " row"]
) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """The language of each sample, and how many samples of that language came before it."""
    languages, counts = np.empty_like(samples), np.empty_like(samples)
    for phase, after in zip(mixture, [*mixture[1:], None], strict=True):
        here = samples >= phase.first
        if after is not None:
            here &= samples < after.first
        periods, slots = np.divmod(samples[here] - phase.first, len(phase.table))
        numbers = phase.table[slots]
        languages[here] = numbers
        counts[here] = phase.before[numbers] + periods * phase.whole[numbers] + phase.inside[slots]
    return languages, counts


def keyed_permutation(
    order_key: int, values: Int[np.ndarray, " row"], size: int
) -> Int[np.ndarray, " row"]:
    """Images of some values under a bijection of [0, size) that the key chooses.

    Nothing is stored: a Feistel network over the next power of four, applied until the value is
    below `size`.
    Source: Black and Rogaway, 2002 (Ciphers with arbitrary finite domains), cycle walking.
    """
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    return walk(round_keys(order_key), values, np.uint64(half), np.uint64(size))


@cache
def round_keys(order_key: int) -> UInt64[np.ndarray, " round"]:
    """The keys of the network's rounds."""
    return keys(order_key, np.arange(ROUNDS))


@compiled
def walk(round_keys, values, half, size):
    """Each value sent through the network until it falls inside [0, size)."""
    mask = (np.uint64(1) << half) - np.uint64(1)
    images = np.empty(len(values), np.int64)
    for place in range(len(values)):
        image = np.uint64(values[place])
        while True:
            left, right = image >> half, image & mask
            for round_key in round_keys:
                left, right = right, left ^ (mixed(right ^ round_key) & mask)
            image = (left << half) | right
            if image < size:
                break
        images[place] = np.int64(image)
    return images


def rows_of_language(
    seed: int, language: str, counts: Int[np.ndarray, " row"], size: int
) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Epoch and row number of a language's samples: every epoch visits each row once."""
    epochs, places = np.divmod(counts, size)
    rows = np.empty_like(places)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        order_key = key("row order", seed, language, int(epoch))
        rows[here] = keyed_permutation(order_key, places[here], size)
    return epochs, rows
