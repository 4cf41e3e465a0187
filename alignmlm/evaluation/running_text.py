"""Running text as words in sentences, as the builder of a store sees it, and as text again."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from jaxtyping import Int

from alignmlm.corpus.surfaces import found_starts, sentence_parts
from alignmlm.data.text import normalise


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
