"""Labelled sentences turned into any language of a model: labels move with their words."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from tokenizers import Encoding, Tokenizer

from alignmlm.data.text import RawSentence, normalise
from alignmlm.data.tokenizer import Vocabulary, encode_words, token_word_starts
from alignmlm.evaluation.examples import LabelledSentence
from alignmlm.evaluation.export import Export
from alignmlm.evaluation.reordering import (
    Reorderer,
    SyntaxConfig,
    TokensOfWord,
    Trees,
    syntax_models,
)
from alignmlm.evaluation.spans import moved_entities
from alignmlm.languages.replacement import replace_words
from alignmlm.languages.sentences import Sentences

log = logging.getLogger(__name__)

IGNORED = -100  # label of a position that is not scored


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
    forms: list[tuple[str, ...]]  # the words of each sentence as they are written
    tags: tuple[str, ...] = ()  # names of the labels where they are entity tags


def numbered(
    sentences: list[LabelledSentence],
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    names: list[str],
    entities: bool = False,
) -> LabelledText:
    """Sentences with their words as base tokens and their labels as numbers."""
    number = {name: place for place, name in enumerate(names)}
    labels = [[number[label] for label in sentence.labels] for sentence in sentences]
    tokens = tokens_of_words(tokenizer, sentences, vocabulary.unk)
    forms = [sentence.words for sentence in sentences]
    return LabelledText(tokens, labels, forms, tuple(names) if entities else ())


def moved_labels(
    labels: list[int], order: Int[np.ndarray, " word"], tags: tuple[str, ...], counts: Counter[str]
) -> list[int]:
    """The labels of a sentence's words in their new order; entity tags are valid BIO again."""
    if not tags:
        return [labels[word] for word in order]
    moved = moved_entities([tags[label] for label in labels], order)
    counts.update(moved.counts())
    return [tags.index(label) for label in moved.labels]


def in_order(
    text: Sentences, labels: list[int], order: Int[np.ndarray, " word"]
) -> tuple[Int[np.ndarray, " token"], Int[np.ndarray, " token"]]:
    """Base tokens of one sentence with its words in the order given, and the labels put at them.

    `labels` are those of the words in their new order.
    """
    words = np.split(text.ids, text.first_tokens()[1:])
    moved = [words[word] for word in order]
    marked = np.full(len(text.ids), IGNORED)
    lengths = np.array([len(word) for word in moved], np.int64)
    marked[np.cumsum(lengths) - lengths] = labels
    return np.concatenate(moved), marked


@dataclass(frozen=True, slots=True)
class Rendered:
    """The sentences of a split in one language of a model."""

    examples: list[Example]
    counts: dict[str, int]  # words_cut_off; spans and spans_torn of entities; trees_* of syntax


def reorderer_of(export: Export, language: str, syntax: SyntaxConfig, trees: Trees) -> Reorderer:
    """What orders words in a language of a model.

    Raises:
        ConfigError: the model lacks the language, or a syntax order lacks its models.
    """
    order = export.parsed_languages()[export.number_of(language)].order
    models = syntax_models(order, syntax)
    final, seed = export.vocabulary.final, export.languages_seed
    return Reorderer(order, seed, final, models, trees, syntax.seed)


def rendered_in(
    export: Export, language: str, text: LabelledText, reorderer: Reorderer
) -> Rendered:
    """The sentences in one language of a model, and what happened to them."""
    number = export.number_of(language)
    percent = export.parsed_languages()[number].replaced_percent
    table, vocabulary, room = export.script_tables()[number], export.vocabulary, export.seq_len - 2
    final, ordinary = np.array(vocabulary.final, np.int64), vocabulary.alphabet().ordinary()
    counts: Counter[str] = Counter({"words_cut_off": 0})
    examples = []
    for forms, words, labels in zip(text.forms, text.words, text.labels, strict=True):
        sentence, moved = reorderer.word_order(forms, words, [len(words)], counts)
        changed = replace_words(sentence, percent, export.languages_seed, ordinary, final)
        ids, marked = in_order(changed, moved_labels(labels, moved, text.tags, counts), moved)
        counts["words_cut_off"] += int((marked[room:] != IGNORED).sum())
        row = [vocabulary.bos, *table[ids[:room]].tolist(), vocabulary.eos]
        examples.append(Example(row, [IGNORED, *marked[:room].tolist(), IGNORED], number))
    report(language, counts, sum(map(len, text.labels)), export.seq_len)
    return Rendered(examples, dict(counts))


def report(language: str, counts: Counter[str], words: int, seq_len: int) -> None:
    """Log what was lost."""
    if lost := counts["words_cut_off"]:
        log.warning("%s: %d of %d words lie beyond seq_len %d", language, lost, words, seq_len)
    if torn := counts["spans_torn"]:
        log.info("%s: %d of %d entities are in pieces", language, torn, counts["spans"])


def examples_in(export: Export, language: str, text: LabelledText) -> tuple[list[Example], int]:
    """The sentences in one language of a model, and how many words the longest row cut off.

    Raises:
        ConfigError: the language has a syntax order; rendered_in takes its models and trees.
    """
    reorderer = reorderer_of(export, language, SyntaxConfig(), Trees())
    rendered = rendered_in(export, language, text, reorderer)
    return rendered.examples, rendered.counts["words_cut_off"]
