"""Tokens of whole sentences with their word and sentence bounds: what order changes act on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Integer


@dataclass(frozen=True, slots=True)
class Sentences:
    """Consecutive whole sentences; the first token starts a word and a sentence."""

    ids: Integer[np.ndarray, " token"]
    word_starts: Bool[np.ndarray, " token"]
    sentence_starts: Bool[np.ndarray, " token"]
    ranks: Int[np.ndarray, " token"] | None = None  # of each token's word, by a syntax order

    def word_of_token(self) -> Int[np.ndarray, " token"]:
        """Number of the word that each token belongs to, from 0."""
        return np.cumsum(self.word_starts) - 1

    def first_tokens(self) -> Int[np.ndarray, " word"]:
        """Position of each word's first token."""
        return np.flatnonzero(self.word_starts)

    def sentence_of_word(self) -> Int[np.ndarray, " word"]:
        """Number of the sentence that each word belongs to, from 0."""
        return (np.cumsum(self.sentence_starts) - 1)[self.first_tokens()]

    def word_lengths_tokens(self) -> Int[np.ndarray, " word"]:
        """How many tokens each word has."""
        return np.diff(self.first_tokens(), append=len(self.ids))

    def stored_ranks(self) -> Int[np.ndarray, " word"]:
        """Rank of each word by a syntax order; zeros where there is none."""
        first = self.first_tokens()
        return np.zeros(len(first), np.int64) if self.ranks is None else self.ranks[first]

    def part(self, start: int, stop: int) -> "Sentences":
        """Tokens [start, stop), which begin and end with a sentence."""
        inside = slice(start, stop)
        ranks = None if self.ranks is None else self.ranks[inside]
        flags = (self.word_starts[inside], self.sentence_starts[inside])
        return Sentences(self.ids[inside], *flags, ranks)


def from_words(words: list[list[int]], sentence_lengths_words: list[int]) -> Sentences:
    """Sentences from the token ids of each word and the number of words of each sentence."""
    lengths = np.array([len(word) for word in words], np.int64)
    first = np.cumsum(lengths) - lengths
    word_starts = np.zeros(int(lengths.sum()), bool)
    word_starts[first] = True
    sentence_starts = np.zeros_like(word_starts)
    sentence_starts[first[np.cumsum([0, *sentence_lengths_words[:-1]])]] = True
    ids = np.array([token for word in words for token in word], np.int64)
    return Sentences(ids, word_starts, sentence_starts)
