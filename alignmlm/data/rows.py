"""Compiled code that writes rows: sentences verified, rendered, enclosed in <s> and </s>.

The specification in NumPy is alignmlm.data.reference; tests check that both agree bit for bit.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32

from alignmlm.data.blocks import BLOCK_TOKENS, RECORD_WORDS, first_damaged
from alignmlm.data.rendering import ONE, SENTENCE_BITS, SYNTAX, RenderTables, render, scratch_of
from alignmlm.data.shards import Shard
from alignmlm.data.store import Places, Split
from alignmlm.data.stored_orders import first_damaged_order
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.numerics.numba_jit import bare, compiled, fetch_ahead, inlined

LINE_WORDS = 8  # 64-bit words in a cache line
AHEAD_ROWS = 3  # how many rows before its use a row is prefetched


class Rows(NamedTuple):
    """Rows before masking."""

    ids: Int32[np.ndarray, "row seq"]  # of the model's vocabulary
    languages: Int32[np.ndarray, "row seq"]
    positions: Int32[np.ndarray, "row seq"]  # they restart in the second half of a pair
    lengths: Int[np.ndarray, " row"]
    halves: Int[np.ndarray, " row"]  # 1, or 2 for a translation row


class RowRequest(NamedTuple):
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
    """Uninitialised rows."""
    ids, languages, positions = (np.empty((count, seq_len), np.int32) for _ in range(3))
    return Rows(ids, languages, positions, np.empty(count, np.int64), np.empty(count, np.int64))


@inlined
def starts_sentence(records, token):
    """Whether a token starts a sentence."""
    at = token % BLOCK_TOKENS
    word = records[token // BLOCK_TOKENS, SENTENCE_BITS + at // 64]
    return (word >> np.uint64(at % 64)) & ONE


@bare
def sentence_bounds(records, start, stop, tokens):
    """Bounds of the whole sentences that touch tokens start..stop."""
    while start > 0 and starts_sentence(records, start) == 0:
        start -= 1
    while stop < tokens and starts_sentence(records, stop) == 0:
        stop += 1
    return start, stop


@bare
def read_ranks(order, begin, end, ranks):
    """Write the ranks of the words of some tokens; returns their first damaged block or -1."""
    records, mixed_with = order
    for token in range(begin, end):
        place = token % BLOCK_TOKENS
        word = records[token // BLOCK_TOKENS, 1 + place // 8]
        ranks[token - begin] = np.uint8((word >> np.uint64(place % 8 * 8)) & np.uint64(255))
    last = (end - 1) // BLOCK_TOKENS
    return first_damaged_order(records, mixed_with, begin // BLOCK_TOKENS, last)


@bare
def close_half(rows, row, at, text, language, closing):
    """Write <s>, a text and </s> from position `at` on; returns the position after them.

    Slices are taken first: loops over indices that might be negative would not be vectorised.
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


