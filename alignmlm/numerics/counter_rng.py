"""Random numbers as integer hashes of (seed, purpose, epoch, row, position): no state, no order.

They are equal on every machine, rank and worker, so any batch can be computed at any time.
Source: Steele et al., 2014 (SplitMix64), used as a counter-based hash.
"""

from functools import lru_cache
from math import ceil

import numpy as np
import xxhash
from jaxtyping import Bool, Float, Int, UInt64

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


def mix(x: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """A bijection of 64-bit integers whose every output bit depends on every input bit."""
    x = (x ^ (x >> np.uint64(30))) * MIX_1
    x = (x ^ (x >> np.uint64(27))) * MIX_2
    return x ^ (x >> np.uint64(31))


def as_uint64(part: int | str) -> int:
    """A text as its xxh3 hash, an integer as itself modulo 2**64."""
    if isinstance(part, str):
        return xxhash.xxh3_64_intdigest(part.encode())
    return int(part) % 2**64


def fold(parent: int, parts: UInt64[np.ndarray, " item"]) -> UInt64[np.ndarray, " item"]:
    """Keys of tuples that differ in their last part only; `parent` is the key of all before it."""
    return mix((np.uint64(parent) ^ parts) + GOLDEN)


@lru_cache(maxsize=4096)
def key(*parts: int | str) -> int:
    """One 64-bit key for a tuple of names and integers, for instance ("mask", seed, epoch)."""
    folded = 0
    for part in parts:
        folded = int(fold(folded, np.array([as_uint64(part)], np.uint64))[0])
    return folded


def keys(
    parent: int | UInt64[np.ndarray, "*#shape"], children: Int[np.ndarray, "*#shape"]
) -> UInt64[np.ndarray, "*shape"]:
    """A key of its own for each child number below a parent key."""
    return mix(np.asarray(parent, np.uint64) + (children.astype(np.uint64) + np.uint64(1)) * GOLDEN)


def uniform(bits: UInt64[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Hashes as numbers in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def threshold(share: float) -> int:
    """The number t for which (hash >> 11) < t is exactly uniform(hash) < share."""
    return ceil(share * 2**53)


def below(
    bits: UInt64[np.ndarray, "*shape"], bound: int | Int[np.ndarray, "*shape"]
) -> Int[np.ndarray, "*shape"]:
    """Hashes as integers in [0, bound), bound at most 2**32; the bias is below bound / 2**32."""
    high = bits >> np.uint64(32)
    return ((high * np.asarray(bound, np.uint64)) >> np.uint64(32)).astype(np.int64)


def smallest_share(bits: UInt64[np.ndarray, " item"], share: float) -> Bool[np.ndarray, " item"]:
    """Exactly round(share * items) items chosen; a larger share contains every smaller one."""
    chosen = np.zeros(len(bits), bool)
    chosen[np.argsort(bits, kind="stable")[: round(share * len(bits))]] = True
    return chosen
