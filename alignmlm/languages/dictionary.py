"""Dictionaries: pairs of words of two languages, each word one or more token ids.

Which pairs are used is drawn by a seed that has nothing to do with the model's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt64

from alignmlm.draws import key, mix, smallest_share
from alignmlm.errors import ConfigError, DataError

Word = tuple[int, ...]  # token ids


@dataclass(frozen=True, kw_only=True, slots=True)
class DictionaryFile:
    """A MUSE-format file: one pair a line, two words separated by a space or a tab."""

    path: str
    source: str  # language id of the first column
    target: str  # language id of the second column


@dataclass(frozen=True, kw_only=True, slots=True)
class DictionaryConfig:
    """Pairs of derived languages come by themselves; files add pairs of natural languages."""

    fraction: float = 1.0  # share of the source words to use; the others are held out
    seed: int = 0
    files: list[DictionaryFile] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ConfigError("dictionary.fraction", self.fraction, "lie in [0, 1]")


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
    """Flat ids and bounds of some words."""
    bounds = np.cumsum([0, *(len(word) for word in words)])
    return np.array([token for word in words for token in word], np.int64), bounds


def from_pairs(pairs: Iterable[tuple[Word, Word]]) -> Dictionary:
    """A dictionary of the pairs, sorted; repeats, empty words and words equal in both left out."""
    kept = sorted({(a, b) for a, b in pairs if a and b and a != b})
    sources, targets = [source for source, _ in kept], [target for _, target in kept]
    return Dictionary(*flatten(sources), *flatten(targets))


def derived_pairs(
    source: Int[np.ndarray, " vocab"], target: Int[np.ndarray, " vocab"]
) -> list[tuple[Word, Word]]:
    """Each base token's id in two scripts, where they differ."""
    return [((int(a),), (int(b),)) for a, b in zip(source, target, strict=True) if a != b]


def file_pairs(
    path: Path,
    source: Callable[[list[str]], list[Word]],
    target: Callable[[list[str]], list[Word]],
) -> list[tuple[Word, Word]]:
    """Pairs of a MUSE-format file as token ids.

    Raises:
        DataError: no such file, not UTF-8, or a line without exactly two words.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"dictionary {path} cannot be read as UTF-8: {error}") from error
    columns = [line.split("\t") if "\t" in line else line.split() for line in lines]
    for number, line in enumerate(columns, start=1):
        if len(line) != 2 or not all(word.strip() for word in line):
            shown = lines[number - 1]
            raise DataError(f"{path}:{number}: expected 'source target', found {shown!r}")
    words = [
        source([line[0].strip() for line in columns]),
        target([line[1].strip() for line in columns]),
    ]
    return list(zip(*words, strict=True))


def source_keys(dictionary: Dictionary, seed: int) -> UInt64[np.ndarray, " pair"]:
    """A key for each pair that depends on its source word and the seed alone."""
    hashed = mix(dictionary.source_ids.astype(np.uint64) + np.uint64(key("dictionary", seed)))
    place = np.arange(len(hashed)) - np.repeat(
        dictionary.source_offsets[:-1], np.diff(dictionary.source_offsets)
    )
    return mix(
        np.add.reduceat(mix(hashed + place.astype(np.uint64)), dictionary.source_offsets[:-1])
    )


def split(dictionary: Dictionary, fraction: float, seed: int) -> tuple[Dictionary, Dictionary]:
    """The pairs to use and the held-out ones; no source word is in both.

    A larger fraction contains every smaller one, and exactly round(fraction * words) source
    words are used. Source: Tang et al., 2022 (arXiv:2211.08547): 25, 50 and 100 %.
    """
    if not len(dictionary):
        return dictionary, dictionary
    distinct, word = np.unique(source_keys(dictionary, seed), return_inverse=True)
    used = smallest_share(distinct, fraction)[word]
    pairs = dictionary.words()
    chosen = from_pairs(pair for pair, use in zip(pairs, used, strict=True) if use)
    return chosen, from_pairs(pair for pair, use in zip(pairs, used, strict=True) if not use)
