"""Inspecting a store and its batches: verification, statistics, any batch of any run as text."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from alignmlm.data.batches import Batch, Loader, Samples
from alignmlm.data.shards import Shard
from alignmlm.data.store import Store
from alignmlm.data.stored_orders import ORDERS, OrderShard
from alignmlm.errors import DataError
from alignmlm.ranks.cores import usable_cores

CHUNK_BLOCKS = 4096  # verified at once: 8 MB of uint16 tokens


@dataclass(frozen=True, slots=True)
class SplitStatistics:
    """Counts of one language and split."""

    language: str
    split: str
    shards: int
    documents: int
    sentences: int
    words: int
    tokens: int
    tokens_per_word: float
    vocabulary_used: float  # share of the vocabulary that occurs, in [0, 1]


Checks = list[tuple[Shard | OrderShard, int, int]]  # blocks first..last of a file


def stored_orders(store: Store, language: str) -> list[str]:
    """Names of the syntax orders that are stored for a language."""
    places = (store.path / ORDERS).glob(f"*/{language}/manifest.json")
    return sorted(path.parent.parent.name for path in places)


def checks_of(store: Store, damage: list[str]) -> Checks:
    """All blocks to verify; files that cannot be opened are added to `damage`."""
    files: list[tuple[Shard | OrderShard, int]] = []
    for language, splits in store.manifest.splits.items():
        for split in splits:
            for orders in ([], *([order] for order in stored_orders(store, language))):
                try:
                    opened = store.split(language, split, orders)
                except DataError as error:
                    damage.append(str(error))
                    continue
                for shard in opened.shards:
                    blocks = shard.entry.blocks
                    files += [(part, blocks) for part in (shard.orders if orders else [shard])]
    return [
        (file, first, min(first + CHUNK_BLOCKS, blocks) - 1)
        for file, blocks in files
        for first in range(0, blocks, CHUNK_BLOCKS)
    ]


def damages(
    store: Store,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """What is wrong with the files of a store, one line each; every block is read.

    Threads share the work: by default one for each of `usable_cores`.
    """
    messages: list[str] = []
    checks = checks_of(store, messages)
    total = sum(last + 1 - first for _, first, last in checks)
    done = 0
    with ThreadPoolExecutor(workers or usable_cores()) as threads:
        for (_, first, last), error in zip(checks, threads.map(check, checks), strict=True):
            if error is not None:
                messages.append(error)
            done += last + 1 - first
            progress(done, total)
    return messages


def check(blocks: tuple[Shard | OrderShard, int, int]) -> str | None:
    """The damage in some blocks of a file, if any."""
    file, first, last = blocks
    try:
        file.verify_blocks(first, last)
    except DataError as error:
        return str(error)
    return None


def statistics(store: Store) -> list[SplitStatistics]:
    """Counts of every language and split."""
    rows = []
    for language in store.languages:
        for split in store.manifest.splits[language]:
            shards = store.split(language, split).shards
            used = np.zeros(store.vocabulary.size, bool)
            for shard in shards:
                used[shard.tokens(0, shard.entry.tokens)] = True
            total: Counter[str] = Counter()
            for shard in shards:
                for name in ("documents", "sentences", "words", "tokens"):
                    total[name] += getattr(shard.entry, name)
            ratio, share = total["tokens"] / total["words"], float(used.mean())
            rows.append(
                SplitStatistics(
                    language,
                    split,
                    len(shards),
                    **total,
                    tokens_per_word=ratio,
                    vocabulary_used=share,
                )
            )
    return rows


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One row of a batch as text."""

    language: str
    epoch: int
    row: int
    original: str  # the base text that the row was made from
    tokens: list[tuple[str, str | None]]  # as the model sees it; the label where one is predicted


def original_tokens(loader: Loader, samples: Samples, split: str, place: int) -> np.ndarray:
    """The base tokens that a row was cut from."""
    shards = loader.splits[samples.languages[place]][split]
    where = shards.locate(samples.rows[place : place + 1], loader.payload_tokens)
    shard = shards.shards[where.shards[0]]
    return shard.tokens(int(where.starts[0]), int(where.stops[0]))


def show_rows(
    loader: Loader, tokenizer: Tokenizer, samples: Samples, batch: Batch, split: str
) -> list[ShownRow]:
    """The rows of a batch as text, with the base text that they were made from."""
    labels = np.full(batch.input_ids.shape, -1)
    labels.ravel()[batch.masked.numpy()] = batch.labels.numpy()
    label_languages = batch.language_ids.numpy().copy()
    if loader.corruption.predict == "original":  # of the row's text, also where the input crossed
        label_languages.ravel()[batch.masked.numpy()] = batch.languages.numpy()
    base_ids = {
        number: base_of(table, len(loader.lexicon.special))
        for number, table in enumerate(loader.lexicon.tables)
    }
    shown = []
    for place in range(samples.size):
        seen, wanted = batch.input_ids[place].numpy(), labels[place]
        language_ids, asked_in = batch.language_ids[place].numpy(), label_languages[place]
        tokens = [
            (
                token_text(tokenizer, int(base_ids[language_ids[i]][seen[i]])),
                token_text(tokenizer, int(base_ids[asked_in[i]][wanted[i]]))
                if wanted[i] >= 0
                else None,
            )
            for i in range(loader.seq_len)
            if seen[i] != loader.vocabulary.pad
        ]
        base = original_tokens(loader, samples, split, place)
        original = tokenizer.decode(base.tolist(), skip_special_tokens=False)
        language = str(loader.languages[samples.languages[place]])
        numbers = int(samples.epochs[place]), int(samples.rows[place])
        shown.append(ShownRow(language, *numbers, original, tokens))
    return shown


def base_of(table: np.ndarray, vocabulary_size: int) -> np.ndarray:
    """The base token of each id in one script; -1 where the script does not use the id."""
    inverse = np.full(vocabulary_size, -1)
    inverse[table] = np.arange(len(table))
    return inverse


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """One token as readable text; special tokens keep their names."""
    return tokenizer.decode([token], skip_special_tokens=False)
