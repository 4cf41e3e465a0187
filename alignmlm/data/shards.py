"""Shards: flat little-endian tokens of a base language, and a record for every block beside them.

`shard-00000.bin` holds the tokens (uint16, or uint32 above 65,535), `shard-00000.idx` one record
of 264 bytes for each 1,024 of them: a hash, one bit per token that says whether it starts a word,
and one that says whether it starts a sentence. Both files are padded to whole blocks. So a row is
found, cut and verified with the few bytes around it, however large the shard. Nothing is pickled.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Integer, UInt64

from alignmlm.data.blocks import (
    BITS_WORDS,
    BLOCK_TOKENS,
    RECORD_WORDS,
    content_hashes,
    digest_of,
    first_damaged,
    mapped_words,
    reference_hash,
    shard_key,
    stored_hashes,
)
from alignmlm.data.stored_orders import OrderShard
from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.sentences import Sentences

MOST_TOKENS = 2**40
DIGEST = re.compile("[0-9a-f]{16}")
ADVICE = "run `alignmlm data verify`, then build or copy the store again"


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """A shard's row in the manifest."""

    name: str  # of its files, without the suffix
    tokens: int
    sentences: int
    documents: int
    words: int
    digest: str  # 16 hexadecimal digits, of all blocks

    def __post_init__(self) -> None:
        counts = (self.sentences, self.documents, self.words)
        if type(self.tokens) is not int or not 0 <= self.tokens <= MOST_TOKENS:
            raise ConfigError("tokens", self.tokens, f"be an integer in [0, {MOST_TOKENS}]")
        if any(type(count) is not int or not 0 <= count <= self.tokens for count in counts):
            requirement = f"be integers in [0, {self.tokens}], the tokens"
            raise ConfigError("sentences, documents, words", counts, requirement)
        if not isinstance(self.digest, str) or not DIGEST.fullmatch(self.digest):
            raise ConfigError("digest", self.digest, "have 16 hexadecimal digits")

    @property
    def blocks(self) -> int:
        """Number of blocks, the last one padded."""
        return -(-self.tokens // BLOCK_TOKENS)


def token_dtype(vocabulary_size: int) -> np.dtype:
    """The smallest unsigned type that holds every token."""
    return np.dtype("<u2") if vocabulary_size <= 2**16 - 1 else np.dtype("<u4")


def pack_bits(flags: Bool[np.ndarray, " token"], blocks: int) -> UInt64[np.ndarray, "block word"]:
    """One bit per token, zeros after the last."""
    padded = np.zeros(blocks * BLOCK_TOKENS, bool)
    padded[: len(flags)] = flags
    return np.packbits(padded, bitorder="little").view("<u8").reshape(blocks, BITS_WORDS)


def write_shard(stem: Path, text: Sentences, dtype: np.dtype, documents: int) -> ShardEntry:
    """Write both files of a shard; returns its row for the manifest."""
    blocks = -(-len(text.ids) // BLOCK_TOKENS)
    tokens = np.zeros(blocks * BLOCK_TOKENS, dtype)
    tokens[: len(text.ids)] = text.ids
    words = tokens.view("<u8").reshape(blocks, -1)
    flags = (text.word_starts, text.sentence_starts)
    bits = np.concatenate([pack_bits(flag, blocks) for flag in flags], axis=1)
    for array in (words, bits):  # read-only, as when read, so that the hash is compiled once
        array.flags.writeable = False
    contents = content_hashes(words, bits)
    digest = digest_of(contents, len(text.ids))
    hashes = stored_hashes(contents, shard_key(digest, len(text.ids)))
    stem.with_suffix(".bin").write_bytes(tokens.data)
    stem.with_suffix(".idx").write_bytes(np.column_stack([hashes, bits]).data)
    counts = (int(flag.sum()) for flag in (text.sentence_starts, text.word_starts))
    sentences, words_count = counts
    return ShardEntry(stem.name, len(text.ids), sentences, documents, words_count, digest)


class Shard:
    """A shard opened for reading; every block is verified each time it is read."""

    def __init__(self, folder: Path, entry: ShardEntry, dtype: np.dtype) -> None:
        self.entry, self.dtype = entry, dtype
        self.bin_path = folder / f"{entry.name}.bin"
        self.idx_path = folder / f"{entry.name}.idx"
        self.key = shard_key(entry.digest, entry.tokens)
        self.orders: list[OrderShard] = []

    @property
    def sizes_bytes(self) -> dict[str, int]:
        """The size that each of the two files must have, by file name."""
        width = self.dtype.itemsize * BLOCK_TOKENS
        blocks = self.entry.blocks
        return {self.bin_path.name: blocks * width, self.idx_path.name: blocks * 8 * RECORD_WORDS}

    @cached_property
    def words(self) -> UInt64[np.ndarray, "block word"]:
        """The tokens of each block as uint64 words, mapped; sizes are checked before."""
        return mapped_words(self.bin_path, self.entry.blocks)

    @cached_property
    def records(self) -> UInt64[np.ndarray, "block 33"]:
        """Hash, word bits and sentence bits of each block, mapped."""
        return mapped_words(self.idx_path, self.entry.blocks)

    @cached_property
    def ids(self) -> Integer[np.ndarray, " token"]:
        """The tokens as they lie in the file, not verified."""
        return self.words.reshape(-1).view(self.dtype)

    def verify_blocks(self, first: int, last: int) -> None:
        """Check the hashes of blocks first..last.

        Raises:
            DataError: a block differs; the message names shard, block, bytes and both hashes.
        """
        block = first_damaged(self.words, self.records, self.key, first, last)
        if block >= 0:
            raise self.damage(block)

    def damage(self, block: int) -> DataError:
        """The error for a damaged block."""
        width = self.dtype.itemsize * BLOCK_TOKENS
        start, stop = block * width, (block + 1) * width
        tokens, bits = self.words[block].tobytes(), self.records[block, 1:].tobytes()
        computed = reference_hash(tokens, bits, self.key, block)
        stored = int(self.records[block, 0])
        return DataError(
            f"shard {self.bin_path} (or its .idx) is damaged in block {block}, bytes {start} to "
            f"{stop}: hash {computed:016x}, expected {stored:016x}; {ADVICE}"
        )

    def flags(self, start: int, stop: int, first_word: int) -> Bool[np.ndarray, " token"]:
        """Word or sentence bits of tokens [start, stop); the caller verifies the blocks."""
        first, last = start // BLOCK_TOKENS, (stop - 1) // BLOCK_TOKENS
        bits = np.ascontiguousarray(
            self.records[first : last + 1, first_word : first_word + BITS_WORDS]
        )
        flags = np.unpackbits(bits.view(np.uint8).ravel(), bitorder="little").astype(bool)
        return flags[start - first * BLOCK_TOKENS : stop - first * BLOCK_TOKENS]

    def tokens(self, start: int, stop: int) -> Int[np.ndarray, " token"]:
        """Verified tokens [start, stop)."""
        first, last = start // BLOCK_TOKENS, (stop - 1) // BLOCK_TOKENS
        self.verify_blocks(first, last)
        ids = np.ascontiguousarray(self.words[first : last + 1]).view(self.dtype).ravel()
        return ids[start - first * BLOCK_TOKENS : stop - first * BLOCK_TOKENS].astype(np.int64)

    def sentence_bounds(self, start: int, stop: int) -> tuple[int, int]:
        """First and last bound of the whole sentences that touch tokens [start, stop)."""
        end = self.entry.tokens
        while start and not self.flags(start, start + 1, 1 + BITS_WORDS)[0]:
            start -= 1
        while stop < end and not self.flags(stop, stop + 1, 1 + BITS_WORDS)[0]:
            stop += 1
        self.verify_blocks(start // BLOCK_TOKENS, min(stop, end - 1) // BLOCK_TOKENS)
        return start, stop

    def sentences(self, start: int, stop: int, slot: int = -1) -> tuple[Sentences, int]:
        """The whole sentences that touch tokens [start, stop), and where the first one starts.

        `slot` is the index in `orders` of the syntax order whose ranks they get; -1 for none.
        """
        begin, end = self.sentence_bounds(start, stop)
        ids = self.tokens(begin, end)
        words, sentences = (self.flags(begin, end, at) for at in (1, 1 + BITS_WORDS))
        ranks = self.orders[slot].ranks(begin, end).astype(np.int64) if slot >= 0 else None
        return Sentences(ids, words, sentences, ranks), begin
