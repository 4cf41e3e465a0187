"""Ranks of orders without a compiled twin, computed per shard before its first row is read."""

from functools import cached_property

import numpy as np
from jaxtyping import UInt8, UInt64

from alignmlm.data.blocks import shard_key
from alignmlm.data.shards import Shard
from alignmlm.data.stored_orders import OrderShard, order_records
from alignmlm.languages.orders import word_ranks
from alignmlm.languages.sentences import Sentences

PIECE_TOKENS = 2**20  # tokens of a shard in memory at once, as 64-bit numbers


class PlainOrder(OrderShard):
    """The ranks of one shard's words in an order, computed instead of read; one byte per token."""

    def __init__(self, shard: Shard, order: str, seed: int) -> None:
        self.shard, self.order, self.seed = shard, order, seed
        self.path, self.blocks = shard.bin_path, shard.entry.blocks

    @cached_property
    def made(self) -> tuple[UInt64[np.ndarray, "block 129"], str]:
        """Hash and ranks of each block, and the digest of them all."""
        ranks, start, end = [], 0, self.shard.entry.tokens
        while start < end:
            piece, first = self.shard.sentences(start, min(start + PIECE_TOKENS, end))
            ranks.append(self.token_ranks(piece)[start - first :])
            start = first + len(piece.ids)
        return order_records(np.concatenate(ranks))

    def token_ranks(self, piece: Sentences) -> UInt8[np.ndarray, " token"]:
        """The rank of each token's word in its sentence."""
        rank = word_ranks(piece, self.order, self.seed).astype(np.uint8)
        return np.repeat(rank, piece.word_lengths_tokens())

    @cached_property
    def records(self) -> UInt64[np.ndarray, "block 129"]:
        """Hash and ranks of each block."""
        return self.made[0]

    @cached_property
    def key(self) -> np.uint64:  # type: ignore[override]
        """The key that the blocks' hashes are mixed with."""
        return shard_key(self.made[1], self.shard.entry.tokens)
