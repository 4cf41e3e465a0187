"""Compiled code that renders base sentences in a language: random words, word order, script.

The specification in NumPy is alignmlm.languages (orders, replacement, scripts); tests check
that this file agrees with it, bit for bit.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, UInt8, UInt32, UInt64

from alignmlm.data.blocks import BITS_WORDS, BLOCK_TOKENS, mixed
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.languages.language import Language, Scripts
from alignmlm.languages.orders import ORDERS, is_plain, is_syntax, split_order
from alignmlm.languages.replacement import PURPOSE
from alignmlm.numerics.counter_rng import GOLDEN, key, threshold
from alignmlm.numerics.numba_jit import bare, compiled, inlined

INVERSION, PERMUTATION, NOISE, SYNTAX = (
    ORDERS[tag].compiled for tag in ("inv", "perm", "noise", "syn")
)
WORD_BITS, SENTENCE_BITS = 1, 1 + BITS_WORDS  # where they start in a record
ONE = np.uint64(1)
REPLACED = np.uint64(PURPOSE)
GAPS = (701, 301, 132, 57, 23, 10, 4, 1)  # of Shellsort. Source: Ciura, 2001
WIDTH = 4  # tokens of a word that are copied at once


class Scratch(NamedTuple):
    """Scratch space for the sentences of one row."""

    mapped: Int32[np.ndarray, " token"]  # with WIDTH to spare
    rendered: Int32[np.ndarray, " token"]  # likewise
    bounds: UInt32[np.ndarray, " bound"]
    firsts: Int[np.ndarray, " bound"]
    ends: Int[np.ndarray, " bound"]
    order: Int[np.ndarray, " word"]
    rank: Float[np.ndarray, " word"]
    keys: UInt64[np.ndarray, " sentence"]
    stored: UInt8[np.ndarray, " token"]  # ranks of a syntax order


@compiled
def scratch_of(tokens):
    """Scratch space for rows whose sentences have at most `tokens` tokens."""
    return Scratch(
        np.empty(tokens + WIDTH, np.int32),
        np.empty(tokens + WIDTH, np.int32),
        np.empty(tokens + 1, np.uint32),
        np.empty(tokens + 1, np.int64),
        np.empty(tokens + 1, np.int64),
        np.empty(tokens, np.int64),
        np.empty(tokens, np.float64),
        np.empty(tokens, np.uint64),
        np.empty(tokens, np.uint8),
    )


class RenderTables(NamedTuple):
    """The changes of each language, as the compiled code takes them."""

    kinds: Int[np.ndarray, " language"]
    strengths: Float[np.ndarray, " language"]
    replaced: UInt64[np.ndarray, " language"]  # a word is replaced where its draw is below this
    slots: Int[np.ndarray, " language"]  # place of its syntax order among those of its base
    tables: Int32[np.ndarray, "language vocab"]  # base id -> id
    final: Bool[np.ndarray, " vocab"]  # base tokens that are sentence-final marks
    common: Bool[np.ndarray, " vocab"]  # base tokens that are not special
    ordinary: Int32[np.ndarray, " ordinary"]  # their ids
    order_key: np.uint64


def changes_of(
    languages: list[Language],
    scripts: Scripts,
    vocabulary: Vocabulary,
    stored: dict[str, list[str]],
    seed: int,
) -> RenderTables:
    """The changes of the languages of a recipe.

    `stored` names, for each base, the orders whose ranks the compiled code reads: syntax orders and
    those without a compiled twin.
    """
    slots = [
        stored[lang.base].index(o) if is_syntax(o := lang.order) or is_plain(o) else 0
        for lang in languages
    ]
    orders = [split_order(lang.order) if lang.order else ("", 0) for lang in languages]
    kinds = [(ORDERS[kind].compiled or SYNTAX) if kind else 0 for kind, _ in orders]
    final, common = (np.zeros(vocabulary.size, bool) for _ in range(2))
    final[list(vocabulary.final)] = True
    ordinary = vocabulary.alphabet().ordinary()
    common[ordinary] = True
    return RenderTables(
        np.array(kinds, np.int64),
        np.array([strength for _, strength in orders], np.float64),
        np.array([threshold(lang.replaced_percent / 100) for lang in languages], np.uint64),
        np.array(slots, np.int64),
        scripts.tables.astype(np.int32),
        final,
        common,
        ordinary.astype(np.int32),
        np.uint64(key("order", seed)),
    )


@inlined
def child(parent, number):
    """counter_rng.keys for a single number."""
    return mixed(parent + np.uint64(number + 1) * GOLDEN)


@inlined
def unit(bits):
    """counter_rng.uniform for a single hash."""
    return np.float64(bits >> np.uint64(11)) * 2.0**-53


@inlined
def bounded(bits, bound):
    """counter_rng.below for a single hash."""
    return np.int64(((bits >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@inlined
def is_below(bits, limit):
    """Whether uniform(hash) is below the share whose counter_rng.threshold is `limit`."""
    return (bits >> np.uint64(11)) < limit


@bare
def sentence_key(ids, start, stop, order_key):
    """A key that depends on the tokens of a sentence and the seed alone."""
    total = np.uint64(0)
    for at in range(start, stop):
        total += mixed(np.uint64(ids[at]) + np.uint64(at - start + 1) * GOLDEN)
    return mixed(total ^ order_key)


@bare
def sort_by_rank(order, rank, count):
    """Write the words sorted by rank to `order`; words of equal rank keep their order."""
    for word in range(count):
        order[word] = word
    for gap in GAPS:
        if gap > 1 and count < 8 * gap:
            continue  # sentences are short: the last pass alone is faster
        for word in range(gap, count):
            place, here = word, order[word]
            first = rank[here]
            while place >= gap:
                other = order[place - gap]
                if rank[other] < first or (rank[other] == first and other < here):
                    break
                order[place] = other
                place -= gap
            order[place] = here


@inlined
def word_rank(kind, strength, index, draw, stored):
    """The rank of a word: the compiled twin of alignmlm.languages.orders."""
    if kind == INVERSION:
        return -np.float64(index)
    if kind == PERMUTATION:
        return draw
    if kind == NOISE:
        return np.float64(index) + (strength + 1.0) * draw
    if kind == SYNTAX:
        return np.float64(stored)
    return np.float64(index)


@inlined
def ones_below(bits, place_bit):
    """Number of set bits below a given one."""
    bits = bits & (place_bit - ONE)
    bits = bits - ((bits >> ONE) & np.uint64(0x5555555555555555))
    pairs = np.uint64(0x3333333333333333)
    bits = (bits & pairs) + ((bits >> np.uint64(2)) & pairs)
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))


@bare
def find_words(records, begin, end, bounds, firsts):
    """Write where words start, and the first word of each sentence; returns how many of each.

    Both are read from the bits of tokens begin..end, which are whole sentences; few branches depend
    on these bits. Both arrays end with a closing bound.
    """
    words, sentences, token = 0, 0, begin
    while token < end:
        block, group, inside = token // BLOCK_TOKENS, token % BLOCK_TOKENS // 64, token % 64
        word_bits = records[block, WORD_BITS + group] >> np.uint64(inside)
        sentence_bits = records[block, SENTENCE_BITS + group] >> np.uint64(inside)
        count = min(64 - inside, end - token)
        if count < 64:
            sentence_bits &= (ONE << np.uint64(count)) - ONE
        while sentence_bits:
            lowest = sentence_bits & (~sentence_bits + ONE)
            firsts[sentences] = words + ones_below(word_bits, lowest)
            sentences += 1
            sentence_bits ^= lowest
        for place in range(count):
            bounds[words] = token - begin + place
            words += np.int64((word_bits >> np.uint64(place)) & ONE)
        token += count
    bounds[words], firsts[sentences] = end - begin, words
    return words, sentences


@bare
def replace_words(ids, bounds, first, end, drawn_from, language, changes, out):
    """Replace a drawn share of words first..end with random ids, in out."""
    for word in range(first, end):
        word_key = child(drawn_from ^ REPLACED, word - first)
        if is_below(word_key, changes.replaced[language]):
            start = np.int64(bounds[word])
            for at in range(start, np.int64(bounds[word + 1])):
                if changes.common[ids[at]]:
                    drawn = bounded(child(word_key, at - start), len(changes.ordinary))
                    out[at] = changes.ordinary[drawn]


@bare
def order_words(bounds, first, end, drawn_from, kind, strength, scratch):
    """Write the new order of words first..end, as numbers from 0."""
    order, rank, stored = scratch.order, scratch.rank, scratch.stored
    for word in range(end - first):
        draw, of_syntax = unit(child(drawn_from, word)), stored[np.int64(bounds[first + word])]
        rank[word] = word_rank(kind, strength, word, draw, of_syntax)
    sort_by_rank(order, rank, end - first)


@inlined
def copy_word(mapped, start, stop, out, at):
    """Copy a word and return where the next one goes, which overwrites any surplus copied.

    WIDTH tokens are copied at once, so that few branches depend on the words.
    """
    one, two = mapped[start], mapped[start + np.uint32(1)]
    three, four = mapped[start + np.uint32(2)], mapped[start + np.uint32(3)]
    out[at], out[at + np.uint64(1)] = one, two
    out[at + np.uint64(2)], out[at + np.uint64(3)] = three, four
    if stop - start > np.uint32(WIDTH):
        for more in range(np.uint64(WIDTH), np.uint64(stop - start)):
            out[at + more] = mapped[start + more]
    return at + np.uint64(stop - start)


@bare
def copy_reversed(mapped, bounds, first, end, out):
    """Write words first..end of a sentence, the last one first."""
    at, stop = np.uint64(bounds[first]), bounds[end]
    for word in range(end - 1, first - 1, -1):
        start = bounds[word]
        at = copy_word(mapped, start, stop, out, at)
        stop = start


@bare
def copy_ordered(mapped, bounds, first, end, order, out):
    """Write words first..end of a sentence in their new order."""
    at = np.uint64(bounds[first])
    for place in range(end - first):
        word = first + order[place]
        at = copy_word(mapped, bounds[word], bounds[word + 1], out, at)


@bare
def close_sentences(base, sentences, keyed, final, order_key, scratch):
    """Write where each sentence's movable words end, and the sentence's key where one is needed.

    All words are movable but a sentence-final mark at the very end.
    """
    bounds, firsts = scratch.bounds, scratch.firsts
    for number in range(sentences):
        last = firsts[number + 1]
        closing, stop = np.int64(bounds[last - 1]), np.int64(bounds[last])
        marks = 0
        for at in range(closing, stop):
            marks += final[base[at]]
        scratch.ends[number] = last - (marks == stop - closing)
        scratch.keys[number] = 0
        if keyed:
            start = np.int64(bounds[firsts[number]])
            scratch.keys[number] = sentence_key(base, start, stop, order_key)


@bare
def render(ids, records, begin, end, language, changes, scratch):
    """Render tokens begin..end of a shard, whole sentences, in a language into scratch.rendered.

    For a syntax order, scratch.stored holds the ranks of their words.
    """
    out = scratch.rendered
    count, kind, replaced = end - begin, changes.kinds[language], changes.replaced[language] > 0
    table, base = changes.tables[language], ids[begin:end]
    if kind == 0 and not replaced:
        for at in range(count):
            out[at] = table[base[at]]
        return
    mapped, bounds, firsts, ends = scratch.mapped, scratch.bounds, scratch.firsts, scratch.ends
    keys = scratch.keys
    _, sentences = find_words(records, begin, end, bounds, firsts)
    keyed = replaced or kind in (PERMUTATION, NOISE)
    close_sentences(base, sentences, keyed, changes.final, changes.order_key, scratch)
    strength = changes.strengths[language]
    if replaced:
        for at in range(count):
            mapped[at] = base[at]
        for number in range(sentences):
            first, drawn_from = firsts[number], keys[number]
            replace_words(base, bounds, first, ends[number], drawn_from, language, changes, mapped)
        for at in range(count):
            mapped[at] = table[mapped[at]]
    else:
        for at in range(count):
            mapped[at] = table[base[at]]
    for number in range(sentences):
        first, stop, last = firsts[number], ends[number], firsts[number + 1]
        if kind == INVERSION:
            copy_reversed(mapped, bounds, first, stop, out)
        else:
            order_words(bounds, first, stop, keys[number], kind, strength, scratch)
            copy_ordered(mapped, bounds, first, stop, scratch.order, out)
        for at in range(np.int64(bounds[stop]), np.int64(bounds[last])):
            out[at] = mapped[at]
