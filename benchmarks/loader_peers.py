"""How fast other libraries read one token file on one core: little-endian uint16, rows of 512.

Each delivers shuffled batches of 256 rows without end, by its library's fast documented path, and
by the usual path where that is another. They draw with the generators that their users have.
"""

import argparse
import importlib.util
import logging
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import DataLoader

from alignmlm.console.terminal import WholeTable, console, new_table, print_line
from alignmlm.errors import DataError
from alignmlm.numerics.counter_rng import key, keys, uniform

TOKENS = "tokens.bin"
ROW_TOKENS, BATCH_ROWS = 512, 256
VOCABULARY_TOKENS = 40_000
SPECIAL_TOKENS, MASK_ID = 5, 4  # ids below 5 are never masked
IGNORED = -100  # label of a position that is not predicted
PARQUET_FILES = 64
SHUFFLE_BUFFER_ROWS = 10_000


def row_matrix(folder: Path) -> Int[np.ndarray, "row seq"]:
    """The token file as rows that the system reads on demand.

    Raises:
        DataError: The file is empty, or not a whole number of rows.
    """
    path, row_bytes = folder / TOKENS, 2 * ROW_TOKENS
    size_bytes = path.stat().st_size
    if size_bytes == 0 or size_bytes % row_bytes:
        must = f"a positive multiple of {row_bytes} (rows of {ROW_TOKENS} uint16)"
        raise DataError(f"{path}: {size_bytes} bytes, but it must hold {must}")
    return np.asarray(np.memmap(path, "<u2", mode="r").reshape(-1, ROW_TOKENS))


@dataclass(frozen=True, slots=True)
class Batch:
    """What a model is given at one step."""

    tokens: Any  # row by seq, a NumPy array or a torch tensor
    labels: Any = None  # the same, only where the peer masks


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to read the token file."""

    name: str
    package: str  # what must be importable
    open: Callable[[Path, int], Iterator[Batch]]  # folder and seed -> batches without end
    prepare: Callable[[Path], object] = row_matrix  # writes what it reads, where missing


@dataclass(frozen=True, slots=True)
class Timing:
    """What one peer reached, one number for each round."""

    dtype: str
    first_batch_ms: list[float]
    rates_tokens_per_s: list[float]


def write_sample(folder: Path, tokens: int) -> Path:
    """A token file whose ids are as uneven as words (Zipf), kept where it has that size already."""
    rows = max(tokens // ROW_TOKENS, 1)
    path, partial = folder / TOKENS, folder / f"{TOKENS}.tmp-{os.getpid()}"
    if path.exists() and path.stat().st_size == 2 * rows * ROW_TOKENS:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with partial.open("wb") as file:
        for start in range(0, rows, 4096):
            positions = np.arange(start * ROW_TOKENS, min(start + 4096, rows) * ROW_TOKENS)
            power = uniform(keys(key("loader peers"), positions))
            ids = SPECIAL_TOKENS - 1 + (VOCABULARY_TOKENS - SPECIAL_TOKENS) ** power
            file.write(ids.astype("<u2").tobytes())
    return partial.replace(path)


def built(folder: Path, name: str, write: Callable[[Path], None]) -> Path:
    """A library's own form of the token file, written once and anew when the file changes."""
    state = (folder / TOKENS).stat()
    path = folder / f"{name}-{state.st_size}-{state.st_mtime_ns}"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            write(Path(partial, name))
            Path(partial, name).rename(path)
    return path


def shuffled_batches(rows: int, seed: int) -> Iterator[Int[np.ndarray, " row"]]:
    """Row numbers of one batch after another, a new stored permutation for each epoch."""
    for epoch in count():
        order = np.random.default_rng((seed, epoch)).permutation(rows)
        for start in range(0, rows, BATCH_ROWS):
            yield order[start : start + BATCH_ROWS]


def gather(folder: Path, seed: int) -> Iterator[Batch]:
    """Rows copied out of the memory map by one call a batch: the floor for NumPy."""
    tokens = row_matrix(folder)
    for rows in shuffled_batches(len(tokens), seed):
        yield Batch(tokens.take(rows, axis=0))