@bare
def whole_run(ids, records, start, stop, room, eos):
    """Bounds of the run of whole sentences that starts in start..stop and fits in `room` tokens.

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


@bare
def fill_rest(rows, row, length, closing):
    """Pad a row from position `length` on."""
    rows.lengths[row] = length
    for place in range(length, rows.ids.shape[1]):
        rows.ids[row, place] = closing.pad
        rows.positions[row, place] = 0
        rows.languages[row, place] = 0


@bare
def fetch_row(flat_words, flat_records, start, stop):
    """Prefetch a row's blocks."""
    width = len(flat_words) // (len(flat_records) // RECORD_WORDS)
    for block in range(start // BLOCK_TOKENS, (stop - 1) // BLOCK_TOKENS + 1):
        for place in range(block * width, (block + 1) * width, LINE_WORDS):
            fetch_ahead(flat_words, place)
        for place in range(block * RECORD_WORDS, (block + 1) * RECORD_WORDS, LINE_WORDS):
            fetch_ahead(flat_records, place)


@bare
def verify_row(shard, start, stop, whole):
    """Bounds of the text that a row needs, and its first damaged block or -1.

    whole says whether sentences that it cuts are needed in full.
    """
    _, words, records, mixed_with, tokens = shard
    if whole:
        start, stop = sentence_bounds(records, start, stop, tokens)
    last = min(stop, tokens - 1) // BLOCK_TOKENS
    return start, stop, first_damaged(words, records, mixed_with, start // BLOCK_TOKENS, last)


@bare
def verify_rows(shard, wanted, changes, begins, ends):
    """Write the bounds of the text of each row; returns the first damaged block or -1."""
    words, records = shard[1], shard[2]
    flat_words, flat_records, count = words.reshape(-1), records.reshape(-1), len(wanted.rows)
    for number in range(-AHEAD_ROWS, count):
        if number + AHEAD_ROWS < count:
            ahead = number + AHEAD_ROWS
            fetch_row(flat_words, flat_records, wanted.starts[ahead], wanted.stops[ahead])
        if number < 0:
            continue
        first, start, stop = wanted.firsts[number], wanted.starts[number], wanted.stops[number]
        moved = changes.kinds[first] != 0 or changes.replaced[first] > 0
        whole = moved or wanted.seconds[number] >= 0
        begins[number], ends[number], damaged = verify_row(shard, start, stop, whole)
        if damaged >= 0:
            return damaged
    return -1


@bare
def write_half(shard, orders, begin, end, cut, language, changes, closing, scratch, rows, row, at):
    """Write tokens `cut` of sentences begin..end, in a language, to a row from position `at` on.

    Returns the position after them and -1 or, for a damaged block, -1 - block and its syntax order.
    """
    if changes.kinds[language] == SYNTAX:
        slot = changes.slots[language]
        damaged = read_ranks(orders[slot], begin, end, scratch.stored)
        if damaged >= 0:
            return -1 - damaged, slot
    render(shard[0], shard[2], begin, end, language, changes, scratch)
    text = scratch.rendered[cut[0] - begin : cut[1] - begin]
    return close_half(rows, row, at, text, language, closing), -1


@bare
def write_row(shard, orders, wanted, number, begin, end, changes, closing, scratch, rows):
    """Write one row; returns whether it fell back, a damaged block or -1, and its order or -1.

    begin and end are the bounds of its text, whole sentences where they are needed.
    """
    row, second = wanted.rows[number], wanted.seconds[number]
    cut = (wanted.starts[number], wanted.stops[number])
    fell_back, rows.halves[row] = False, 1
    if second >= 0:
        room = rows.ids.shape[1] // 2 - 2
        pair = whole_run(shard[0], shard[2], cut[0], end, room, closing.eos)
        if pair[1] > pair[0]:
            begin, end, cut, rows.halves[row] = pair[0], pair[1], pair, 2
        else:
            fell_back = True
    length, slot = np.int64(0), -1  # a plain 0 would recompile write_half
    for half in range(rows.halves[row]):
        language = second if half else wanted.firsts[number]
        length, slot = write_half(
            shard, orders, begin, end, cut, language, changes, closing, scratch, rows, row, length
        )
        if length < 0:
            return fell_back, -1 - length, slot
    fill_rest(rows, row, length, closing)
    return fell_back, -1, -1


@bare
def write_verified(shard, orders, wanted, begins, ends, changes, closing, scratch, rows):
    """Write rows whose text is verified; returns what write_rows returns."""
    fell_back = 0
    for number in range(len(wanted.rows)):
        begin, end = begins[number], ends[number]
        fallen, damaged, slot = write_row(
            shard, orders, wanted, number, begin, end, changes, closing, scratch, rows
        )
        fell_back += fallen
        if damaged >= 0:
            return fell_back, damaged, slot
    return fell_back, -1, -1


@compiled
def write_rows(shard, orders, wanted, changes, closing, rows):
    """Write some rows of one shard: each in its language, or in two where a second one is named.

    shard is (ids, words, records, key, tokens); orders has (records, key) of each syntax order.
    Returns how many rows fell back to one language because no whole sentence fitted their halves,
    the first damaged block or -1, and the syntax order that it belongs to or -1.
    """
    count = len(wanted.rows)
    begins, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    damaged = verify_rows(shard, wanted, changes, begins, ends)
    if damaged >= 0:
        return 0, damaged, -1
    scratch = scratch_of((ends - begins).max() if count else 0)
    return write_verified(shard, orders, wanted, begins, ends, changes, closing, scratch, rows)


def read_rows(
    split: Split,
    places: Places,
    wanted: RowRequest,
    changes: RenderTables,
    closing: Closing,
    rows: Rows,
) -> int:
    """Write rows of one split into `rows`; returns how many fell back to one language.

    Raises:
        DataError: a damaged block, of a shard or of a syntax order.
    """
    fell_back = 0
    for shard, part in by_shard(split, places, wanted):
        parts = (shard.ids, shard.words, shard.records, shard.key, shard.entry.tokens)
        orders = tuple((order.records, order.key) for order in shard.orders)
        none = ((shard.records[:0], shard.key),)
        fallen, block, slot = write_rows(parts, orders or none, part, changes, closing, rows)
        if block >= 0:
            raise shard.damage(block) if slot < 0 else shard.orders[slot].damage(block)
        fell_back += fallen
    return fell_back


def by_shard(
    split: Split, places: Places, wanted: RowRequest
) -> Iterator[tuple[Shard, RowRequest]]:
    """The shards that hold some rows, each with its part of the request."""
    order = np.argsort(places.shards, kind="stable")
    arranged = RowRequest(*(values[order] for values in wanted))
    numbers, first = np.unique(places.shards[order], return_index=True)
    for number, start, stop in zip(numbers.tolist(), first, [*first[1:], len(order)], strict=True):
        yield split.shards[number], RowRequest(*(values[start:stop] for values in arranged))
