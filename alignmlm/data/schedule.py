"""Which language each sample comes from, and which row of it: pure functions of integers."""

from fractions import Fraction
from math import gcd, isfinite

import numpy as np
from jaxtyping import Int

from alignmlm.draws import key, keys, mix
from alignmlm.errors import ConfigError

PARTS = 1000  # weights are honoured to a thousandth
ROUNDS = 6


def weight_parts(weights: list[float]) -> list[int]:
    """Weights as small whole numbers, to a thousandth of their sum.

    Raises:
        ConfigError: a weight that is not positive, or too small to be honoured.
    """
    finite = bool(weights) and all(map(isfinite, weights))
    shares = [Fraction(weight).limit_denominator(10**6) for weight in weights if finite]
    if not shares or min(shares) <= 0 or min(shares) * PARTS < sum(shares):
        raise ConfigError("languages.weights", weights, "be positive, at least 0.001 of their sum")
    exact = [share / sum(shares) * PARTS for share in shares]
    if len(set(exact)) == 1:
        return [1] * len(exact)
    parts = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: parts[i] - exact[i])
    for language in by_remainder[: PARTS - sum(parts)]:
        parts[language] += 1
    return [part // gcd(*parts) for part in parts]


def mixture_table(weights: list[float]) -> Int[np.ndarray, " period"]:
    """Languages of one period of the mixture.

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


def language_of_samples(
    table: Int[np.ndarray, " period"], samples: Int[np.ndarray, " row"]
) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """The language of each sample, and how many samples of that language came before it."""
    periods, slots = np.divmod(samples, len(table))
    languages = table[slots]
    seen = table[:, None] == np.arange(table.max() + 1)
    before = np.cumsum(seen, axis=0) - seen
    return languages, periods * seen.sum(axis=0)[languages] + before[slots, languages]


def keyed_permutation(
    order_key: int, values: Int[np.ndarray, " row"], size: int
) -> Int[np.ndarray, " row"]:
    """Images of some values under a bijection of [0, size) that the key chooses.

    Nothing is stored: a Feistel network over the next power of four, walked until it is inside.
    Source: Black and Rogaway, 2002 (Ciphers with arbitrary finite domains), cycle walking.
    """
    half = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    round_keys = keys(order_key, np.arange(ROUNDS))
    image = values.astype(np.uint64)
    outside = np.ones(len(image), bool)
    while outside.any():
        left, right = image[outside] >> half, image[outside] & mask
        for round_key in round_keys:
            left, right = right, left ^ (mix(right ^ round_key) & mask)
        image[outside] = (left << half) | right
        outside = image >= np.uint64(size)
    return image.astype(np.int64)


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
