"""Rows, compiled: verified sentences from the shards, rendered, closed with <s> and </s>.

The specification in NumPy is alignmlm.data.reference; tests hold this file to it, bit for bit.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from alignmlm.compiling import compiled, fetch_ahead, inlined
from alignmlm.data.blocks import BLOCK_TOKENS, RECORD_WORDS, first_damaged
from alignmlm.data.rendering import ONE, SENTENCE_BITS, SYNTAX, Changes, render, scratch_of
from alignmlm.data.shards import Shard
from alignmlm.data.store import Places, Split
from alignmlm.data.stored_orders import first_damaged_order
from alignmlm.data.tokenizer import Vocabulary

LINE_WORDS = 8  # of 64 bits in what the memory gives at once
AHEAD_ROWS = 3  # that are asked for before they are read


class Rows(NamedTuple):
    """Rows before masking."""

    ids: Int[np.ndarray, "row seq"]  # of the model's vocabulary
    languages: Int[np.ndarray, "row seq"]
    positions: Int[np.ndarray, "row seq"]  # they restart in the second half of a pair
    lengths: Int[np.ndarray, " row"]
    halves: Int[np.ndarray, " row"]  # 1, or 2 for a translation row


class Wanted(NamedTuple):
    """Which rows to write, from where, and in which languages."""

    rows: Int[np.ndarray, " wanted"]  # their numbers in the batch
    starts: Int[np.ndarray, " wanted"]  # tokens of the shard
    stops: Int[np.ndarray, " wanted"]
    firsts: Int[np.ndarray, " wanted"]  # language
    seconds: Int[np.ndarray, " wanted"]  # language of the second half, -1 for none


class Closing(NamedTuple):
    """Tokens at the ends of rows."""

    bos: int
    eos: int
    pad: int


def closing_of(vocabulary: Vocabulary) -> Closing:
    """The tokens at the ends of rows."""
    return Closing(vocabulary.bos, vocabulary.eos, vocabulary.pad)


def empty_rows(count: int, seq_len: int) -> Rows:
    """Room for rows."""
    ids, languages, positions = (np.empty((count, seq_len), np.int64) for _ in range(3))
    return Rows(ids, languages, positions, np.empty(count, np.int64), np.empty(count, np.int64))


@inlined
def starts_sentence(records, token):
    """Whether a token starts a sentence."""
    at = token % BLOCK_TOKENS
    word = records[token // BLOCK_TOKENS, SENTENCE_BITS + at // 64]
    return (word >> np.uint64(at % 64)) & ONE


@compiled
def sentence_bounds(records, start, stop, tokens):
    """Bounds of the whole sentences that touch tokens start..stop."""
    while start > 0 and starts_sentence(records, start) == 0:
        start -= 1
    while stop < tokens and starts_sentence(records, stop) == 0:
        stop += 1
    return start, stop


@compiled
def read_ranks(order, begin, end):
    """Ranks of the words of some tokens, and the first damaged block of theirs or -1."""
    records, mixed_with = order
    ranks = np.empty(end - begin, np.uint8)
    first, last = begin // BLOCK_TOKENS, (end - 1) // BLOCK_TOKENS
    damaged = first_damaged_order(records, mixed_with, first, last)
    for token in range(begin, end):
        place = token % BLOCK_TOKENS
        word = records[token // BLOCK_TOKENS, 1 + place // 8]
        ranks[token - begin] = np.uint8((word >> np.uint64(place % 8 * 8)) & np.uint64(255))
    return ranks, damaged


@compiled
def close_half(rows, row, at, text, language, closing):
    """Write <s>, a text and </s> from a position on; the position after it.

    Slices first: indices that might be negative would keep the loops from being vectorised.
    """
    end = at + len(text) + 2
    positions, languages = rows.positions[row, at:end], rows.languages[row, at:end]
    inside = rows.ids[row, at + 1 : end - 1]
    for place in range(len(positions)):
        positions[place] = place
    for place in range(len(languages)):
        languages[place] = language
    for place in range(len(text)):
        inside[place] = text[place]
    rows.ids[row, at], rows.ids[row, end - 1] = closing.bos, closing.eos
    return end


@compiled
def whole_run(ids, records, start, stop, room, eos):
    """The run of whole sentences that starts in tokens start..stop and fits `room` of them.

    The </s> of a document does not open the run: there would be nothing to translate.
    """
    begin, end = -1, -1
    for at in range(start, stop + 1):
        if at < stop and starts_sentence(records, at) == 0:
            continue
        if begin >= 0 and at - begin <= room:
            end = at
        elif begin >= 0:
            break
        if begin < 0 and at < stop and ids[at] != eos:
            begin, end = at, at
    return begin, end


@compiled
def fill_rest(rows, row, length, closing):
    """Pad a row from a position on."""
    rows.lengths[row] = length
    for place in range(length, rows.ids.shape[1]):
        rows.ids[row, place] = closing.pad
        rows.positions[row, place] = 0
        rows.languages[row, place] = 0


@compiled
def fetch_row(flat_words, flat_records, start, stop):
    """Ask the memory for the blocks of a row that comes soon."""
    width = len(flat_words) // (len(flat_records) // RECORD_WORDS)
    for block in range(start // BLOCK_TOKENS, (stop - 1) // BLOCK_TOKENS + 1):
        for place in range(block * width, (block + 1) * width, LINE_WORDS):
            fetch_ahead(flat_words, place)
        for place in range(block * RECORD_WORDS, (block + 1) * RECORD_WORDS, LINE_WORDS):
            fetch_ahead(flat_records, place)


@compiled
def verify_rows(shard, wanted, changes):
    """Bounds of the text of each row, and the first damaged block of theirs or -1."""
    _, words, records, mixed_with, tokens = shard
    count = len(wanted.rows)
    flat_words, flat_records = words.reshape(-1), records.reshape(-1)
    begins, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    for number in range(-AHEAD_ROWS, count):
        if number + AHEAD_ROWS < count:
            ahead = number + AHEAD_ROWS
            fetch_row(flat_words, flat_records, wanted.starts[ahead], wanted.stops[ahead])
        if number < 0:
            continue
        begin, end, first = wanted.starts[number], wanted.stops[number], wanted.firsts[number]
        if wanted.seconds[number] >= 0 or changes.kinds[first] or changes.replaced[first] > 0:
            begin, end = sentence_bounds(records, begin, end, tokens)
        begins[number], ends[number] = begin, end
        last = min(end, tokens - 1) // BLOCK_TOKENS
        damaged = first_damaged(words, records, mixed_with, begin // BLOCK_TOKENS, last)
        if damaged >= 0:
            return begins, ends, damaged
    return begins, ends, -1


@compiled
def write_rows(shard, orders, wanted, changes, closing, room, rows):
    """Write some rows of one shard: each in its language, or in two where a second one is named.

    shard is (ids, words, records, key, tokens); orders are (records, key), one a syntax order.
    Returns how many rows fell back to one language because no whole sentence fitted their halves,
    the first damaged block or -1, and the syntax order that it is of or -1.
    """
    ids, records, fell_back = shard[0], shard[2], 0
    begins, ends, damaged = verify_rows(shard, wanted, changes)
    if damaged >= 0:
        return fell_back, damaged, -1
    count = len(wanted.rows)
    scratch = scratch_of((ends - begins).max() if count else 0)
    for number in range(count):
        row, second, halves = wanted.rows[number], wanted.seconds[number], 1
        begin, end, start = begins[number], ends[number], wanted.starts[number]
        if second >= 0:
            run_begin, run_end = whole_run(ids, records, start, end, room, closing.eos)
            if run_end > run_begin:
                begin, end, halves = run_begin, run_end, 2
            else:
                fell_back += 1
        length = 0
        for half in range(halves):
            language = second if half else wanted.firsts[number]
            ranks = np.zeros(0, np.uint8)
            if changes.kinds[language] == SYNTAX:
                slot = changes.slots[language]
                ranks, damaged = read_ranks(orders[slot], begin, end)
                if damaged >= 0:
                    return fell_back, damaged, slot
            render(ids, records, begin, end, ranks, language, changes, scratch)
            text = scratch.rendered[: end - begin]
            if halves == 1:
                text = scratch.rendered[start - begin : wanted.stops[number] - begin]
            length = close_half(rows, row, length, text, language, closing)
        rows.halves[row] = halves
        fill_rest(rows, row, length, closing)
    return fell_back, -1, -1


def read_rows(
    split: Split, places: Places, wanted: Wanted, changes: Changes, closing: Closing, rows: Rows
) -> int:
    """Write rows of one split into `rows`; how many fell back to one language.

    Raises:
        DataError: a damaged block, of a shard or of a syntax order.
    """
    fell_back, room = 0, rows.ids.shape[1] // 2 - 2
    for shard, part in by_shard(split, places, wanted):
        parts = (shard.ids, shard.words, shard.records, shard.key, shard.entry.tokens)
        orders = tuple((order.records, order.key) for order in shard.orders)
        none = ((shard.records[:0], shard.key),)
        fallen, block, slot = write_rows(parts, orders or none, part, changes, closing, room, rows)
        if block >= 0:
            raise shard.damage(block) if slot < 0 else shard.orders[slot].damage(block)
        fell_back += fallen
    return fell_back


def by_shard(split: Split, places: Places, wanted: Wanted) -> Iterator[tuple[Shard, Wanted]]:
    """The shards of some rows, each with the rows that it has."""
    order = np.argsort(places.shards, kind="stable")
    arranged = Wanted(*(values[order] for values in wanted))
    numbers, first = np.unique(places.shards[order], return_index=True)
    for number, start, stop in zip(numbers.tolist(), first, [*first[1:], len(order)], strict=True):
        yield split.shards[number], Wanted(*(values[start:stop] for values in arranged))
