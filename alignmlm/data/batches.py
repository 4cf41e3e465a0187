"""Batch t as a pure function of (recipe, manifest, t): shards, order, mixture, row, mask, batch."""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
import xxhash
from jaxtyping import Bool, Int, Int32, UInt64
from torch import Tensor

from alignmlm.data.masking import (
    Corruption,
    CorruptionTables,
    MaskPhase,
    empty_masked,
    mask_rows,
    phase_at,
)
from alignmlm.data.rendering import RenderTables
from alignmlm.data.rows import RowRequest, Rows, closing_of, empty_rows, read_rows
from alignmlm.data.schedule import Mixture, language_of_samples, rows_of_language
from alignmlm.data.settings import MaskConfig
from alignmlm.data.store import TRAIN, VALIDATION, Split
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.languages.language import Language
from alignmlm.numerics.counter_rng import below, fold, key, keys, uniform


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as tensors, with the masked positions flattened out.

    Arrays with an entry per position are int32: half the bytes to write, pin and copy.
    """

    input_ids: Int32[Tensor, "row seq"]
    position_ids: Int32[Tensor, "row seq"]
    language_ids: Int32[Tensor, "row seq"]
    attention_mask: Bool[Tensor, "row seq"] | None  # None: every position holds a token
    masked: Int[Tensor, " masked"]  # positions in the flattened rows
    labels: Int[Tensor, " masked"]
    languages: Int[Tensor, " masked"]  # number of the language of the row's text
    terms: Int[Tensor, " masked"]  # LossTerm of each position
    fallbacks: int = 0  # translation rows where no whole sentence fitted, shown in one language
    step: int = 0  # of training; an objective's own random draws depend on it

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in moved.items():
            if isinstance(value, Tensor):
                moved[name] = value.to(device, non_blocking=True)
        return Batch(**moved)

    def pinned(self) -> "Batch":
        """The same batch in pinned memory, for asynchronous copies to a GPU."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in moved.items():
            if isinstance(value, Tensor):
                moved[name] = value.pin_memory()
        return Batch(**moved)

    def hash(self) -> str:
        """The xxh3 hash of every tensor in the batch; int32 values hash like int64 ones."""
        digest = xxhash.xxh3_64()
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                wide = value.long() if value.dtype == torch.int32 else value
                digest.update(wide.cpu().numpy().tobytes())
        return digest.hexdigest()


class Samples(NamedTuple):
    """Where some rows of a batch come from."""

    numbers: Int[np.ndarray, " row"]  # counted over the whole run
    languages: Int[np.ndarray, " row"]
    epochs: Int[np.ndarray, " row"]
    rows: Int[np.ndarray, " row"]

    def part(self, start: int, stop: int) -> "Samples":
        """Samples [start, stop)."""
        return Samples(*(values[start:stop] for values in self))

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.numbers)


@dataclass(frozen=True, slots=True)
class Loader:
    """Everything that determines a batch; stateless between batches."""

    languages: list[Language]
    splits: list[dict[str, Split]]  # train and validation splits of each language's base
    vocabulary: Vocabulary
    mixture: Mixture
    lexicon: CorruptionTables
    mask: MaskConfig
    corruption: Corruption
    changes: RenderTables  # of each language, as the compiled code takes them
    masks: list[MaskPhase]  # lexicon, mask and corruption, likewise
    seq_len: int
    seed: int

    @property
    def payload_tokens(self) -> int:
        """Tokens of text in a full row: all but <s> and </s>."""
        return self.seq_len - 2

    def rows(self, language: int, split: str) -> int:
        """Rows of one language and split."""
        return int(self.splits[language][split].row_bounds(self.payload_tokens)[-1])


def training_samples(loader: Loader, numbers: Int[np.ndarray, " row"]) -> Samples:
    """Where the samples with the given numbers come from."""
    languages, counts = language_of_samples(loader.mixture, numbers)
    epochs, rows = np.empty_like(counts), np.empty_like(counts)
    for language in np.unique(languages).tolist():
        here = languages == language
        name, size = str(loader.languages[language]), loader.rows(language, TRAIN)
        epochs[here], rows[here] = rows_of_language(loader.seed, name, counts[here], size)
    return Samples(numbers, languages, epochs, rows)


def partners(loader: Loader, language: int) -> list[int]:
    """Languages of the same base, whose sentences are translations of each other."""
    base = loader.languages[language].base
    others = enumerate(loader.languages)
    return [number for number, other in others if other.base == base and number != language]


