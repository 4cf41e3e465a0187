"""This project's loader beside other libraries, on one core: tokens a second and first batch.

All of them take turns in one run over the same 134 million tokens. What ours does beyond reading is
in the name of each row; its floors are what the core needs to move the bytes and draw the hashes.
"""

import argparse
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np
from loader_peers import (
    BATCH_ROWS,
    PEERS,
    ROW_TOKENS,
    SPECIAL_TOKENS,
    VOCABULARY_TOKENS,
    Batch,
    Peer,
    compare,
    is_installed,
    pin_to_one_core,
    row_matrix,
    timing_table,
    write_sample,
)
from machine import commit, processor

from alignmlm.console.terminal import WholeTable, console, new_table, print_line
from alignmlm.data.batches import Loader, batch_samples, make_batch, make_rows
from alignmlm.data.blocks import BLOCK_TOKENS, RECORD_WORDS, first_damaged, mixed
from alignmlm.data.masking import Corruption, CorruptionTables, masks_of
from alignmlm.data.rendering import changes_of
from alignmlm.data.rows import AHEAD_ROWS, RowRequest, by_shard, fetch_row
from alignmlm.data.schedule import mixture_of
from alignmlm.data.settings import MaskConfig
from alignmlm.data.shards import ShardEntry, write_shard
from alignmlm.data.store import TRAIN, Split
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.errors import DataError
from alignmlm.languages.language import lay_out_scripts, parse_language
from alignmlm.languages.sentences import Sentences
from alignmlm.numerics.counter_rng import GOLDEN, key, keys, uniform
from alignmlm.numerics.numba_jit import compiled
from alignmlm.ranks.devices import keep_freed_memory

SHARD_TOKENS = 2**24
WORD_SHARE, SENTENCE_SHARE = 0.75, 0.04  # tokens that start one: 1.3 a word, 25 a sentence
VOCABULARY = Vocabulary(VOCABULARY_TOKENS, 0, 1, 2, 3, 4, (5, 6, 7), tuple(range(SPECIAL_TOKENS)))
RESULTS = Path(__file__).parent / "results" / "loader.jsonl"


def write_store(folder: Path) -> list[ShardEntry]:
    """The token file as shards, with word and sentence starts drawn by hash; kept where it is."""
    flat, store = row_matrix(folder).reshape(-1), folder / f"shards-{row_matrix(folder).size}"
    listing = store / "entries.json"
    if listing.exists():
        return [ShardEntry(**entry) for entry in json.loads(listing.read_text())]
    (store / "train").mkdir(parents=True, exist_ok=True)
    entries = []
    for start in range(0, len(flat), SHARD_TOKENS):
        ids = flat[start : start + SHARD_TOKENS]
        drawn = uniform(keys(key("loader benchmark"), np.arange(start, start + len(ids))))
        sentences, words = drawn < SENTENCE_SHARE, drawn < WORD_SHARE
        sentences[0] = words[0] = True
        text = Sentences(ids, words, sentences)
        stem = store / "train" / f"shard-{len(entries):05d}"
        entries.append(write_shard(stem, text, np.dtype("<u2"), 0))
    listing.write_text(json.dumps([as_row(entry) for entry in entries]))
    return entries


def as_row(entry: ShardEntry) -> dict[str, object]:
    """An entry as JSON has it."""
    return {name: getattr(entry, name) for name in ShardEntry.__slots__}


