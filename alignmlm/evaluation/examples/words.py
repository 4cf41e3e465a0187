"""Texts as sentences of words, split as when a store is built, and the words' base tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from jaxtyping import Int
from tokenizers import Encoding, Tokenizer

from alignmlm.corpus.token_bounds import found_starts, sentence_parts
from alignmlm.data.text import RawSentence, normalise
from alignmlm.data.tokenizer import encode_words, encodings, ordinary, token_word_starts
from alignmlm.tasks.examples import LabelledSentence


@dataclass(frozen=True, slots=True)
class TextWords:
    """The words of a text, sentence by sentence."""

    words: tuple[str, ...]
    joined: tuple[bool, ...]  # whether no space stands between a word and the one before
    sentence_lengths_words: tuple[int, ...]

    def reordered(self, order: Int[np.ndarray, " word"]) -> "TextWords":
        """The words in a new order, which keeps every word in its sentence.

        Each word's flag about the space before it moves with it, so that reordering is reversible.
        """
        words, joined = (tuple(c[i] for i in order) for c in (self.words, self.joined))
        return TextWords(words, joined, self.sentence_lengths_words)

    def bounds(self) -> list[tuple[int, int]]:
        """The first word of each sentence, and the one after its last."""
        return list(pairwise(accumulate(self.sentence_lengths_words, initial=0)))


@dataclass(frozen=True, slots=True)
class PlacedWords:
    """The words of a text, and where they stand in it."""

    text: TextWords
    starts: tuple[int, ...]  # first character of each word
    stops: tuple[int, ...]  # the one after its last


def placed_words(text: str, language: str) -> PlacedWords:
    """Words and sentences of a text; `language` is an ISO 639-3 code or an id such as eng-Latn."""
    parts = sentence_parts(text, language.split("-")[0])
    if not parts:
        return PlacedWords(TextWords((), (), ()), (), ())
    starts, sentence_starts = (places.tolist() for places in found_starts(text, parts))
    starts[0] = min(starts[0], sentence_starts[0]) if starts else 0
    raw = [text[start:stop] for start, stop in pairwise([*starts, len(text)])]
    stops = [start + len(word.rstrip()) for start, word in zip(starts, raw, strict=True)]
    joined = (False, *(stop == start for stop, start in zip(stops, starts[1:], strict=False)))
    sentence = np.searchsorted(np.array(sentence_starts), np.array(starts), side="right") - 1
    lengths = tuple(np.bincount(sentence, minlength=len(sentence_starts)).tolist())
    words = tuple(normalise(word) for word in raw)
    return PlacedWords(TextWords(words, joined, lengths), tuple(starts), tuple(stops))


def text_words(text: str, language: str) -> TextWords:
    """The words of a text, sentence by sentence."""
    return placed_words(text, language).text


def fuses(before: str, after: str) -> bool:
    """Whether two words would read as one without a space between them."""
    return before[-1:].isalnum() and after[:1].isalnum()


def spaces_before(words: Sequence[str], joined: Sequence[bool]) -> list[bool]:
    """Before which words a space is written: before all but the first and the joined ones.

    Words that a reordering has made adjacent and that would fuse are separated by a space anyway.
    """
    befores = ["", *words[:-1]]
    pairs = zip(befores, words, joined, strict=True)
    return [bool(before) and (not at or fuses(before, word)) for before, word, at in pairs]


def written(text: TextWords) -> tuple[str, list[int]]:
    """The words as a text with single spaces, and where each begins in it."""
    spaces = spaces_before(text.words, text.joined)
    pieces = [" " * space + word for space, word in zip(spaces, text.words, strict=True)]
    ends = list(accumulate(len(piece) for piece in pieces))
    starts = [end - len(word) for end, word in zip(ends, text.words, strict=True)]
    return "".join(pieces), starts


TokensOfWord = tuple[int, ...]
Spaced = LabelledSentence | TextWords  # words that are marked where no space precedes them


def shown_words(sentence: Spaced) -> list[str]:
    """The words of a sentence, normalised; a word of white space alone is empty."""
    return [normalise(word).replace(" ", "\u00a0") for word in sentence.words]


def chunks_of(words: Sequence[str], joined: Sequence[bool]) -> Iterator[RawSentence]:
    """Runs of words without a space between them, as text with word starts; no empty words."""
    run: list[str] = []
    apart = False
    for word, follows in zip(words, joined, strict=True):
        apart = apart or not follows
        if word and apart and run:
            yield run_of(run)
            run = []
        if word:
            run.append(word)
            apart = False
    if run:
        yield run_of(run)


def run_of(words: list[str]) -> RawSentence:
    """Words as one text."""
    return RawSentence("".join(words), tuple(accumulate(map(len, words[:-1]), initial=0)))


def chunk_words(chunk: RawSentence) -> list[str]:
    """The words of a chunk."""
    ends = [*chunk.word_starts[1:], len(chunk.text)]
    return [chunk.text[start:end] for start, end in zip(chunk.word_starts, ends, strict=True)]


def split_tokens(
    tokenizer: Tokenizer, encoding: Encoding, chunk: RawSentence
) -> list[TokensOfWord] | None:
    """Token ids of each word of a chunk; None where the tokens do not respect its words."""
    if not encoding.ids:
        return None
    starts = token_word_starts(encoding.offsets, chunk)
    if starts.sum() != len(chunk.word_starts):
        return None
    parts = np.split(ordinary(tokenizer, np.array(encoding.ids)), np.flatnonzero(starts)[1:])
    return [tuple(part.tolist()) for part in parts]


def tokens_of_words(
    tokenizer: Tokenizer, sentences: Sequence[Spaced], unk: int
) -> list[list[TokensOfWord]]:
    """Token ids of each word of each sentence, at least one per word.

    A word has the tokens that it has in running text ("lamp" and "." of "a lamp."); where a token
    would hold parts of two words ("don" of "do" and "n't"), each word is tokenised on its own. A
    word without tokens, of white space alone, is <unk>, so that it keeps its place and its label.
    """
    words = [shown_words(sentence) for sentence in sentences]
    chunks = [
        list(chunks_of(shown, sentence.joined))
        for shown, sentence in zip(words, sentences, strict=True)
    ]
    flat = [chunk for part in chunks for chunk in part]
    encoded = iter(encodings(tokenizer, [chunk.text for chunk in flat]))
    token_ids = []
    for shown, part in zip(words, chunks, strict=True):
        tokens: list[TokensOfWord] = []
        for chunk in part:
            by_word = split_tokens(tokenizer, next(encoded), chunk)
            tokens += by_word or encode_words(tokenizer, chunk_words(chunk))
        each = iter(tokens)
        token_ids.append([(next(each) if word else ()) or (unk,) for word in shown])
    return token_ids
