"""Shards v1: flat little-endian tokens of a base language, and an index with hashes beside them.

`shard-00000.bin` holds the tokens (uint16, or uint32 above 65,535). `shard-00000.idx` holds a
header, document ends (uint64), sentence ends (uint32), one bit a token that says whether it
starts a word, and an xxh3-64 of every block of the .bin. Nothing is pickled.
"""

import struct
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xxhash
from jaxtyping import Int

from alignmlm.errors import DataError
from alignmlm.languages.sentences import Sentences

HEADER = struct.Struct(
    "<8sIIQQQQ"
)  # magic, version, bytes a token, tokens, documents, sentences, block
MAGIC = b"ALIGNMLM"
VERSION = 1
BLOCK_BYTES = 8192


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """A shard's row in the manifest."""

    name: str  # without the ending
    tokens: int
    sentences: int
    documents: int
    words: int
    bin_bytes: int
    idx_bytes: int
    bin_xxh3: str
    idx_xxh3: str

    def to_json(self) -> dict[str, object]:
        """Itself as a JSON object."""
        return asdict(self)


def token_dtype(vocabulary_size: int) -> np.dtype:
    """The smallest unsigned type that holds every token."""
    return np.dtype("<u2") if vocabulary_size <= 2**16 - 1 else np.dtype("<u4")


def block_hashes(data: bytes) -> list[int]:
    """The xxh3-64 of every block; the last block may be shorter."""
    view = memoryview(data)
    return [
        xxhash.xxh3_64_intdigest(view[at : at + BLOCK_BYTES])
        for at in range(0, len(data), BLOCK_BYTES)
    ]


def write_shard(
    stem: Path,
    tokens: np.ndarray,
    word_starts: np.ndarray,
    sentence_ends: list[int],
    document_ends: list[int],
) -> ShardEntry:
    """Both files of a shard; its row for the manifest. `tokens` has its type already."""
    data = tokens.tobytes()
    sizes = (len(tokens), len(document_ends), len(sentence_ends), BLOCK_BYTES)
    index = b"".join(
        [
            HEADER.pack(MAGIC, VERSION, tokens.dtype.itemsize, *sizes),
            np.array(document_ends, "<u8").tobytes(),
            np.array(block_hashes(data), "<u8").tobytes(),
            np.array(sentence_ends, "<u4").tobytes(),
            np.packbits(word_starts, bitorder="little").tobytes(),
        ]
    )
    stem.with_suffix(".bin").write_bytes(data)
    stem.with_suffix(".idx").write_bytes(index)
    return ShardEntry(
        stem.name,
        len(tokens),
        len(sentence_ends),
        len(document_ends),
        int(word_starts.sum()),
        len(data),
        len(index),
        xxhash.xxh3_64_hexdigest(data),
        xxhash.xxh3_64_hexdigest(index),
    )


class Shard:
    """A shard opened for reading; every block is verified each time it is read."""

    def __init__(self, folder: Path, entry: ShardEntry, dtype: np.dtype) -> None:
        self.entry, self.dtype = entry, dtype
        self.bin_path = folder / f"{entry.name}.bin"
        self.idx_path = folder / f"{entry.name}.idx"

    def check_sizes(self) -> None:
        """Both files exist with the sizes of the manifest.

        Raises:
            DataError: one is missing, short or long.
        """
        sizes = [(self.bin_path, self.entry.bin_bytes), (self.idx_path, self.entry.idx_bytes)]
        for path, expected in sizes:
            found = path.stat().st_size if path.is_file() else None
            if found != expected:
                raise DataError(
                    f"shard {path} has {found} bytes, the manifest says {expected}; "
                    f"run `alignmlm data verify`, then build or copy the store again"
                    if found is not None
                    else f"shard {path} is missing; build or copy the store again"
                )

    @cached_property
    def index(self) -> dict[str, np.ndarray]:
        """The index, checked against its hash when first used.

        Raises:
            DataError: damaged, or of another version.
        """
        data = self.idx_path.read_bytes()
        if (found := xxhash.xxh3_64_hexdigest(data)) != self.entry.idx_xxh3:
            raise DataError(
                f"index {self.idx_path} is damaged: xxh3 {found}, expected {self.entry.idx_xxh3}"
            )
        magic, version, width, tokens, documents, sentences, block = HEADER.unpack_from(data)
        found_header = (magic, version, width, tokens, block)
        expected = (MAGIC, VERSION, self.dtype.itemsize, self.entry.tokens, BLOCK_BYTES)
        if found_header != expected:
            raise DataError(f"index {self.idx_path}: header {found_header}, expected {expected}")
        blocks = -(-self.entry.bin_bytes // BLOCK_BYTES)
        counts = {"documents": documents, "hashes": blocks, "sentences": sentences}
        types = {"documents": "<u8", "hashes": "<u8", "sentences": "<u4"}
        parts, at = {}, HEADER.size
        for name, count in counts.items():
            parts[name] = np.frombuffer(data, types[name], count, at)
            at += parts[name].nbytes
        parts["word_bits"] = np.frombuffer(data, np.uint8, -1, at)
        return parts

    @cached_property
    def bytes(self) -> np.memmap:
        """The .bin file as bytes, its size checked first (a short one would end in SIGBUS)."""
        self.check_sizes()
        return np.memmap(self.bin_path, np.uint8, "r")

    def verify_blocks(self, first: int, last: int) -> None:
        """Check the hashes of blocks first..last of the .bin.

        Raises:
            DataError: a block differs; the message names shard, block, bytes and both hashes.
        """
        for block in range(first, last + 1):
            start = block * BLOCK_BYTES
            stop = min(start + BLOCK_BYTES, self.entry.bin_bytes)
            found = xxhash.xxh3_64_intdigest(self.bytes[start:stop].data)
            if found != (expected := int(self.index["hashes"][block])):
                raise DataError(
                    f"shard {self.bin_path} is damaged in block {block}, bytes {start} to "
                    f"{stop}: xxh3 {found:016x}, expected {expected:016x}; run `alignmlm data "
                    f"verify`, then build or copy the store again"
                )

    def tokens(self, start: int, stop: int) -> Int[np.ndarray, " token"]:
        """Verified tokens [start, stop)."""
        width = self.dtype.itemsize
        self.verify_blocks(start * width // BLOCK_BYTES, (stop * width - 1) // BLOCK_BYTES)
        return self.bytes[start * width : stop * width].view(self.dtype).astype(np.int64)

    def sentences(self, start: int, stop: int) -> tuple[Sentences, int]:
        """The whole sentences that touch tokens [start, stop), and where the first one starts."""
        ends = self.index["sentences"]
        first, last = np.searchsorted(ends, [start + 1, stop])
        begin = int(ends[first - 1]) if first else 0
        bounds = ends[first : last + 1].astype(np.int64) - begin
        length = int(bounds[-1])
        sentence_starts = np.zeros(length, bool)
        sentence_starts[0] = True
        sentence_starts[bounds[:-1]] = True
        bits = self.index["word_bits"][begin // 8 : -(-(begin + length) // 8)]
        word_starts = np.unpackbits(bits, bitorder="little")[begin % 8 :][:length].astype(bool)
        ids = self.tokens(begin, begin + length)
        return Sentences(ids, word_starts, sentence_starts), begin
