"""Batch t as a pure function of (recipe, manifest, t): shards, order, mixture, row, mask, batch."""

from dataclasses import dataclass, fields

import numpy as np
import torch
import xxhash
from jaxtyping import Bool, Int
from torch import Tensor

from alignmlm.data.masking import (
    Corruption,
    Lexicon,
    MaskConfig,
    Term,
    cross_languages,
    mask_rows,
)
from alignmlm.data.rows import Rendering, Row, monolingual_row, translation_row
from alignmlm.data.schedule import language_of_samples, rows_of_language
from alignmlm.data.store import TRAIN, VALIDATION, Split
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.draws import below, key, keys, uniform
from alignmlm.languages.sentences import Sentences


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as tensors, with the masked positions flattened out."""

    input_ids: Int[Tensor, "row seq"]
    position_ids: Int[Tensor, "row seq"]
    language_ids: Int[Tensor, "row seq"]
    attention_mask: Bool[Tensor, "row seq"] | None  # None: every position holds a token
    masked: Int[Tensor, " masked"]  # positions in the flattened rows
    labels: Int[Tensor, " masked"]
    languages: Int[Tensor, " masked"]  # of the row's text, by number
    terms: Int[Tensor, " masked"]  # Term of each position
    fallbacks: int = 0  # translation rows without a whole sentence, shown in one language

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in moved.items():
            if isinstance(value, Tensor):
                moved[name] = value.to(device, non_blocking=True)
        return Batch(**moved)

    def hash(self) -> str:
        """An xxh3 of every number in the batch."""
        digest = xxhash.xxh3_64()
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                digest.update(value.cpu().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Sample:
    """Where one row of a batch comes from."""

    number: int  # counted over the whole run
    language: int
    epoch: int
    row: int


@dataclass(frozen=True, slots=True)
class Loader:
    """All that shapes a batch; it keeps no state between batches."""

    renderings: list[Rendering]  # one a language
    splits: list[dict[str, Split]]  # train and validation of each language's base
    vocabulary: Vocabulary
    lexicon: Lexicon
    mixture: Int[np.ndarray, " period"]
    mask: MaskConfig
    corruption: Corruption
    seq_len: int
    seed: int

    @property
    def payload_tokens(self) -> int:
        """Tokens of text in a full row: all but <s> and </s>."""
        return self.seq_len - 2

    def rows(self, language: int, split: str) -> int:
        """Rows of one language and split."""
        return int(self.splits[language][split].row_bounds(self.payload_tokens)[-1])


def training_samples(loader: Loader, numbers: Int[np.ndarray, " row"]) -> list[Sample]:
    """Where the samples of some numbers come from."""
    languages, counts = language_of_samples(loader.mixture, numbers)
    found: dict[int, Sample] = {}
    for language in np.unique(languages).tolist():
        here = np.flatnonzero(languages == language)
        name, size = str(loader.renderings[language].language), loader.rows(language, TRAIN)
        epochs, rows = rows_of_language(loader.seed, name, counts[here], size)
        for place, epoch, row in zip(here.tolist(), epochs.tolist(), rows.tolist(), strict=True):
            found[place] = Sample(int(numbers[place]), language, epoch, row)
    return [found[place] for place in range(len(numbers))]


def partners(loader: Loader, language: int) -> list[int]:
    """Languages that say the same sentences: those of the same base."""
    base = loader.renderings[language].language.base
    others = enumerate(loader.renderings)
    return [number for number, r in others if r.language.base == base and number != language]


def sample_key(loader: Loader, sample: Sample, split: str) -> int:
    """The key of everything that is drawn for a row."""
    name = str(loader.renderings[sample.language].language)
    return key(split, loader.seed, name, sample.epoch, sample.row)


def sample_row(loader: Loader, sample: Sample, split: str) -> tuple[Row, bool]:
    """The row of a sample, and whether it fell back from two languages to one."""
    shards = loader.splits[sample.language][split]
    place = shards.locate(sample.row, loader.payload_tokens)
    rendering = loader.renderings[sample.language]
    row_key = np.array([sample_key(loader, sample, split)], np.uint64)
    pairs = partners(loader, sample.language) if split == TRAIN else []
    kind = uniform(keys(key("translation row"), row_key.view(np.int64)))[0]
    if not pairs or kind >= loader.corruption.translation_rows:
        return monolingual_row(place, rendering, loader.vocabulary), False
    partner = pairs[int(below(keys(key("pair"), row_key.view(np.int64)), len(pairs))[0])]
    both = (rendering, loader.renderings[partner])
    row = translation_row(place, both, loader.vocabulary, loader.seq_len)
    if row is None:
        return monolingual_row(place, rendering, loader.vocabulary), True
    return row, False


def stack(rows: list[np.ndarray], seq_len: int, fill: int) -> Int[np.ndarray, "row seq"]:
    """Rows of any length as one array, filled at the end."""
    stacked = np.full((len(rows), seq_len), fill, np.int64)
    for place, row in enumerate(rows):
        stacked[place, : len(row)] = row
    return stacked


def make_batch(loader: Loader, samples: list[Sample], split: str) -> Batch:
    """The masked batch of some samples."""
    rendered = [sample_row(loader, sample, split) for sample in samples]
    rows, fell_back = [row for row, _ in rendered], sum(fallback for _, fallback in rendered)
    ids = stack([row.ids for row in rows], loader.seq_len, loader.vocabulary.pad)
    languages = stack([row.languages for row in rows], loader.seq_len, 0)
    row_keys = np.array([sample_key(loader, sample, split) for sample in samples], np.uint64)
    masked = mask_rows(ids, languages, row_keys, loader.lexicon, loader.mask)
    if loader.corruption.dictionary and split == TRAIN:
        masked = cross_languages(masked, row_keys, loader.lexicon, loader.corruption)
    halves = np.array([row.halves for row in rows])[:, None]
    terms = np.where(masked.crossed, Term.DICT, np.where(halves == 2, Term.TLM, Term.MLM))
    places = np.flatnonzero(masked.chosen)
    full = all(len(row.ids) == loader.seq_len for row in rows)
    lengths = np.array([len(row.ids) for row in rows])[:, None]
    present = None if full else torch.from_numpy(np.arange(loader.seq_len) < lengths)
    return Batch(
        input_ids=torch.from_numpy(masked.inputs),
        position_ids=torch.from_numpy(stack([row.positions for row in rows], loader.seq_len, 0)),
        language_ids=torch.from_numpy(masked.languages),
        attention_mask=present,
        masked=torch.from_numpy(places),
        labels=torch.from_numpy(masked.labels.ravel()[places]),
        languages=torch.from_numpy(languages.ravel()[places]),
        terms=torch.from_numpy(terms.ravel()[places]),
        fallbacks=fell_back,
    )


def batch_samples(
    loader: Loader, step: int, batch_rows: int, rank: int, world_size: int, micro_rows: int
) -> list[list[Sample]]:
    """The samples of each micro-batch of one rank; step 0 is the first batch.

    The global batch is the same for every world size and every micro_rows.
    """
    share = batch_rows // world_size
    numbers = step * batch_rows + rank * share + np.arange(share)
    samples = training_samples(loader, numbers)
    return [samples[at : at + micro_rows] for at in range(0, share, micro_rows)]


def validation_samples(loader: Loader, language: int, rows: int) -> list[Sample]:
    """The first rows of a language's validation split, or all of it if it has fewer."""
    count = min(rows, loader.rows(language, VALIDATION))
    return [Sample(row, language, 0, row) for row in range(count)]


def original_text(loader: Loader, sample: Sample, split: str) -> tuple[Sentences, int, int]:
    """The base sentences that a sample's row cuts, and where the row starts and stops in them."""
    shards = loader.splits[sample.language][split]
    shard, start, stop = shards.locate(sample.row, loader.payload_tokens)
    text, begin = shard.sentences(start, stop)
    return text, start - begin, stop - begin
