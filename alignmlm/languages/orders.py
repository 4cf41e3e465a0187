"""Order changes: permutations of the words of one sentence.

Each change gives every word a rank; the words of a sentence are then sorted by rank. So a new
change is one function here and one line in ORDERS, and its compiled twin in data/rendering.py,
which a test holds to this one. Whole words stay whole, and a sentence-final mark stays last. Source
of inversion and permutation: Deshpande et al., 2022 (arXiv:2110.14782), section 3, as in ALIGN-MLM.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from alignmlm.draws import GOLDEN, key, keys, mix, uniform
from alignmlm.errors import ConfigError, nearest
from alignmlm.languages.sentences import Sentences

FINAL_MARKS = frozenset(".?!।॥؟。！？")  # noqa: RUF001 - the paper's . ? ! and their counterparts
SYNTAX = re.compile(r"syn-[a-z]{2,3}(-N-[a-z]{2,3}-V|-[NV])?(?=-|$)")


@dataclass(frozen=True, slots=True)
class Words:
    """What an order change may look at, one entry a word."""

    index: Int[np.ndarray, " word"]  # position in its sentence, from 0
    draw: Float[np.ndarray, " word"]  # uniform in [0, 1), the same for the same sentence
    stored: Int[np.ndarray, " word"]  # rank that lies beside the tokens; zeros where none does
    strength: int  # the number in the change's name: 3 in "noise3"


def inversion(words: Words) -> Float[np.ndarray, " word"]:
    """Ranks that turn each sentence around."""
    return -words.index.astype(np.float64)


def permutation(words: Words) -> Float[np.ndarray, " word"]:
    """Ranks that shuffle each sentence."""
    return words.draw


def noise(words: Words) -> Float[np.ndarray, " word"]:
    """Ranks that move a word by `strength` places at most.

    Source: Lample et al., 2018 (arXiv:1711.00043), section 2.3.
    """
    return words.index + (words.strength + 1) * words.draw


def syntax(words: Words) -> Float[np.ndarray, " word"]:
    """Ranks that were made from a parse of each sentence.

    Source: Wang and Eisner, 2016 (Galactic Dependencies).
    """
    return words.stored.astype(np.float64)


ORDERS: dict[str, Callable[[Words], Float[np.ndarray, " word"]]] = {
    "inv": inversion,
    "perm": permutation,
    "noise": noise,  # noise3: no word moves further than 3 places
    "syn": syntax,  # syn-fra, syn-fra-N-hin-V: noun and verb dependents as in those languages
}


def is_syntax(name: str) -> bool:
    """Whether the ranks of an order lie beside the tokens."""
    return bool(SYNTAX.fullmatch(name))


def split_order(name: str) -> tuple[str, int]:
    """The kind of an order and its strength: "noise3" gives ("noise", 3).

    Raises:
        ConfigError: no such order, or a number missing or out of place; it names the nearest.
    """
    if is_syntax(name):
        return "syn", 0
    found = re.fullmatch(r"([a-z]*)(\d*)", name)
    kind, digits = found.groups() if found else (name.split("-")[0], "")
    if kind not in ORDERS:
        allowed = f"be one of {sorted(ORDERS)}{nearest(kind, ORDERS)}"
        raise ConfigError("language order", name, allowed)
    if kind == "syn" or bool(digits) != (kind == "noise") or digits == "0":
        must = "be 'inv', 'perm', 'noise' with a number ('noise3'), 'syn-fra' or 'syn-fra-N-hin-V'"
        raise ConfigError("language order", name, must)
    return kind, int(digits or 0)


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


def index_in_sentence(sentence: Int[np.ndarray, " word"]) -> Int[np.ndarray, " word"]:
    """Position of each word in its sentence, from 0."""
    first = np.flatnonzero(np.append(True, sentence[1:] != sentence[:-1]))
    return np.arange(len(sentence)) - first[sentence]


def word_order(
    text: Sentences, order: str, seed: int, final_ids: Int[np.ndarray, " final"]
) -> Int[np.ndarray, " word"]:
    """Numbers of the words in their new order; labels of words move by the same numbers."""
    sentence = text.sentence_of_word()
    if not order:
        return np.arange(len(sentence))
    kind, strength = split_order(order)
    index = index_in_sentence(sentence)
    draw = uniform(keys(sentence_keys(text, seed)[sentence], index))
    rank = ORDERS[kind](Words(index, draw, text.stored_ranks(), strength))
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