def bert_mask(
    rows: Int[np.ndarray, "row seq"], generator: np.random.Generator
) -> tuple[Int[np.ndarray, "row seq"], Int[np.ndarray, "row seq"]]:
    """Inputs and labels: of the 15 % to predict, 80 % masked, 10 % random, 10 % unchanged.

    Source: Devlin et al., 2019 (BERT), section 3.1.
    """
    chance, ordinary = generator.random(rows.shape, dtype=np.float32), rows >= SPECIAL_TOKENS
    inputs = rows.astype(np.int64)
    labels = np.where(ordinary & (chance < 0.15), inputs, IGNORED)
    inputs[ordinary & (chance < 0.12)] = MASK_ID
    random = ordinary & (chance >= 0.12) & (chance < 0.135)
    inputs[random] = generator.integers(SPECIAL_TOKENS, VOCABULARY_TOKENS, random.sum())
    return inputs, labels


def reverse_and_mask(folder: Path, seed: int) -> Iterator[Batch]:
    """Gathered rows turned round and masked: one synthetic language, then its inputs and labels."""
    generator = np.random.default_rng(seed)
    for batch in gather(folder, seed):
        yield Batch(*bert_mask(batch.tokens[:, ::-1], generator))


def megatron_reads(folder: Path, seed: int) -> Iterator[Batch]:
    """One buffer read a row, then a stack: the reads of Megatron-LM's indexed dataset, emulated."""
    tokens = row_matrix(folder)
    buffer = tokens.data.cast("B")
    for rows in shuffled_batches(len(tokens), seed):
        starts = (rows * 2 * ROW_TOKENS).tolist()
        read = [np.frombuffer(buffer, "<u2", ROW_TOKENS, offset=start) for start in starts]
        yield Batch(np.stack(read))


def arrow_dataset(folder: Path) -> Any:
    """The rows as a `datasets.Dataset` that was saved to disk, lists of fixed length."""
    import datasets
    import pyarrow as pa

    def write(path: Path) -> None:
        flat = pa.array(row_matrix(folder).reshape(-1))
        rows = pa.FixedSizeListArray.from_arrays(flat, ROW_TOKENS)
        datasets.Dataset(pa.table({"tokens": rows})).save_to_disk(path)

    datasets.disable_progress_bars()
    return datasets.load_from_disk(built(folder, "arrow", write))


def parquet_files(folder: Path) -> list[str]:
    """The rows as 64 Parquet files of equal length, give or take a row."""
    rows = arrow_dataset(folder)

    def write(path: Path) -> None:
        path.mkdir()
        files = min(PARQUET_FILES, len(rows))
        for index in range(files):
            rows.shard(files, index).to_parquet(path / f"{index:02d}.parquet")

    return sorted(str(file) for file in built(folder, "parquet", write).glob("*.parquet"))


def table_rows(table: Any) -> Int[np.ndarray, "row seq"]:
    """The column of tokens of an Arrow table, without a copy where it is one piece."""
    return table["tokens"].combine_chunks().flatten().to_numpy().reshape(-1, ROW_TOKENS)


def arrow_tables(folder: Path, seed: int) -> Iterator[Batch]:
    """One query a batch, answered as an Arrow table."""
    dataset = arrow_dataset(folder).with_format("arrow")
    for rows in shuffled_batches(len(dataset), seed):
        yield Batch(table_rows(dataset[rows.tolist()]))


def arrow_arrays(folder: Path, seed: int) -> Iterator[Batch]:
    """One query a batch, answered as a NumPy array."""
    dataset = arrow_dataset(folder).with_format("numpy")
    for rows in shuffled_batches(len(dataset), seed):
        yield Batch(dataset[rows.tolist()]["tokens"])


def arrow_loader(folder: Path, seed: int) -> Iterator[Batch]:
    """PyTorch's DataLoader, which asks the dataset for a batch and gets it row by row."""
    dataset = arrow_dataset(folder).with_format("torch")
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(dataset, BATCH_ROWS, shuffle=True, generator=generator)
    while True:
        yield from (Batch(batch["tokens"]) for batch in loader)


