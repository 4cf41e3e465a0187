"""Looking at a store and at batches: verify, statistics, and any batch of any run as text."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from alignmlm.data.batches import Batch, Loader, Sample, original_text
from alignmlm.data.shards import BLOCK_BYTES
from alignmlm.data.store import Store
from alignmlm.errors import DataError


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
    vocabulary_used: float  # share of the vocabulary that occurs


def damages(store: Store) -> list[str]:
    """What is wrong with the shards of a store, one line each; every block is read."""
    found = []
    for language in store.languages:
        for split in store.manifest.splits[language]:
            try:
                shards = store.split(language, split).shards
            except DataError as error:
                found.append(str(error))
                continue
            for shard in shards:
                try:
                    shard.verify_blocks(0, (shard.entry.bin_bytes - 1) // BLOCK_BYTES)
                except DataError as error:
                    found.append(str(error))
    return found


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

    sample: Sample
    language: str
    original: str  # the base text that the row was made from
    tokens: list[tuple[str, str | None]]  # as the model sees it; the label where one is predicted


def show_rows(
    loader: Loader, tokenizer: Tokenizer, samples: list[Sample], batch: Batch, split: str
) -> list[ShownRow]:
    """The rows of a batch as text, with what they were made from."""
    labels = np.full(batch.input_ids.shape, -1)
    labels.ravel()[batch.masked.numpy()] = batch.labels.numpy()
    shown, base = [], loader.vocabulary.size
    for place, sample in enumerate(samples):
        text, start, stop = original_text(loader, sample, split)
        # an id of any script, modulo the size of the base vocabulary, is a base id
        seen, wanted = batch.input_ids[place].numpy() % base, labels[place]
        tokens = [
            (
                token_text(tokenizer, int(seen[i])),
                token_text(tokenizer, int(wanted[i] % base)) if wanted[i] >= 0 else None,
            )
            for i in range(loader.seq_len)
            if seen[i] != loader.vocabulary.pad
        ]
        original = tokenizer.decode(text.ids[start:stop].tolist(), skip_special_tokens=False)
        language = str(loader.renderings[sample.language].language)
        shown.append(ShownRow(sample, language, original, tokens))
    return shown


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """One token as a person reads it; specials keep their names."""
    return tokenizer.decode([token], skip_special_tokens=False)