def loader_of(folder: Path, entries: list[ShardEntry], names: list[str], seed: int) -> Loader:
    """A loader over the shards, as `assemble` makes it from a recipe."""
    keep_freed_memory()
    split = Split(folder, entries, np.dtype("<u2"))
    languages = [parse_language(name) for name in names]
    scripts = lay_out_scripts(languages, VOCABULARY.alphabet(), 0)
    special = np.isin(np.arange(scripts.vocabulary_size), VOCABULARY.special)
    none = np.zeros((len(names), len(names), 1), np.int64)
    ordinary = VOCABULARY.alphabet().ordinary()
    lexicon = CorruptionTables(special, VOCABULARY.mask, ordinary, scripts.tables, none)
    mask, corruption = MaskConfig(), Corruption()
    return Loader(
        languages,
        [{TRAIN: split}] * len(names),
        VOCABULARY,
        mixture_of([1.0] * len(names), {}),
        lexicon,
        mask,
        corruption,
        changes_of(languages, scripts, VOCABULARY, {"eng-Latn": []}, 0),
        masks_of(lexicon, mask, corruption, batch_rows=1),
        ROW_TOKENS,
        seed,
    )


def opened_loader(names: list[str], folder: Path, seed: int) -> Loader:
    """The loader of some languages over the shards of a folder."""
    shards = folder / f"shards-{row_matrix(folder).size}" / "train"
    return loader_of(shards, write_store(folder), names, seed)


def masked_batches(names: list[str], folder: Path, seed: int) -> Iterator[Batch]:
    """Whole training batches of some languages."""
    loader = opened_loader(names, folder, seed)
    for step in count():
        samples = batch_samples(loader, step, BATCH_ROWS, 0, 1, BATCH_ROWS)[0]
        batch = make_batch(loader, samples, TRAIN)
        yield Batch(batch.input_ids, batch.labels)


def verified_rows(folder: Path, seed: int) -> Iterator[Batch]:
    """The same rows verified and closed with <s> and </s>, not masked."""
    loader = opened_loader(["eng-Latn"], folder, seed)
    for step in count():
        samples = batch_samples(loader, step, BATCH_ROWS, 0, 1, BATCH_ROWS)[0]
        rows, _ = make_rows(loader, samples, TRAIN, np.full(BATCH_ROWS, -1))
        yield Batch(rows.ids)


@compiled
def verified_tokens(ids, words, records, mixed_with, starts, rows, out):
    """Copy some rows' tokens after every block of theirs was verified; a damaged block or -1."""
    flat_words, flat_records, count = words.reshape(-1), records.reshape(-1), out.shape[1]
    for place in range(len(rows)):
        if place + AHEAD_ROWS < len(rows):
            ahead = starts[place + AHEAD_ROWS]
            fetch_row(flat_words, flat_records, ahead, ahead + count)
        row, start = rows[place], starts[place]
        first, last = start // BLOCK_TOKENS, (start + count - 1) // BLOCK_TOKENS
        damaged = first_damaged(words, records, mixed_with, first, last)
        if damaged >= 0:
            return damaged
        out[row] = ids[start : start + count]
    return -1


def verified_reads(folder: Path, seed: int) -> Iterator[Batch]:
    """Tokens of the same rows, every block verified, and nothing more."""
    loader = opened_loader(["eng-Latn"], folder, seed)
    split = loader.splits[0][TRAIN]
    for step in count():
        samples = batch_samples(loader, step, BATCH_ROWS, 0, 1, BATCH_ROWS)[0]
        places = split.locate(samples.rows, loader.payload_tokens)
        out = np.empty((BATCH_ROWS, loader.payload_tokens), np.uint16)
        rows = np.arange(BATCH_ROWS)
        for shard, part in by_shard(split, places, RowRequest(rows, *places[1:], rows, rows)):
            parts = (shard.ids, shard.words, shard.records, shard.key)
            if verified_tokens(*parts, part.starts, part.rows, out) >= 0:
                raise DataError(f"{shard.bin_path} is damaged")
        yield Batch(out)


def ours(name: str, *languages: str) -> Peer:
    """One row of ours."""

    def opened(folder: Path, seed: int) -> Iterator[Batch]:
        return masked_batches(list(languages), folder, seed)

    return Peer(f"alignmlm: {name}", "alignmlm", opened, write_store)


