"""Dictionaries: pairs of words of two languages, each word one or more token ids.

Which pairs are used is drawn with a seed of its own, not the model's. A held-out pair shares no
word with a used one, so that it measures what was never trained on.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt64

from alignmlm.errors import DataError, quoted
from alignmlm.numerics.counter_rng import key, mix, smallest_share
from alignmlm.storage.compression import inner_suffix
from alignmlm.storage.text import numbered_lines, split_blanks

Word = tuple[int, ...]  # token ids


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Word pairs as flat token ids; word i has ids[offsets[i] : offsets[i + 1]]."""

    source_ids: Int[np.ndarray, " source_token"]
    source_offsets: Int[np.ndarray, " bound"]
    target_ids: Int[np.ndarray, " target_token"]
    target_offsets: Int[np.ndarray, " bound"]

    def __len__(self) -> int:
        return len(self.source_offsets) - 1

    def words(self) -> list[tuple[Word, Word]]:
        """The pairs as tuples of token ids."""
        sources = np.split(self.source_ids, self.source_offsets[1:-1])
        targets = np.split(self.target_ids, self.target_offsets[1:-1])
        pairs = zip(sources, targets, strict=True)
        return [(tuple(s.tolist()), tuple(t.tolist())) for s, t in pairs if len(s)]

    def single_tokens(self) -> Int[np.ndarray, "pair 2"]:
        """The pairs whose words are one token each."""
        one = (np.diff(self.source_offsets) == 1) & (np.diff(self.target_offsets) == 1)
        sources = self.source_ids[self.source_offsets[:-1][one]]
        return np.stack([sources, self.target_ids[self.target_offsets[:-1][one]]], axis=1)


def flatten(words: list[Word]) -> tuple[Int[np.ndarray, " token"], Int[np.ndarray, " bound"]]:
    """Flat ids and offsets of some words."""
    bounds = np.cumsum([0, *(len(word) for word in words)])
    return np.array([token for word in words for token in word], np.int64), bounds


def from_pairs(pairs: Iterable[tuple[Word, Word]]) -> Dictionary:
    """A dictionary of the pairs, sorted, without repeats, empty words or pairs of equal words."""
    unique_pairs = sorted({(a, b) for a, b in pairs if a and b and a != b})
    sources, targets = (
        [source for source, _ in unique_pairs],
        [target for _, target in unique_pairs],
    )
    return Dictionary(*flatten(sources), *flatten(targets))


def merged(dictionaries: Iterable[Dictionary]) -> Dictionary:
    """All pairs of some dictionaries."""
    return from_pairs(pair for dictionary in dictionaries for pair in dictionary.words())


def derived_pairs(
    source: Int[np.ndarray, " vocab"], target: Int[np.ndarray, " vocab"]
) -> list[tuple[Word, Word]]:
    """Each base token's id in two scripts, where they differ."""
    return [((int(a),), (int(b),)) for a, b in zip(source, target, strict=True) if a != b]


def file_words(path: Path) -> list[tuple[str, str]]:
    """The pairs of a file as text, one per line.

    Raises:
        DataError: the file cannot be read, or a line does not have exactly two words.
    """
    always_tabs = inner_suffix(path) == ".tsv"
    pairs = []
    for number, line in numbered_lines(path):
        tabs = always_tabs or "\t" in line
        words = [word.strip(" ") for word in line.split("\t")] if tabs else split_blanks(line)
        if len(words) != 2 or any(not word or word.isspace() for word in words):
            between = ", separated by a tab" if always_tabs else ""
            line_text = quoted(line)
            raise DataError(
                f"{path}:{number}: expected 'source target'{between}, found {line_text}"
            )
        pairs.append((words[0], words[1]))
    return pairs


def file_pairs(
    path: Path,
    source: Callable[[list[str]], list[Word]],
    target: Callable[[list[str]], list[Word]],
) -> list[tuple[Word, Word]]:
    """The pairs of a file as token ids, one per line.

    Raises:
        DataError: the file cannot be read, or a line does not have exactly two words.
    """
    read = file_words(path)
    sources, targets = source([word for word, _ in read]), target([word for _, word in read])
    return list(zip(sources, targets, strict=True))


def source_keys(dictionary: Dictionary, seed: int) -> UInt64[np.ndarray, " pair"]:
    """A key for each pair that depends on its source word and the seed alone."""
    hashed = mix(dictionary.source_ids.astype(np.uint64) + np.uint64(key("dictionary", seed)))
    place = np.arange(len(hashed)) - np.repeat(
        dictionary.source_offsets[:-1], np.diff(dictionary.source_offsets)
    )
    return mix(
        np.add.reduceat(mix(hashed + place.astype(np.uint64)), dictionary.source_offsets[:-1])
    )


class DictionarySplit(NamedTuple):
    """A dictionary in three parts that have no pair in common."""

    used: Dictionary
    held_out: Dictionary  # no word of it is in a used pair
    dropped: Dictionary  # its source word is not used, but one of its words is in a used pair


def words_in(dictionary: Dictionary) -> set[Word]:
    """The words of both sides."""
    return {word for pair in dictionary.words() for word in pair}


def leaking(asked: Dictionary, used: Dictionary) -> list[bool]:
    """For each pair asked, whether a word of it is in a used pair, on either side.

    Equal token ids share an embedding, so in a joint vocabulary the side does not matter.
    """
    seen = words_in(used)
    return [source in seen or target in seen for source, target in asked.words()]


def split_pairs(dictionary: Dictionary, fraction: float, seed: int) -> DictionarySplit:
    """The pairs to use, the held-out ones, and those that are neither.

    A larger fraction uses every pair of a smaller one, and exactly round(fraction * words) source
    words are used. Source: Tang et al., 2022 (arXiv:2211.08547): 25, 50 and 100 %.
    """
    if not len(dictionary):
        return DictionarySplit(dictionary, dictionary, dictionary)
    distinct, word = np.unique(source_keys(dictionary, seed), return_inverse=True)
    chosen = smallest_share(distinct, fraction)[word]
    pairs = dictionary.words()
    used = from_pairs(compress(pairs, chosen))
    others = from_pairs(compress(pairs, ~chosen))
    leaks = np.array(leaking(others, used), bool)
    held_out, dropped = (from_pairs(compress(others.words(), part)) for part in (~leaks, leaks))
    return DictionarySplit(used, held_out, dropped)


def split(dictionary: Dictionary, fraction: float, seed: int) -> tuple[Dictionary, Dictionary]:
    """The pairs to use and the held-out ones; no word is in both, and the dropped are in neither.

    Where source and target ids differ and each word has one partner, no pair is dropped.
    """
    return split_pairs(dictionary, fraction, seed)[:2]
