"""Labelled sentences turned into any language of a model: labels move with their words."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from tokenizers import Encoding, Tokenizer

from alignmlm.data.text import RawSentence, normalise
from alignmlm.data.tokenizer import Vocabulary, encode_words, token_word_starts
from alignmlm.evaluation.export import Export
from alignmlm.evaluation.forms import LabelledSentence
from alignmlm.languages.orders import word_order
from alignmlm.languages.sentences import Sentences, from_words

log = logging.getLogger(__name__)

IGNORED = -100  # label of a position that is not scored
TokensOfWord = tuple[int, ...]


def chunks_of(sentence: LabelledSentence) -> Iterator[RawSentence]:
    """Runs of words without a space between them, as text with word starts."""
    text, starts = "", [0]
    for word, joined in zip(sentence.words, sentence.joined, strict=True):
        word = normalise(word).replace(" ", "\u00a0")
        if text and not joined:
            yield RawSentence(text, tuple(starts))
            text, starts = "", []
        starts = [*starts, len(text)] if text else [0]
        text += word
    yield RawSentence(text, tuple(starts))


def chunk_words(chunk: RawSentence) -> list[str]:
    """The words of a chunk."""
    ends = [*chunk.word_starts[1:], len(chunk.text)]
    return [chunk.text[start:end] for start, end in zip(chunk.word_starts, ends, strict=True)]


def split_tokens(encoding: Encoding, chunk: RawSentence) -> list[TokensOfWord] | None:
    """Token ids of each word of a chunk; None where the tokens do not respect its words."""
    if not encoding.ids:
        return None
    starts = token_word_starts(encoding.offsets, chunk)
    if starts.sum() != len(chunk.word_starts):
        return None
    parts = np.split(np.array(encoding.ids), np.flatnonzero(starts)[1:])
    return [tuple(part.tolist()) for part in parts]


def tokens_of_words(
    tokenizer: Tokenizer, sentences: list[LabelledSentence], unk: int
) -> list[list[TokensOfWord]]:
    """Token ids of each word of each sentence, at least one a word.

    A word has the tokens that it has in running text ("lamp" and "." of "a lamp."); where a token
    would hold parts of two words ("don" of "do" and "n't"), each word is tokenised on its own.
    """
    chunks = [list(chunks_of(sentence)) for sentence in sentences]
    flat = [chunk for part in chunks for chunk in part]
    encodings = iter(tokenizer.encode_batch([c.text for c in flat], add_special_tokens=False))
    found = []
    for part in chunks:
        words: list[TokensOfWord] = []
        for chunk in part:
            tokens = split_tokens(next(encodings), chunk)
            words += tokens or encode_words(tokenizer, chunk_words(chunk))
        found.append([word or (unk,) for word in words])
    return found


@dataclass(frozen=True, slots=True)
class Example:
    """One sentence in one language, as the model sees it."""

    input_ids: list[int]  # with <s> and </s>
    labels: list[int]  # at the first token of each word; IGNORED elsewhere
    language: int  # its number in the model


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A split of a task as tokens and label numbers of the base language."""

    words: list[list[TokensOfWord]]
    labels: list[list[int]]


def numbered(
    sentences: list[LabelledSentence],
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    names: list[str],
) -> LabelledText:
    """Sentences with their words as base tokens and their labels as numbers."""
    number = {name: place for place, name in enumerate(names)}
    labels = [[number[label] for label in sentence.labels] for sentence in sentences]
    return LabelledText(tokens_of_words(tokenizer, sentences, vocabulary.unk), labels)


def in_order(
    text: Sentences, labels: list[int], order: Int[np.ndarray, " word"]
) -> tuple[Int[np.ndarray, " token"], Int[np.ndarray, " token"]]:
    """Base tokens and labels of one sentence with its words in the order given."""
    words = np.split(text.ids, text.first_tokens()[1:])
    marked = [np.full(len(word), IGNORED) for word in words]
    for word, label in zip(marked, labels, strict=True):
        word[0] = label
    return np.concatenate([words[i] for i in order]), np.concatenate([marked[i] for i in order])


def examples_in(export: Export, language: str, text: LabelledText) -> tuple[list[Example], int]:
    """The sentences in one language of a model, and how many words the longest row cut off."""
    number = export.number_of(language)
    order, table = export.parsed_languages()[number].order, export.script_tables()[number]
    vocabulary, room = export.vocabulary, export.seq_len - 2
    final = np.array(vocabulary.final, np.int64)
    examples, lost = [], 0
    for words, labels in zip(text.words, text.labels, strict=True):
        sentence = from_words([list(word) for word in words], [len(words)])
        moved = word_order(sentence, order, export.languages_seed, final)
        ids, marked = in_order(sentence, labels, moved)
        lost += int((marked[room:] != IGNORED).sum())
        row = [vocabulary.bos, *table[ids[:room]].tolist(), vocabulary.eos]
        examples.append(Example(row, [IGNORED, *marked[:room].tolist(), IGNORED], number))
    if lost:
        total = sum(map(len, text.labels))
        log.warning("%s: %d of %d words lie beyond seq_len %d", language, lost, total, room + 2)
    return examples, lost
