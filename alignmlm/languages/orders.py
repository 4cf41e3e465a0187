"""Order changes: permutations of the words of one sentence.

Each change gives every word a rank; the words of a sentence are then sorted by rank. So a new
change is one function and one record: here, or in another package (storage/registry.py). A compiled
twin in data/rendering.py makes it faster; a test checks that both agree. Words stay whole, and a
sentence-final mark stays last. Source of inversion and permutation: Deshpande et al., 2022
(arXiv:2110.14782), section 3, as in ALIGN-MLM.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from alignmlm.errors import AlignMLMError, ConfigError, nearest
from alignmlm.languages.sentences import Sentences
from alignmlm.numerics.counter_rng import GOLDEN, key, keys, mix, uniform
from alignmlm.storage.registry import Registry

FINAL_MARKS = frozenset(".?!।॥؟。！？")  # noqa: RUF001 - the paper's . ? ! and their counterparts
SYNTAX = re.compile(r"syn-[a-z]{2,3}(-N-[a-z]{2,3}-V|-[NV])?(?=-|$)")


@dataclass(frozen=True, slots=True)
class Words:
    """The input of an order change, one entry per word."""

    index: Int[np.ndarray, " word"]  # position in its sentence, from 0
    draw: Float[np.ndarray, " word"]  # uniform in [0, 1), the same for the same sentence
    stored: Int[np.ndarray, " word"]  # rank stored beside the tokens; zeros without one
    strength: int  # the number in the change's name: 3 in "noise3"


def inversion(words: Words) -> Float[np.ndarray, " word"]:
    """Ranks that reverse each sentence."""
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
    """Ranks derived from a parse of each sentence.

    Source: Wang and Eisner, 2016 (Galactic Dependencies).
    """
    return words.stored.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Order:
    """One order change, whose name is a tag of at most eight letters."""

    rank: Callable[[Words], Float[np.ndarray, " word"]]
    takes_number: bool = False  # as in "noise3"
    shown: str = ""  # its name in tables and figures; empty: its tag
    compiled: int = 0  # its number in data/rendering.py; 0: it has no compiled twin


ORDERS: Registry[Order] = Registry(
    "orders",
    (Order,),
    {
        "inv": Order(inversion, shown="inverted", compiled=1),
        "perm": Order(permutation, shown="permuted", compiled=2),
        "noise": Order(noise, takes_number=True, compiled=3),  # noise3: 3 places at most
        "syn": Order(syntax, compiled=4),  # syn-fra, syn-fra-N-hin-V: as in those languages
    },
)
LONGEST_WORDS = 255  # of a sentence whose ranks are stored, one byte each; longer ones keep order


def is_plain(name: str) -> bool:
    """Whether an order has no compiled twin, so that its ranks are computed ahead."""
    return bool(name) and ORDERS[split_order(name)[0]].compiled == 0


def is_syntax(name: str) -> bool:
    """Whether the ranks of an order are stored beside the tokens."""
    return bool(SYNTAX.fullmatch(name))


def split_order(name: str) -> tuple[str, int]:
    """The kind of an order and its strength: "noise3" gives ("noise", 3).

    Raises:
        ConfigError: no such order (the message gives the nearest), or a number missing or
            out of place.
    """
    if is_syntax(name):
        return "syn", 0
    match = re.fullmatch(r"([a-z]*)([0-9]{0,9})", name)
    kind, digits = match.groups() if match else (name.split("-")[0], "")
    if kind not in ORDERS:
        allowed = f"be one of {sorted(ORDERS)}{nearest(kind, ORDERS)}"
        raise ConfigError("language order", name, allowed)
    if kind == "syn" or bool(digits) != ORDERS[kind].takes_number or digits.startswith("0"):
        known = {name: ORDERS[name] for name in (*ORDERS.names.built_in, kind) if name != "syn"}
        tags = ", ".join(
            f"{tag!r} with a number ({tag + '3'!r})" if order.takes_number else repr(tag)
            for tag, order in known.items()
        )
        requirement = f"be {tags}, 'syn-fra' or 'syn-fra-N-hin-V'"
        raise ConfigError("language order", name, requirement)
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
    """Indices of the words in their new order; permute word labels by the same indices."""
    sentence = text.sentence_of_word()
    if not order:
        return np.arange(len(sentence))
    rank = word_ranks(text, order, seed)
    return np.lexsort((rank, stays_last(text, sentence, final_ids), sentence))


def word_ranks(text: Sentences, order: str, seed: int) -> Float[np.ndarray, " word"]:
    """The rank of each word in the new order of its sentence; equal ranks keep their order.

    Raises:
        AlignMLMError: an order from another package does not give each word a finite rank.
    """
    kind, strength = split_order(order)
    sentence = text.sentence_of_word()
    index = index_in_sentence(sentence)
    draw = uniform(keys(sentence_keys(text, seed)[sentence], index))
    change = ORDERS[kind]
    rank = change.rank(Words(index, draw, text.stored_ranks(), strength))
    if change.compiled:
        return rank
    rank = np.asarray(rank)
    if rank.shape != index.shape or not np.isfinite(rank).all():
        raise AlignMLMError(f"order {kind!r}: its function must give a finite rank for each word")
    rank = placed(rank.astype(np.float64), sentence)
    rank[np.bincount(sentence)[sentence] > LONGEST_WORDS] = 0
    return rank


def placed(
    rank: Float[np.ndarray, " word"], sentence: Int[np.ndarray, " word"]
) -> Float[np.ndarray, " word"]:
    """Ranks as places in the sentence, from 0."""
    places = np.empty(len(rank))
    places[np.lexsort((rank, sentence))] = index_in_sentence(sentence)
    return places


def reorder(
    text: Sentences, order: str, seed: int, final_ids: Int[np.ndarray, " final"]
) -> Int[np.ndarray, " token"]:
    """Tokens of the sentences after the order change; sentence bounds do not move."""
    if not order:
        return text.ids
    moved = word_order(text, order, seed, final_ids)
    lengths = text.word_lengths_tokens()[moved]
    inside = np.arange(len(text.ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return text.ids[np.repeat(text.first_tokens()[moved], lengths) + inside]
