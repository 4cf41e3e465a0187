"""Order changes: permutations of the words of one sentence.

Each change gives every word a rank; the words of a sentence are then sorted by rank. So a new
change is one function here and one line in ORDERS. Whole words stay whole, and a sentence-final
mark stays last. Source of inversion and permutation: Deshpande et al., 2022 (arXiv:2110.14782),
section 3, as used by ALIGN-MLM.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from alignmlm.draws import GOLDEN, key, keys, mix, uniform
from alignmlm.errors import ConfigError, nearest
from alignmlm.languages.sentences import Sentences

FINAL_MARKS = frozenset(".?!।॥؟。！？")  # noqa: RUF001 - the paper's . ? ! and their counterparts


@dataclass(frozen=True, slots=True)
class Words:
    """What an order change may look at, one entry a word."""

    index: Int[np.ndarray, " word"]  # position in its sentence, from 0
    draw: Float[np.ndarray, " word"]  # uniform in [0, 1), the same for the same sentence


def inversion(words: Words) -> Float[np.ndarray, " word"]:
    """Ranks that turn each sentence around."""
    return -words.index.astype(np.float64)


def permutation(words: Words) -> Float[np.ndarray, " word"]:
    """Ranks that shuffle each sentence."""
    return words.draw


ORDERS: dict[str, Callable[[Words], Float[np.ndarray, " word"]]] = {
    "inv": inversion,
    "perm": permutation,
}


def check_order(name: str) -> None:
    """Whether an order exists.

    Raises:
        ConfigError: it does not; the message names the nearest.
    """
    if name and name not in ORDERS:
        allowed = f"be one of {sorted(ORDERS)}{nearest(name, ORDERS)}"
        raise ConfigError("language order", name, allowed)


def sentence_keys(text: Sentences, seed: int) -> UInt64[np.ndarray, " sentence"]:
    """A key for each sentence that depends on its tokens and the seed alone."""
    starts = np.flatnonzero(text.sentence_starts)
    place = np.arange(len(text.ids)) - np.repeat(starts, np.diff(starts, append=len(text.ids)))
    hashed = mix(text.ids.astype(np.uint64) + (place.astype(np.uint64) + np.uint64(1)) * GOLDEN)
    return mix(np.add.reduceat(hashed, starts) ^ np.uint64(key("order", seed)))


def stays_last(
    text: Sentences, sentence: Int[np.ndarray, " word"], final_ids: Int[np.ndarray, " final"]
) -> Bool[np.ndarray, " word"]:
    """Whether a word is a sentence-final mark that closes its sentence."""
    closes = np.append(sentence[1:] != sentence[:-1], True)
    mark = np.logical_and.reduceat(np.isin(text.ids, final_ids), text.first_tokens())
    return closes & mark


def word_order(
    text: Sentences, order: str, seed: int, final_ids: Int[np.ndarray, " final"]
) -> Int[np.ndarray, " word"]:
    """Numbers of the words in their new order; labels of words move by the same numbers."""
    sentence = text.sentence_of_word()
    if not order:
        return np.arange(len(sentence))
    first = np.flatnonzero(np.append(True, sentence[1:] != sentence[:-1]))
    index = np.arange(len(sentence)) - first[sentence]
    draw = uniform(keys(sentence_keys(text, seed)[sentence], index))
    rank = ORDERS[order](Words(index, draw))
    return np.lexsort((rank, stays_last(text, sentence, final_ids), sentence))


def reorder(
    text: Sentences, order: str, seed: int, final_ids: Int[np.ndarray, " final"]
) -> Int[np.ndarray, " token"]:
    """Tokens of the sentences after the order change; sentence bounds stay where they were."""
    if not order:
        return text.ids
    moved = word_order(text, order, seed, final_ids)
    lengths = text.word_lengths_tokens()[moved]
    inside = np.arange(len(text.ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return text.ids[np.repeat(text.first_tokens()[moved], lengths) + inside]