OURS = (
    Peer("alignmlm: read, verify", "alignmlm", verified_reads, write_store),
    Peer("alignmlm: verify, close rows", "alignmlm", verified_rows, write_store),
    ours("verify, mask", "eng-Latn"),
    ours("verify, invert, transliterate, mask", "eng-Latn-x-inv-trans"),
    ours("verify, permute, transliterate, mask", "eng-Latn-x-perm-trans"),
    ours("both languages of a pair, mask", "eng-Latn", "eng-Latn-x-inv-trans"),
)


@compiled
def draw_hashes(numbers, out):
    """One hash a number: what masking draws for every position."""
    for place in range(len(numbers)):
        out[place] = mixed(numbers[place] * GOLDEN)


def best_s(work, repeats: int = 7) -> float:
    """The least seconds that some work takes."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return min(spent)


def floors() -> dict[str, float]:
    """Tokens a second that this core could reach if it only moved the bytes, or only hashed."""
    source = np.zeros(2**26, np.uint8)
    target = np.ones_like(source)
    copied_bytes_per_s = 2 * source.nbytes / best_s(lambda: np.copyto(target, source))
    numbers = np.arange(2**20, dtype=np.uint64)
    hashes = np.empty_like(numbers)
    draw_hashes(numbers, hashes)
    hashes_per_s = len(numbers) / best_s(lambda: draw_hashes(numbers, hashes))
    read_bytes = 2 + 8 * RECORD_WORDS / BLOCK_TOKENS  # a token and its share of the record
    return {
        "floor: move what is read, and 4-byte tokens": copied_bytes_per_s / (read_bytes + 4),
        "floor: move what a masked batch holds": copied_bytes_per_s / (read_bytes + 3 * 8),
        "floor: draw one hash a token": hashes_per_s,
    }


def main() -> None:
    """Time everything that is installed, print the table, keep the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=134_217_728, help="size of the sample")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one round of a peer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, default=Path("runs/loader-benchmark"))
    parser.add_argument("--smoke", action="store_true", help="seconds instead of minutes; not kept")
    asked = parser.parse_args()
    if asked.smoke:
        asked.tokens, asked.seconds, asked.rounds = 2_000_000, 0.2, 1
    warnings.filterwarnings("ignore", message=".*set_vital.*")
    logging.getLogger("absl").setLevel(logging.ERROR)
    pin_to_one_core(asked.core)
    write_sample(asked.folder, asked.tokens)
    present = [peer for peer in PEERS if is_installed(peer)]
    timings = compare([*OURS, *present], asked.folder, asked.seconds, asked.rounds)
    bounds = floors()
    console.print(timing_table(f"{asked.tokens:,} tokens, one core of {processor()}", timings))
    console.print(floor_table(bounds))
    for peer in set(PEERS) - set(present):
        print_line(f"skipped: {peer.name} (pip install {peer.package})")
    if not asked.smoke:
        keep_rows(timings, bounds, asked.tokens)


def floor_table(bounds: dict[str, float]) -> WholeTable:
    """The floors as a table."""
    table = new_table()
    table.add_column("floor")
    table.add_column("M tokens/s", justify="right")
    for name, rate in bounds.items():
        table.add_row(name, f"{rate / 1e6:,.0f}")
    return table


def keep_rows(timings: dict, bounds: dict[str, float], tokens: int) -> None:
    """Append the run to the results, one object a line."""
    where = {"device": processor(), "commit": commit(), "tokens": tokens}
    rows = [
        {
            "reader": name,
            "delivers": timing.dtype,
            "first_batch_ms": round(median(timing.first_batch_ms), 2),
            "median_tokens_per_s": round(median(timing.rates_tokens_per_s)),
            "least_tokens_per_s": round(min(timing.rates_tokens_per_s)),
            "most_tokens_per_s": round(max(timing.rates_tokens_per_s)),
            "rounds": len(timing.rates_tokens_per_s),
        }
        for name, timing in timings.items()
    ]
    rows += [{"reader": name, "median_tokens_per_s": round(rate)} for name, rate in bounds.items()]
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(where | row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
