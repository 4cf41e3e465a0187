"""Blocks of a shard: 1,024 tokens, their word and sentence bits, and one hash of them all.

The hash combines the xxh3-64 of the tokens and that of the bits with the shard's key and the
block's number, so a misplaced block is detected like a damaged one. `reference_hash`
computes it with the xxhash library; the compiled code agrees with it bit for bit.
Source: https://github.com/Cyan4973/xxHash, specification of XXH3 (inputs above 240 bytes).
"""

from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import xxhash
from jaxtyping import UInt64

from alignmlm.numerics.counter_rng import GOLDEN, MIX_1, MIX_2, mix
from alignmlm.numerics.numba_jit import bare, compiled, inlined

BLOCK_TOKENS = 1024
BITS_WORDS = BLOCK_TOKENS // 64  # uint64 words that hold one bit per token
RECORD_WORDS = 1 + 2 * BITS_WORDS  # hash, word bits, sentence bits

SECRET = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
        "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
        "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
        "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
        "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
    ),
    np.uint8,
)
STRIPE = 8  # uint64 words that are accumulated at once
STRIPES = 16  # stripes between two scramblings


def secret_words(start: int, count: int) -> UInt64[np.ndarray, " word"]:
    """`count` uint64 words of the XXH3 secret, from byte `start` on."""
    return np.frombuffer(SECRET.tobytes(), "<u8", count, start)


# keys of the stripes, then of the scrambling, then of the last stripe
STRIPE_KEYS = np.stack(
    [
        *(secret_words(8 * s, STRIPE) for s in range(STRIPES)),
        *(secret_words(a, 8) for a in (128, 121)),
    ]
)
MERGE_KEYS = secret_words(11, 8)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
PRIME_32, PRIME_64 = np.uint64(0x9E3779B1), np.uint64(0x9E3779B185EBCA87)
AVALANCHE = np.uint64(0x165667919E3779F9)
START = tuple(
    np.uint64(value)
    for value in (
        0xC2B2AE3D, 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
        0x85EBCA77C2B2AE63, 0x85EBCA77, 0x27D4EB2F165667C5, 0x9E3779B1,
    )
)  # fmt: skip


@inlined
def mixed(x):
    """counter_rng.mix for a single number."""
    x = (x ^ (x >> np.uint64(30))) * MIX_1
    x = (x ^ (x >> np.uint64(27))) * MIX_2
    return x ^ (x >> np.uint64(31))


@inlined
def product(data, at, keys, lane):
    """The product that one lane of a stripe adds to its accumulator."""
    keyed = data[at + lane] ^ keys[lane]
    return data[at + (lane ^ 1)] + (keyed & LOW) * (keyed >> HALF)


@inlined
def take_in(sums, data, at, keys):
    """The eight accumulators after one more stripe; a tuple, so that they stay in registers."""
    return (
        sums[0] + product(data, at, keys, 0), sums[1] + product(data, at, keys, 1),
        sums[2] + product(data, at, keys, 2), sums[3] + product(data, at, keys, 3),
        sums[4] + product(data, at, keys, 4), sums[5] + product(data, at, keys, 5),
        sums[6] + product(data, at, keys, 6), sums[7] + product(data, at, keys, 7),
    )  # fmt: skip


@inlined
def scrambled(value, key):
    """One accumulator, scrambled after 1,024 bytes."""
    return (value ^ (value >> np.uint64(47)) ^ key) * PRIME_32


@inlined
def folded(a, b):
    """The two halves of the 128-bit product, xored."""
    a_low, a_high, b_low, b_high = a & LOW, a >> HALF, b & LOW, b >> HALF
    low, mid = a_low * b_low, a_high * b_low
    cross = (low >> HALF) + (mid & LOW) + a_low * b_high
    high = (mid >> HALF) + (cross >> HALF) + a_high * b_high
    return high ^ ((cross << HALF) | (low & LOW))


