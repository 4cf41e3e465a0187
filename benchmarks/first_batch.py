"""Time to the first batch of a terabyte: 10,000 shards of 100 MB, at step 0 and at step 10^9.

The shards are sparse files. Only the blocks that the measured batches touch hold text, with true
hashes; every size, bound and number is that of a real store.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import commit, processor

from alignmlm.config import load_recipe
from alignmlm.console.terminal import console, new_table
from alignmlm.corpus.build import build_store
from alignmlm.data.batches import Loader, Samples, batch_samples, make_batch
from alignmlm.data.blocks import (
    BLOCK_TOKENS,
    RECORD_WORDS,
    content_hashes,
    shard_key,
    stored_hash,
)
from alignmlm.data.shards import ShardEntry, pack_bits
from alignmlm.data.store import MANIFEST, TRAIN, Manifest, Store
from alignmlm.numerics.counter_rng import key, keys, uniform
from alignmlm.pretraining.assembly import assemble

LANGUAGE, ROWS, LATE_STEP = "qaa-Latn", 256, 10**9
SENTENCE_SHARE, WORD_SHARE = 0.04, 0.75
RESULTS = Path(__file__).parent / "results" / "first_batch.jsonl"


def recipe_of(store: Path) -> list[str]:
    """The settings of the measured recipe: inverted text in a script of its own, rows of 512."""
    return [
        f"--data.store={store}",
        f"--languages.ids=[{LANGUAGE}-x-inv-trans]",
        "--objective.name=mlm",
        "--train.seq_len=512",
        f"--train.batch_rows={ROWS}",
    ]


def sparse_store(small: Path, folder: Path, shards: int, shard_tokens: int) -> None:
    """A store with the small one's tokenizer and validation split, and huge sparse shards."""
    known = Store(small).manifest
    entries = [
        ShardEntry(f"shard-{n:05d}", shard_tokens, shard_tokens // 25, 1, shard_tokens // 2, digest)
        for n in range(shards)
        for digest in [f"{key('sparse shard', n):016x}"]
    ]
    (folder / LANGUAGE).mkdir(parents=True)
    (folder / "tokenizer.json").write_bytes((small / "tokenizer.json").read_bytes())
    (folder / LANGUAGE / "validation").symlink_to(small / LANGUAGE / "validation")
    train = folder / LANGUAGE / TRAIN
    train.mkdir()
    blocks = -(-shard_tokens // BLOCK_TOKENS)
    for entry in entries:
        sizes = {"bin": blocks * 2 * BLOCK_TOKENS, "idx": blocks * 8 * RECORD_WORDS}
        for ending, size in sizes.items():
            with (train / f"{entry.name}.{ending}").open("wb") as file:
                file.truncate(size)
    splits = {LANGUAGE: known.splits[LANGUAGE] | {TRAIN: entries}}
    manifest: Manifest = replace(known, splits=splits)
    (folder / MANIFEST).write_text(manifest.to_json())


def write_block(folder: Path, entry: ShardEntry, block: int, vocabulary: int) -> None:
    """Text and a true hash for one block; a sentence starts with it."""
    drawn = uniform(keys(key(entry.digest, block), np.arange(BLOCK_TOKENS)))
    ids = (5 + drawn * (vocabulary - 5)).astype("<u2")
    sentences, words = drawn < SENTENCE_SHARE, drawn < WORD_SHARE
    sentences[0] = words[0] = True
    bits = np.concatenate([pack_bits(words, 1), pack_bits(sentences, 1)], axis=1)
    tokens = ids.view("<u8").reshape(1, -1)
    content = content_hashes(tokens, bits)[0]
    with np.errstate(over="ignore"):
        told = stored_hash(content, shard_key(entry.digest, entry.tokens), block)
    record = np.concatenate([np.array([told], "<u8"), bits[0]])
    for ending, data in (("bin", ids.tobytes()), ("idx", record.tobytes())):
        with (folder / f"{entry.name}.{ending}").open("r+b") as file:
            file.seek(block * len(data))
            file.write(data)


def write_text(loader: Loader, samples: Samples, folder: Path) -> None:
    """Text for every block that some samples may touch."""
    split = loader.splits[0][TRAIN]
    places = split.locate(samples.rows, loader.payload_tokens)
    for shard, start, stop in zip(*(values.tolist() for values in places), strict=True):
        entry = split.shards[shard].entry
        first, last = start // BLOCK_TOKENS - 1, stop // BLOCK_TOKENS + 1
        for block in range(max(first, 0), min(last + 1, entry.blocks)):
            write_block(folder, entry, block, loader.vocabulary.size)


def samples_of(loader: Loader, step: int) -> Samples:
    """The rows of one step."""
    return batch_samples(loader, step, ROWS, 0, 1, ROWS)[0]


def resident_mib() -> float:
    """Memory of this process now, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kib = next(line for line in lines if line.startswith("VmRSS:")).split()[1]
    return int(kib) / 1024


def measure(store: Path) -> dict[str, float]:
    """Seconds and MiB of opening a store, and ms of the first batch at both steps."""
    before, start = resident_mib(), time.perf_counter()
    loader = assemble(load_recipe(None, recipe_of(store))).loader
    opened = {"open_s": time.perf_counter() - start}
    for name, step in (("first_batch_ms", 0), ("late_batch_ms", LATE_STEP)):
        start = time.perf_counter()
        make_batch(loader, samples_of(loader, step), TRAIN)
        opened[name] = 1e3 * (time.perf_counter() - start)
    return opened | {"grown_mib": resident_mib() - before}


def main() -> None:
    """Make the sparse store, measure it, print the table, keep the row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--shard-tokens", type=int, default=50_000_000)
    parser.add_argument("--smoke", action="store_true", help="20 small shards; not kept")
    asked = parser.parse_args()
    if asked.smoke:
        asked.shards, asked.shard_tokens = 20, 100_000
    with tempfile.TemporaryDirectory() as work:
        small, folder = Path(work) / "small", Path(work) / "large"
        build_store(load_recipe(None, [*recipe_of(small)]).data)
        sparse_store(small, folder, asked.shards, asked.shard_tokens)
        warm = assemble(load_recipe(None, recipe_of(small))).loader
        make_batch(warm, samples_of(warm, 0), TRAIN)  # compiles
        loader = assemble(load_recipe(None, recipe_of(folder))).loader
        for step in (0, LATE_STEP):
            write_text(loader, samples_of(loader, step), folder / LANGUAGE / TRAIN)
        del loader
        found = measure(folder)
    found["tokens"] = asked.shards * asked.shard_tokens
    table = new_table(f"{asked.shards:,} shards, {found['tokens'] / 1e9:,.0f} G tokens")
    table.add_column("measure")
    table.add_column("value", justify="right")
    for name, value in found.items():
        table.add_row(name, f"{value:,.2f}")
    console.print(table)
    if not asked.smoke:
        where = {"device": processor(), "commit": commit(), "shards": asked.shards}
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(where | {k: round(v, 2) for k, v in found.items()}) + "\n")


if __name__ == "__main__":
    main()