def arrow_single_rows(folder: Path, seed: int) -> Iterator[Batch]:
    """One query a row, answered as a tensor, then a stack."""
    dataset = arrow_dataset(folder).with_format("torch")
    for rows in shuffled_batches(len(dataset), seed):
        yield Batch(torch.stack([dataset[row]["tokens"] for row in rows.tolist()]))


def parquet_stream(folder: Path, seed: int) -> Any:
    """A streaming dataset that shuffles files and a buffer of 10,000 rows, a quarter at most."""
    import datasets

    # At the end of each epoch the library sleeps 5 s while threads stop. Next to the epoch of a
    # real corpus that is nothing, next to one of a benchmark it would be most of the time.
    datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
    options = {"split": "train", "streaming": True, "cache_dir": str(folder / "cache")}
    stream = datasets.load_dataset("parquet", data_files=parquet_files(folder), **options)
    buffer_rows = min(SHUFFLE_BUFFER_ROWS, max(len(row_matrix(folder)) // 4, 1))
    return stream.shuffle(seed=seed, buffer_size=buffer_rows)


def parquet_batches(folder: Path, seed: int) -> Iterator[Batch]:
    """Batches as Arrow tables, which stay tables through the shuffle buffer."""
    stream = parquet_stream(folder, seed).with_format("arrow")
    for epoch in count():
        stream.set_epoch(epoch)
        yield from (Batch(table_rows(table)) for table in stream.iter(BATCH_ROWS))


def parquet_loader(folder: Path, seed: int) -> Iterator[Batch]:
    """PyTorch's DataLoader, which takes the stream row by row."""
    stream = parquet_stream(folder, seed).with_format("torch")
    loader = DataLoader(stream, BATCH_ROWS)
    for epoch in count():
        stream.set_epoch(epoch)
        yield from (Batch(batch["tokens"]) for batch in loader)


@dataclass(frozen=True, slots=True)
class SingleRows:
    """A map-style dataset as PyTorch's manual shows it: one row a call."""

    tokens: Int[np.ndarray, "row seq"]

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, row: int) -> torch.Tensor:
        """One row as a tensor."""
        return torch.from_numpy(self.tokens[row].astype(np.int64))


class BatchedRows(SingleRows):
    """The same with the optional method that reads a batch in one call."""

    def __getitems__(self, rows: list[int]) -> torch.Tensor:
        """Many rows as one tensor."""
        return torch.from_numpy(self.tokens.take(rows, axis=0).astype(np.int64))


def collated(rows: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    """Rows as one tensor, which those read in one call are already."""
    return rows if isinstance(rows, torch.Tensor) else torch.stack(rows)


def stateful_loader(kind: type[SingleRows], folder: Path, seed: int) -> Iterator[Batch]:
    """Batches of a StatefulDataLoader in this process, without workers."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    options = {"generator": torch.Generator().manual_seed(seed), "collate_fn": collated}
    loader = StatefulDataLoader(kind(row_matrix(folder)), BATCH_ROWS, shuffle=True, **options)
    while True:
        yield from (Batch(rows) for rows in loader)


def grain_map(folder: Path, seed: int) -> Iterator[Batch]:
    """Grain's MapDataset, shuffled by index, read without threads."""
    import grain

    batches = grain.MapDataset.source(row_matrix(folder)).seed(seed).shuffle().batch(BATCH_ROWS)
    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    return (Batch(batch) for batch in batches.repeat().to_iter_dataset(options))


PEERS = (
    Peer("numpy: gather", "numpy", gather),
    Peer("numpy: reverse + mask", "numpy", reverse_and_mask),
    Peer("Megatron-LM's reads", "numpy", megatron_reads),
    Peer("torchdata: batches", "torchdata", partial(stateful_loader, BatchedRows)),
    Peer("torchdata: rows", "torchdata", partial(stateful_loader, SingleRows)),
    Peer("datasets Arrow: tables", "datasets", arrow_tables, arrow_dataset),
    Peer("datasets Arrow: arrays", "datasets", arrow_arrays, arrow_dataset),
    Peer("datasets Arrow: loader", "datasets", arrow_loader, arrow_dataset),
    Peer("datasets Arrow: rows", "datasets", arrow_single_rows, arrow_dataset),
    Peer("datasets Parquet: tables", "datasets", parquet_batches, parquet_files),
    Peer("datasets Parquet: loader", "datasets", parquet_loader, parquet_files),
    Peer("grain: MapDataset", "grain", grain_map),
)


def is_installed(peer: Peer) -> bool:
    """Whether the peer's package is there."""
    return importlib.util.find_spec(peer.package) is not None


def started(peer: Peer, folder: Path, seed: int = 0) -> tuple[Iterator[Batch], Batch, float]:
    """A peer's batches after the first, the first, and the ms from opening until it was there."""
    start_s = time.perf_counter()
    batches = peer.open(folder, seed)
    first = next(batches)
    return batches, first, (time.perf_counter() - start_s) * 1e3


def rate(batches: Iterator[Batch], seconds_s: float) -> float:
    """Tokens a second over at least `seconds_s`, up to the end of the last batch."""
    tokens, spent_s, start_s = 0, 0.0, time.perf_counter()
    while spent_s < seconds_s:
        tokens += math.prod(next(batches).tokens.shape)
        spent_s = time.perf_counter() - start_s
    return tokens / spent_s


def compare(
    peers: Sequence[Peer], folder: Path, seconds_s: float, repeats: int
) -> dict[str, Timing]:
    """What each peer reached, by name; they take turns, so that a slow spell hits all.

    A round that is not counted comes first: it imports, and fills caches and shuffle buffers.
    """
    streams, timings = {}, {}
    for peer in peers:
        peer.prepare(folder)
        streams[peer.name], first, _ = started(peer, folder)
        timings[peer.name] = Timing(str(first.tokens.dtype), [], [])
        rate(streams[peer.name], seconds_s)
    for _ in range(repeats):
        for peer in peers:
            timing = timings[peer.name]
            timing.first_batch_ms.append(started(peer, folder)[2])
            timing.rates_tokens_per_s.append(rate(streams[peer.name], seconds_s))
    return timings


def measure(peer: Peer, folder: Path, seconds_s: float, repeats: int) -> Timing:
    """What one peer reached on its own."""
    return compare([peer], folder, seconds_s, repeats)[peer.name]


def pin_to_one_core(core: int) -> None:
    """Keep this process, and every thread that it starts from now on, on one core."""
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)


def timing_table(title: str, timings: dict[str, Timing]) -> WholeTable:
    """Over the rounds: median ms to the first batch, median rate, its least and most."""
    table = new_table(title)
    for column in ("reader", "delivers", "first, ms", "M tokens/s", "least", "most"):
        table.add_column(column, justify="left" if column in ("reader", "delivers") else "right")
    for name, timing in timings.items():
        rates = [value / 1e6 for value in timing.rates_tokens_per_s]
        numbers = (median(timing.first_batch_ms), median(rates), min(rates), max(rates))
        table.add_row(name, timing.dtype, *(f"{number:.1f}" for number in numbers))
    return table


def main() -> None:
    """Write the sample, time every peer that is installed, name the others."""
    parser = argparse.ArgumentParser(description="Other libraries' loaders, on one core.")
    parser.add_argument("--tokens", type=int, default=134_217_728, help="size of the sample")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one round of a peer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, default=Path("results/loader-peers"))
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*set_vital.*")
    logging.getLogger("absl").setLevel(logging.ERROR)
    pin_to_one_core(asked.core)
    write_sample(asked.folder, asked.tokens)
    present = [peer for peer in PEERS if is_installed(peer)]
    timings = compare(present, asked.folder, asked.seconds, asked.rounds)
    console.print(timing_table(f"{asked.tokens:,} tokens, core {asked.core}", timings))
    for peer in PEERS:
        if peer not in present:
            print_line(f"skipped: {peer.name} (pip install {peer.package})")


if __name__ == "__main__":
    main()
