"""Syntax orders beside the tokens: the rank of every token's word in the new order.

`orders/<order>/<language>/<split>/shard-00000.ord` has one record of 1,032 bytes for every block of
1,024 tokens: a hash, and one byte per token. `manifest.json` beside the splits says which store it
belongs to, and how many sentences were not reordered, and why.
"""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt64

from alignmlm.data.blocks import (
    BLOCK_TOKENS,
    digest_of,
    mapped_words,
    mixed,
    shard_key,
    stored_hash,
    stored_hashes,
    xxh3,
)
from alignmlm.errors import DataError, quoted
from alignmlm.numerics.numba_jit import bare, compiled
from alignmlm.storage.atomic import replace_bytes, replace_text
from alignmlm.storage.checksums import verified, with_checksum
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.records import record

ORDERS, MANIFEST = "orders", "manifest.json"
RANK_WORDS = BLOCK_TOKENS // 8
SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class OrderManifest:
    """What a syntax order holds; written last."""

    schema_version: int
    order: str
    language: str
    data_id: str  # of the store that it belongs to
    digests: dict[str, list[str]]  # split -> one for each shard
    counts: dict[str, int]  # sentences, and those that kept their order, by reason
    provenance: dict[str, object]  # models, seed, hashes of the parses


@compiled
def rank_hashes(ranks):
    """A hash of each block's ranks, whatever its position."""
    hashes = np.empty(len(ranks), np.uint64)
    for block in range(len(ranks)):
        hashes[block] = mixed(xxh3(ranks[block]))
    return hashes


@bare
def first_damaged_order(records, mixed_with, first, last):
    """The first of the blocks first..last whose hash is not the stored one; -1 for none."""
    for block in range(first, last + 1):
        content = mixed(xxh3(records[block, 1:]))
        if stored_hash(content, mixed_with, block) != records[block, 0]:
            return block
    return -1


def order_records(
    ranks: UInt8[np.ndarray, " token"],
) -> tuple[UInt64[np.ndarray, "block 129"], str]:
    """Hash and ranks of each block of a shard, and the digest of them all."""
    blocks = -(-len(ranks) // BLOCK_TOKENS)
    padded = np.zeros(blocks * BLOCK_TOKENS, np.uint8)
    padded[: len(ranks)] = ranks
    words = padded.view("<u8").reshape(blocks, RANK_WORDS)
    contents = rank_hashes(words)
    digest = digest_of(contents, len(ranks))
    hashes = stored_hashes(contents, shard_key(digest, len(ranks)))
    return np.column_stack([hashes, words]), digest


def write_order_shard(path: Path, ranks: UInt8[np.ndarray, " token"]) -> str:
    """Write the file of one shard's ranks; returns its digest."""
    records, digest = order_records(ranks)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, records.data)
    return digest


class OrderShard:
    """The ranks of one shard's words; every block is verified each time it is read."""

    def __init__(self, path: Path, tokens: int, digest: str) -> None:
        self.path, self.blocks = path, -(-tokens // BLOCK_TOKENS)
        self.key = shard_key(digest, tokens)
        expected = self.blocks * 8 * (1 + RANK_WORDS)
        size_bytes = path.stat().st_size if path.is_file() else None
        if size_bytes != expected:
            raise DataError(
                f"syntax order {path} has {size_bytes} bytes, not {expected}; "
                f"run `alignmlm data order` again"
            )

    @cached_property
    def records(self) -> UInt64[np.ndarray, "block 129"]:
        """Hash and ranks of each block, mapped."""
        return mapped_words(self.path, self.blocks)

    def verify_blocks(self, first: int, last: int) -> None:
        """Check the hashes of blocks first..last.

        Raises:
            DataError: a block differs.
        """
        block = first_damaged_order(self.records, self.key, first, last)
        if block >= 0:
            raise self.damage(block)

    def damage(self, block: int) -> DataError:
        """The error for a damaged block."""
        width = 8 * (1 + RANK_WORDS)
        return DataError(
            f"syntax order {self.path} is damaged in block {block}, bytes {block * width} to "
            f"{(block + 1) * width}; run `alignmlm data order` again"
        )

    def ranks(self, start: int, stop: int) -> UInt8[np.ndarray, " token"]:
        """Verified ranks of the words of tokens [start, stop)."""
        first, last = start // BLOCK_TOKENS, (stop - 1) // BLOCK_TOKENS
        self.verify_blocks(first, last)
        ranks = np.ascontiguousarray(self.records[first : last + 1, 1:]).view(np.uint8).ravel()
        return ranks[start - first * BLOCK_TOKENS : stop - first * BLOCK_TOKENS]


def order_folder(store: Path, order: str, language: str) -> Path:
    """Where a syntax order of a language lies in a store."""
    return store / ORDERS / order / language


def read_order_manifest(store: Path, order: str, language: str, data_id: str) -> OrderManifest:
    """The manifest of a syntax order.

    Raises:
        DataError: there is none, it cannot be read, or it belongs to another state of the store.
    """
    path = order_folder(store, order, language) / MANIFEST
    if not path.is_file():
        raise DataError(
            f"{store} has no order {quoted(order)} of {language}: make it with "
            f"`alignmlm data parse` and `alignmlm data order --order {order}`"
        )
    document = read_json(path)
    if document.get("schema_version") == SCHEMA_VERSION:
        document = verified(document, path, DataError)
    manifest = record(OrderManifest, document, path)
    identity = (manifest.schema_version, manifest.data_id, manifest.order, manifest.language)
    if identity != (expected := (SCHEMA_VERSION, data_id, order, language)):
        raise DataError(f"{path} is for {identity}, the store is {expected}; make the order again")
    return manifest


def write_order_manifest(store: Path, manifest: OrderManifest, folder: Path | None = None) -> None:
    """Write the manifest of a syntax order, which marks the order as complete.

    `folder` holds an order that is not in its place in the store yet.
    """
    path = (folder or order_folder(store, manifest.order, manifest.language)) / MANIFEST
    text = json.dumps(with_checksum(asdict(manifest)), indent=1, sort_keys=True)
    replace_text(path, text + "\n")
