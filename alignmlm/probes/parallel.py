"""The same text in two languages, as rows of a model with matching spans."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int
from tokenizers import Tokenizer

from alignmlm.data.text import normalise, words_of
from alignmlm.data.tokenizer import Vocabulary, encode
from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.language import Language
from alignmlm.languages.orders import is_syntax, word_order
from alignmlm.languages.replacement import replace_words
from alignmlm.languages.sentences import Sentences
from alignmlm.probes.encoder import ProbeRow
from alignmlm.storage.text import numbered_lines


@dataclass(frozen=True, slots=True)
class ParallelRows:
    """Rows of two languages; the n-th spans of both translate each other."""

    source: tuple[ProbeRow, ...]
    target: tuple[ProbeRow, ...]

    def __post_init__(self) -> None:
        spans = [sum(len(row.spans) for row in rows) for rows in (self.source, self.target)]
        if spans[0] != spans[1] or not spans[0]:
            requirement = "be the same number, at least 1, in both languages"
            raise ConfigError("spans of parallel rows", tuple(spans), requirement)


@dataclass(frozen=True, slots=True)
class Reading:
    """How sentences of a base language are rendered in one language of a model."""

    language: Language
    table: Int[np.ndarray, " vocab"]  # the model's id of each base token
    vocabulary: Vocabulary
    seed: int  # of word orders and replaced words
    longest_tokens: int  # of a row, <s> and </s> included
    number: int = 0  # the language's embedding; 0 in models without

    def __post_init__(self) -> None:
        if is_syntax(self.language.order):
            requirement = "have no syntax order: these sentences have no parses"
            raise ConfigError("language of parallel rows", str(self.language), requirement)


@dataclass(frozen=True, slots=True)
class RenderedSentence:
    """One sentence in one language, without <s> and </s>."""

    ids: Int[np.ndarray, " token"]
    words: Int[np.ndarray, " token"]  # number in the base sentence of each token's word
    kept: Bool[np.ndarray, " word"]  # of the base sentence: not replaced by random words


def read_parallel_lines(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """The lines of two files that translate each other line by line, as Tatoeba's do.

    Raises:
        DataError: a file cannot be read, they differ in length, or a line is empty.
    """
    lines_of_file = []
    for path in (source, target):
        lines_of_file.append([line for _, line in numbered_lines(path)])
        if empty := [n for n, line in enumerate(lines_of_file[-1], start=1) if not line.strip()]:
            raise DataError(f"{path}:{empty[0]}: the line is empty")
    if len(lines_of_file[0]) != len(lines_of_file[1]):
        raise DataError(
            f"{source} has {len(lines_of_file[0])} lines, {target} has {len(lines_of_file[1])}"
        )
    return lines_of_file[0], lines_of_file[1]


def base_sentences(tokenizer: Tokenizer, texts: Sequence[str], unk: int) -> list[Sentences]:
    """Each text as one sentence of base tokens; a text that has no tokens is <unk>."""
    sentences = []
    for ids, starts in encode(tokenizer, [words_of(normalise(text)) for text in texts]):
        if not len(ids):
            ids, starts = np.array([unk]), np.ones(1, bool)
        first = np.arange(len(ids)) == 0
        sentences.append(Sentences(ids, starts | first, first))
    return sentences


def rendered(text: Sentences, reading: Reading) -> RenderedSentence:
    """A base sentence in one language, rendered as in training."""
    language, vocabulary = reading.language, reading.vocabulary
    final = np.array(vocabulary.final, np.int64)
    ordinary = vocabulary.alphabet().ordinary()
    changed = replace_words(text, language.replaced_percent, reading.seed, ordinary, final)
    moved = word_order(text, language.order, reading.seed, final)
    lengths = text.word_lengths_tokens()[moved]
    inside = np.arange(len(text.ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    tokens = np.repeat(text.first_tokens()[moved], lengths) + inside
    unreplaced = np.logical_and.reduceat(changed.ids == text.ids, text.first_tokens())
    return RenderedSentence(
        reading.table[changed.ids[tokens]], np.repeat(moved, lengths), unreplaced
    )


def row_of(
    shown: RenderedSentence, reading: Reading, spans: tuple[tuple[int, int], ...]
) -> ProbeRow:
    """A rendered sentence between <s> and </s>, cut to the model's longest row."""
    room = reading.longest_tokens - 2
    bos, eos = reading.vocabulary.bos, reading.vocabulary.eos
    return ProbeRow((bos, *shown.ids[:room].tolist(), eos), spans, reading.number)


def sentence_rows(texts: Sequence[Sentences], reading: Reading) -> tuple[ProbeRow, ...]:
    """One row per sentence; its span is all but <s> and </s>, which every sentence shares."""
    room = reading.longest_tokens - 2
    return tuple(
        row_of(rendered(text, reading), reading, ((1, 1 + min(len(text.ids), room)),))
        for text in texts
    )


def word_spans(shown: RenderedSentence, room_tokens: int) -> dict[int, tuple[int, int]]:
    """The span of each base word in a row, without words that are cut off."""
    first = np.flatnonzero(np.append(True, shown.words[1:] != shown.words[:-1]))
    ends = np.append(first[1:], len(shown.words))
    return {
        int(shown.words[start]): (int(start) + 1, int(stop) + 1)
        for start, stop in zip(first, ends, strict=True)
        if stop <= room_tokens
    }


def tokens_of_word(text: Sentences, word: int) -> tuple[int, ...]:
    """The base tokens of one word of a sentence."""
    start = text.first_tokens()[word]
    return tuple(text.ids[start : start + text.word_lengths_tokens()[word]].tolist())


def matched(
    text: Sentences, readings: tuple[Reading, Reading], seen: set[tuple[int, ...]] | None
) -> tuple[list[RenderedSentence], list[dict[int, tuple[int, int]]]]:
    """A sentence in each language, and the spans of words in both that were not seen before.

    Adds its words to `seen`, unless that is None.
    """
    shown = [rendered(text, reading) for reading in readings]
    spans = [
        word_spans(sentence, reading.longest_tokens - 2)
        for sentence, reading in zip(shown, readings, strict=True)
    ]
    both = shown[0].kept & shown[1].kept
    words = []
    for word in sorted(spans[0].keys() & spans[1].keys()):
        if both[word] and (seen is None or tokens_of_word(text, word) not in seen):
            words.append(word)
            if seen is not None:
                seen.add(tokens_of_word(text, word))
    return shown, [{word: span[word] for word in words} for span in spans]


def word_rows(
    texts: Sequence[Sentences],
    source: Reading,
    target: Reading,
    limit_words: int | None = None,
    repeated: bool = False,
) -> ParallelRows | None:
    """The same sentences in two languages of one base, word by word; None if no word is left.

    Words that a language replaced by random ones, or that do not fit into a row, are left out, and
    so is every occurrence of a word but the first: at the embedding layer only their positions tell
    them apart. `repeated` keeps them. A limit keeps the first words.
    """
    rows: tuple[list[ProbeRow], list[ProbeRow]] = ([], [])
    seen: set[tuple[int, ...]] | None = None if repeated else set()
    left = limit_words
    for text in texts:
        shown, spans = matched(text, (source, target), seen)
        words = list(spans[0])[:left]
        for side, sentence, reading, span in zip(rows, shown, (source, target), spans, strict=True):
            if words:
                side.append(row_of(sentence, reading, tuple(span[word] for word in words)))
        if left is not None and (left := left - len(words)) == 0:
            break
    return ParallelRows(tuple(rows[0]), tuple(rows[1])) if rows[0] else None