@bare
def xxh3(data):
    """The xxh3-64 of uint64 words, more than 30 of them."""
    sums, keys = START, STRIPE_KEYS
    whole = (8 * len(data) - 1) // (64 * STRIPES)
    for chunk in range(whole):
        for stripe in range(STRIPES):
            sums = take_in(sums, data, (chunk * STRIPES + stripe) * STRIPE, keys[stripe])
        last = keys[STRIPES]
        sums = (
            scrambled(sums[0], last[0]), scrambled(sums[1], last[1]),
            scrambled(sums[2], last[2]), scrambled(sums[3], last[3]),
            scrambled(sums[4], last[4]), scrambled(sums[5], last[5]),
            scrambled(sums[6], last[6]), scrambled(sums[7], last[7]),
        )  # fmt: skip
    for stripe in range((8 * len(data) - 1 - whole * 64 * STRIPES) // 64):
        sums = take_in(sums, data, (whole * STRIPES + stripe) * STRIPE, keys[stripe])
    sums = take_in(sums, data, len(data) - STRIPE, keys[STRIPES + 1])
    total = np.uint64(8 * len(data)) * PRIME_64
    total += folded(sums[0] ^ MERGE_KEYS[0], sums[1] ^ MERGE_KEYS[1])
    total += folded(sums[2] ^ MERGE_KEYS[2], sums[3] ^ MERGE_KEYS[3])
    total += folded(sums[4] ^ MERGE_KEYS[4], sums[5] ^ MERGE_KEYS[5])
    total += folded(sums[6] ^ MERGE_KEYS[6], sums[7] ^ MERGE_KEYS[7])
    total = (total ^ (total >> np.uint64(37))) * AVALANCHE
    return total ^ (total >> HALF)


@inlined
def stored_hash(content, mixed_with, block):
    """The hash in the index for a block of that content at that position."""
    return mixed((content ^ mixed_with) + np.uint64(block + 1) * GOLDEN)


@compiled
def content_hashes(tokens, bits):
    """A hash of each block's tokens (block, words) and bits (block, 32), whatever its position."""
    hashes = np.empty(len(tokens), np.uint64)
    for block in range(len(tokens)):
        hashes[block] = mixed(xxh3(tokens[block]) ^ mixed(xxh3(bits[block])))
    return hashes


@compiled
def stored_hashes(contents, mixed_with):
    """The hash that the index stores for each block."""
    hashes = np.empty_like(contents)
    for block in range(len(contents)):
        hashes[block] = stored_hash(contents[block], mixed_with, block)
    return hashes


@bare
def first_damaged(tokens, records, mixed_with, first, last):
    """The first of the blocks first..last whose hash is not the stored one; -1 for none."""
    for block in range(first, last + 1):
        content = mixed(xxh3(tokens[block]) ^ mixed(xxh3(records[block, 1:])))
        if stored_hash(content, mixed_with, block) != records[block, 0]:
            return block
    return -1


def mapped_words(path: Path, blocks: int) -> UInt64[np.ndarray, "block word"]:
    """A file of equal-sized records, memory-mapped; the caller has checked its size."""
    with open(path, "rb") as file:  # noqa: PTH123 - thousands of shards: no buffered reader
        mapped = mmap(file.fileno(), 0, access=ACCESS_READ)
    return np.frombuffer(mapped, "<u8").reshape(blocks, -1)


def digest_of(contents: UInt64[np.ndarray, " block"], tokens: int) -> str:
    """The identity of a shard: a hash of its blocks' hashes and its length."""
    parts = contents.astype("<u8").tobytes() + tokens.to_bytes(8, "little")
    return xxhash.xxh3_64_hexdigest(parts)


def shard_key(digest: str, tokens: int) -> np.uint64:
    """The key that every block's hash is mixed with, from the shard's digest and length."""
    parts = np.array([int(digest, 16)], np.uint64) ^ mix(np.array([tokens], np.uint64))
    return np.uint64(mix(parts)[0])


def reference_hash(tokens: bytes, bits: bytes, mixed_with: np.uint64, block: int) -> int:
    """The stored hash of one block, by the xxhash library."""
    of_tokens, of_bits = (
        np.array([xxhash.xxh3_64_intdigest(b)], np.uint64) for b in (tokens, bits)
    )
    content = mix(of_tokens ^ mix(of_bits))
    return int(mix((content ^ mixed_with) + np.array([block + 1], np.uint64) * GOLDEN)[0])
