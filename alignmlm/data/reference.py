"""Batches in NumPy: the specification of alignmlm.data.rows, rendering and masking.

Tests compare the compiled code with it, bit for bit; nothing else calls it.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt64

from alignmlm.data.batches import Batch, Loader, Samples, sample_keys, second_languages
from alignmlm.data.masking import Corruption, CorruptionTables, LossTerm, phase_at
from alignmlm.data.schedule import ROUNDS
from alignmlm.data.settings import MaskConfig
from alignmlm.data.store import TRAIN
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.languages.language import Language
from alignmlm.languages.orders import is_syntax, word_order
from alignmlm.languages.replacement import replace_words
from alignmlm.languages.sentences import Sentences
from alignmlm.numerics.counter_rng import below, key, keys, mix, uniform


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence before masking; shorter than seq_len where the text did not fill it."""

    ids: Int[np.ndarray, " token"]  # of the model's vocabulary, with <s> and </s>
    languages: Int[np.ndarray, " token"]  # number of each token's language
    positions: Int[np.ndarray, " token"]  # from 0; they restart in the second half of a pair
    halves: int  # 1, or 2 for a translation row


@dataclass(frozen=True, slots=True)
class Rendering:
    """One language, ready to render: what happens to the base tokens."""

    number: int  # its place in the recipe
    language: Language
    table: Int[np.ndarray, " vocab"]  # script: base id -> id
    seed: int

    def render(self, text: Sentences, vocabulary: Vocabulary) -> Int[np.ndarray, " token"]:
        """Base sentences in this language: words replaced, words reordered, every id looked up."""
        final = np.array(vocabulary.final, np.int64)
        ordinary = vocabulary.alphabet().ordinary()
        percent = self.language.replaced_percent
        changed = replace_words(text, percent, self.seed, ordinary, final)
        moved = word_order(text, self.language.order, self.seed, final)
        lengths = text.word_lengths_tokens()[moved]
        inside = np.arange(len(text.ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return self.table[changed.ids[np.repeat(text.first_tokens()[moved], lengths) + inside]]


def keyed_permutation(
    order_key: int, values: Int[np.ndarray, " row"], size: int
) -> Int[np.ndarray, " row"]:
    """Images of some values under a bijection of [0, size) that the key chooses.

    Source: Black and Rogaway, 2002 (Ciphers with arbitrary finite domains), cycle walking.
    """
    half = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    round_keys = keys(order_key, np.arange(ROUNDS))
    image = values.astype(np.uint64)
    outside = np.ones(len(image), bool)
    while outside.any():
        left, right = image[outside] >> half, image[outside] & mask
        for round_key in round_keys:
            left, right = right, left ^ (mix(right ^ round_key) & mask)
        image[outside] = (left << half) | right
        outside = image >= np.uint64(size)
    return image.astype(np.int64)


def close(ids: Int[np.ndarray, " token"], vocabulary: Vocabulary) -> Int[np.ndarray, " closed"]:
    """The tokens enclosed in <s> and </s>."""
    return np.concatenate([[vocabulary.bos], ids, [vocabulary.eos]])


def monolingual_row(
    text: Sentences, start: int, stop: int, rendering: Rendering, vocabulary: Vocabulary
) -> Row:
    """Tokens [start, stop) of the rendered sentences, which are rendered whole and then cut."""
    ids = close(rendering.render(text, vocabulary)[start:stop], vocabulary)
    return Row(ids, np.full(len(ids), rendering.number), np.arange(len(ids)), 1)


def whole_sentences(text: Sentences, skip: int, room: int, eos: int) -> Sentences | None:
    """The run of whole sentences that starts at or after token `skip` and fits in `room` tokens.

    The </s> of a document does not open the run: there would be nothing to translate.
    """
    starts = np.append(np.flatnonzero(text.sentence_starts), len(text.ids))
    first = starts[:-1][(starts[:-1] >= skip) & (text.ids[starts[:-1]] != eos)]
    if not len(first):
        return None
    begin = int(first[0])
    end = int(starts[starts <= begin + room][-1])
    return text.part(begin, end) if end > begin else None


def translation_row(
    texts: tuple[Sentences, Sentences],
    start: int,
    renderings: tuple[Rendering, Rendering],
    vocabulary: Vocabulary,
    seq_len: int,
) -> Row | None:
    """Whole sentences from `start` on in one language, then the same in another.

    The two texts differ only in their syntax ranks. None where no whole sentence fits half a row.
    Source: Conneau and Lample, 2019 (arXiv:1901.07291), section 3.3.
    """
    room, halves = seq_len // 2 - 2, []
    for text, rendering in zip(texts, renderings, strict=True):
        chosen = whole_sentences(text, start, room, vocabulary.eos)
        if chosen is None:
            return None
        halves.append(close(rendering.render(chosen, vocabulary), vocabulary))
    length = len(halves[0])
    languages = np.repeat([r.number for r in renderings], length)
    return Row(np.concatenate(halves), languages, np.tile(np.arange(length), 2), 2)


@dataclass(frozen=True, slots=True)
class Corrupted:
    """Rows after corruption."""

    inputs: Int[np.ndarray, "row seq"]
    labels: Int[np.ndarray, "row seq"]
    languages: Int[np.ndarray, "row seq"]  # as the model sees them
    chosen: Bool[np.ndarray, "row seq"]  # positions to predict
    crossed: Bool[np.ndarray, "row seq"]  # those moved to another language by the dictionary


def draw(
    purpose: str, row_keys: UInt64[np.ndarray, " row"], shape: tuple[int, int]
) -> UInt64[np.ndarray, "row seq"]:
    """A hash for every position of every row, for one purpose."""
    parents = keys(key(purpose), row_keys.view(np.int64))
    return keys(parents[:, None], np.arange(shape[1])[None])


def mask_rows(
    ids: Int[np.ndarray, "row seq"],
    languages: Int[np.ndarray, "row seq"],
    row_keys: UInt64[np.ndarray, " row"],
    lexicon: CorruptionTables,
    config: MaskConfig,
    rate: float,
) -> Corrupted:
    """Rows with a share of their ordinary tokens chosen to predict: masked, replaced or kept."""
    chosen = ~lexicon.special[ids] & (uniform(draw("mask", row_keys, ids.shape)) < rate)
    fate = uniform(draw("fate", row_keys, ids.shape))
    drawn = below(draw("replace", row_keys, ids.shape), len(lexicon.ordinary))
    random = lexicon.tables[languages, lexicon.ordinary[drawn]]
    changed = np.where(fate < config.random, random, lexicon.mask_id)
    unchanged = fate >= 1 - config.keep
    inputs = np.where(chosen & ~unchanged, changed, ids)
    return Corrupted(inputs, ids, languages, chosen, np.zeros_like(chosen))


def partners(
    masked: Corrupted, row_keys: UInt64[np.ndarray, " row"], lexicon: CorruptionTables
) -> tuple[Int[np.ndarray, "row seq"], Int[np.ndarray, "row seq"]]:
    """Another language for each position, and its token's translation there or -1."""
    count = len(lexicon.tables)
    step = 1 + below(draw("partner", row_keys, masked.inputs.shape), max(count - 1, 1))
    other = (masked.languages + step) % count
    return other, lexicon.translations[masked.languages, other, masked.labels]


def cross_languages(
    masked: Corrupted,
    row_keys: UInt64[np.ndarray, " row"],
    lexicon: CorruptionTables,
    corruption: Corruption,
) -> Corrupted:
    """Some masked dictionary tokens moved to another language, with that language's id.

    "original": the input is the translation, the label stays. Source: princeton-nlp/align-mlm.
    "translation": the input is <mask>, the label is the translation.
    Source: Chaudhary et al., 2020 (arXiv:2010.12566), DICT-MLM.
    """
    other, partner = partners(masked, row_keys, lexicon)
    taken = uniform(draw("cross", row_keys, masked.inputs.shape)) < corruption.dictionary
    crossed = masked.chosen & (partner >= 0) & taken
    languages = np.where(crossed, other, masked.languages)
    if corruption.predict == "original":
        inputs = np.where(crossed, partner, masked.inputs)
        return Corrupted(inputs, masked.labels, languages, masked.chosen, crossed)
    inputs = np.where(crossed, lexicon.mask_id, masked.inputs)
    labels = np.where(crossed, partner, masked.labels)
    return Corrupted(inputs, labels, languages, masked.chosen, crossed)


def switch_languages(
    masked: Corrupted,
    row_keys: UInt64[np.ndarray, " row"],
    lexicon: CorruptionTables,
    share: float,
) -> Corrupted:
    """A share of the dictionary tokens that are not to be predicted, translated."""
    other, partner = partners(masked, row_keys, lexicon)
    taken = uniform(draw("switch", row_keys, masked.inputs.shape)) < share
    switched = ~masked.chosen & (partner >= 0) & taken
    inputs = np.where(switched, partner, masked.inputs)
    languages = np.where(switched, other, masked.languages)
    return replace(masked, inputs=inputs, languages=languages)


def rendering_of(loader: Loader, number: int, seed: int) -> Rendering:
    """One language of a loader."""
    return Rendering(number, loader.languages[number], loader.lexicon.tables[number], seed)


def sample_row(
    loader: Loader, samples: Samples, place: int, second: int, split: str, seed: int
) -> tuple[Row, bool]:
    """The row of a sample, and whether it fell back from two languages to one."""
    language = int(samples.languages[place])
    source = loader.splits[language][split]
    where = source.locate(samples.rows[place : place + 1], loader.payload_tokens)
    shard, start, stop = source.shards[where.shards[0]], int(where.starts[0]), int(where.stops[0])

    def text_for(number: int) -> tuple[Sentences, int]:
        order = loader.languages[number].order
        return shard.sentences(start, stop, source.orders.index(order) if is_syntax(order) else -1)

    text, begin = text_for(language)
    first = rendering_of(loader, language, seed)
    if second >= 0:
        texts = (text, text_for(second)[0])
        renderings = (first, rendering_of(loader, second, seed))
        row = translation_row(texts, start - begin, renderings, loader.vocabulary, loader.seq_len)
        if row is not None:
            return row, False
    alone = monolingual_row(text, start - begin, stop - begin, first, loader.vocabulary)
    return alone, second >= 0


def stack(rows: list[np.ndarray], seq_len: int, fill: int) -> Int[np.ndarray, "row seq"]:
    """Rows of any length up to seq_len as one array, padded at the end with `fill`."""
    stacked = np.full((len(rows), seq_len), fill, np.int64)
    for place, row in enumerate(rows):
        stacked[place, : len(row)] = row
    return stacked


def reference_batch(loader: Loader, samples: Samples, split: str, seed: int) -> Batch:
    """The batch that make_batch gives; `seed` is that of the languages."""
    row_keys = sample_keys(loader, samples, split)
    seconds = second_languages(loader, samples, row_keys) if split == TRAIN else None
    sampled = [
        sample_row(loader, samples, n, -1 if seconds is None else int(seconds[n]), split, seed)
        for n in range(samples.size)
    ]
    rows, fell_back = [row for row, _ in sampled], sum(fallback for _, fallback in sampled)
    ids = stack([row.ids for row in rows], loader.seq_len, loader.vocabulary.pad)
    languages = stack([row.languages for row in rows], loader.seq_len, 0)
    rate = phase_at(loader.masks, int(samples.numbers[0]), split == TRAIN).rate
    masked = mask_rows(ids, languages, row_keys, loader.lexicon, loader.mask, rate)
    if loader.corruption.dictionary and split == TRAIN:
        masked = cross_languages(masked, row_keys, loader.lexicon, loader.corruption)
    if loader.corruption.code_switch and split == TRAIN:
        share = loader.corruption.code_switch
        masked = switch_languages(masked, row_keys, loader.lexicon, share)
    halves = np.array([row.halves for row in rows])[:, None]
    terms = np.where(
        masked.crossed, LossTerm.DICT, np.where(halves == 2, LossTerm.TLM, LossTerm.MLM)
    )
    places = np.flatnonzero(masked.chosen)
    positions = stack([row.positions for row in rows], loader.seq_len, 0)
    lengths = np.array([len(row.ids) for row in rows])[:, None]
    present = torch.from_numpy(np.arange(loader.seq_len) < lengths)
    return Batch(
        input_ids=torch.from_numpy(masked.inputs).int(),
        position_ids=torch.from_numpy(positions).int(),
        language_ids=torch.from_numpy(masked.languages).int(),
        attention_mask=None if present.all() else present,
        masked=torch.from_numpy(places),
        labels=torch.from_numpy(masked.labels.ravel()[places]),
        languages=torch.from_numpy(languages.ravel()[places]),
        terms=torch.from_numpy(terms.ravel()[places]),
        fallbacks=fell_back,
    )
