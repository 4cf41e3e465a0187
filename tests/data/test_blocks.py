"""The compiled hash is the xxhash library's, and the compiled rows are the specification's."""

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.data.blocks import (
    content_hashes,
    digest_of,
    first_damaged,
    reference_hash,
    shard_key,
    stored_hashes,
    xxh3,
)


@given(st.integers(31, 600), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_the_compiled_xxh3_is_that_of_the_library(words, seed):
    data = np.random.default_rng(seed).integers(0, 2**64, words, np.uint64)
    assert int(xxh3(data)) == xxhash.xxh3_64_intdigest(data.tobytes())


@pytest.mark.parametrize("width", [256, 512])
def test_the_stored_hash_of_a_block_is_the_one_that_is_specified(width):
    rng = np.random.default_rng(width)
    tokens, bits = (rng.integers(0, 2**64, (5, n), np.uint64) for n in (width, 32))
    contents = content_hashes(tokens, bits)
    mixed_with = shard_key(digest_of(contents, 5000), 5000)
    records = np.column_stack([stored_hashes(contents, mixed_with), bits])
    assert first_damaged(tokens, records, mixed_with, 0, 4) == -1
    for block in range(5):
        expected = reference_hash(tokens[block].tobytes(), bits[block].tobytes(), mixed_with, block)
        assert int(records[block, 0]) == expected
    records[3, 5] ^= np.uint64(1)
    assert first_damaged(tokens, records, mixed_with, 0, 4) == 3


def test_another_length_is_another_key():
    assert shard_key("00000000000000ff", 1000) != shard_key("00000000000000ff", 1001)