def sample_keys(loader: Loader, samples: Samples, split: str) -> UInt64[np.ndarray, " row"]:
    """The random keys of some rows."""
    row_keys = np.empty(samples.size, np.uint64)
    pairs = set(zip(samples.languages.tolist(), samples.epochs.tolist(), strict=True))
    for language, epoch in pairs:
        here = (samples.languages == language) & (samples.epochs == epoch)
        parent = key(split, loader.seed, str(loader.languages[language]), epoch)
        row_keys[here] = fold(parent, samples.rows[here].astype(np.uint64))
    return row_keys


def second_languages(
    loader: Loader, samples: Samples, row_keys: UInt64[np.ndarray, " row"]
) -> Int[np.ndarray, " row"]:
    """The language of each row's second half, -1 for a row of one language."""
    seconds = np.full(samples.size, -1)
    if not loader.corruption.translation_rows:
        return seconds
    kinds = uniform(keys(key("translation row"), row_keys.view(np.int64)))
    drawn = keys(key("pair"), row_keys.view(np.int64))
    for language in range(len(loader.languages)):
        pairs = np.array(partners(loader, language), np.int64)
        here = (samples.languages == language) & (kinds < loader.corruption.translation_rows)
        if len(pairs):
            seconds[here] = pairs[below(drawn[here], len(pairs))]
    return seconds


def make_rows(
    loader: Loader, samples: Samples, split: str, seconds: np.ndarray
) -> tuple[Rows, int]:
    """The rows of some samples before masking, and how many fell back to one language.

    Raises:
        DataError: a damaged block of a shard.
    """
    rows, fell_back = empty_rows(samples.size, loader.seq_len), 0
    closing = closing_of(loader.vocabulary)
    for language in np.unique(samples.languages).tolist():
        here = np.flatnonzero(samples.languages == language)
        source = loader.splits[language][split]
        places = source.locate(samples.rows[here], loader.payload_tokens)
        firsts = np.full(len(here), language)
        wanted = RowRequest(here, places.starts, places.stops, firsts, seconds[here])
        fell_back += read_rows(source, places, wanted, loader.changes, closing, rows)
    return rows, fell_back


def make_batch(loader: Loader, samples: Samples, split: str) -> Batch:
    """The masked batch of some samples, all from the same step.

    Raises:
        DataError: a damaged block of a shard.
    """
    row_keys = sample_keys(loader, samples, split)
    training = split == TRAIN
    seconds = second_languages(loader, samples, row_keys)
    seconds = seconds if training else np.full(samples.size, -1)
    rows, fell_back = make_rows(loader, samples, split, seconds)
    room = empty_masked(rows.ids.size)
    translate = training and loader.corruption.translates
    phase = phase_at(loader.masks, int(samples.numbers[0]), training)
    count = mask_rows(rows, row_keys, phase.masks, translate, room)
    places, labels, languages, terms = (torch.from_numpy(part[:count].copy()) for part in room)
    present = None
    if rows.lengths.min() < loader.seq_len:
        present = torch.from_numpy(np.arange(loader.seq_len) < rows.lengths[:, None])
    return Batch(
        input_ids=torch.from_numpy(rows.ids),
        position_ids=torch.from_numpy(rows.positions),
        language_ids=torch.from_numpy(rows.languages),
        attention_mask=present,
        masked=places,
        labels=labels,
        languages=languages,
        terms=terms,
        fallbacks=fell_back,
    )


def batch_samples(
    loader: Loader, step: int, batch_rows: int, rank: int, world_size: int, micro_rows: int
) -> list[Samples]:
    """The samples of each micro-batch of one rank; step 0 is the first batch.

    The global batch is the same for every world size and every micro_rows.
    """
    share = batch_rows // world_size
    numbers = step * batch_rows + rank * share + np.arange(share)
    samples = training_samples(loader, numbers)
    return [samples.part(at, at + micro_rows) for at in range(0, share, micro_rows)]


def validation_samples(loader: Loader, language: int, rows: int) -> Samples:
    """The first rows of a language's validation split, or all of it if it has fewer."""
    numbers = np.arange(min(rows, loader.rows(language, VALIDATION)))
    return Samples(numbers, np.full_like(numbers, language), np.zeros_like(numbers), numbers)
