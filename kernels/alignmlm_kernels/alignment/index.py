"""A dictionary as the lists that the alignment loss reads: words, partners of words, rows of words.

Built once, when a dictionary is loaded; the same dictionary gives the same lists on every rank.
Words are numbered with those of one token first, in the order of their token ids.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class PairIndex(NamedTuple):
    """Which words attract which, and the embedding rows that the words consist of.

    A `code` names a word by where its vector lies: a word of one token by its row of the
    embedding, the n-th word of several tokens by -1 - n. A `place` is a position in `rows`.
    """

    weights: Float[Tensor, " pair"]
    sources: Int[Tensor, " pair"]  # word numbers
    targets: Int[Tensor, " pair"]
    word_tokens: Int[Tensor, " token"]  # word w has word_tokens[word_offsets[w] :]
    word_offsets: Int[Tensor, " word_bound"]
    word_places: Int[Tensor, " token"]  # place of each of word_tokens
    word_codes: Int[Tensor, " word"]
    word_slots: Int[Tensor, " word"]  # place if no other word has the row, else -1 - slot
    partners: Int[Tensor, " end"]  # word numbers; each pair twice, once for either side
    partner_codes: Int[Tensor, " end"]
    partner_pairs: Int[Tensor, " end"]
    partner_offsets: Int[Tensor, " word_bound"]
    rows: Int[Tensor, " row"]  # token ids in use, rising
    row_words: Int[Tensor, " part"]  # words that hold the row
    row_shares: Float[Tensor, " part"]  # how often it occurs in the word / length of the word
    row_offsets: Int[Tensor, " row_bound"]
    row_places: Int[Tensor, " id"]  # place of each token id up to the largest; -1: not in use
    shared_places: Int[Tensor, " shared"]  # rows whose gradient is a sum over slots


class IndexSizes(NamedTuple):
    """Sizes of an index that a launcher needs without synchronising with the device."""

    pairs: int
    words: int
    single: int  # words of one token
    slots: int  # words whose gradient is not a row of its own
    longest: int  # most partners of any word
    ids: int  # least number of rows of the embedding


def bounds(lengths: Int[Tensor, " item"]) -> Int[Tensor, " bound"]:
    """Offsets of items that lie one after another."""
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


def spans(
    starts: Int[Tensor, " item"], lengths: Int[Tensor, " item"]
) -> tuple[Int[Tensor, " element"], Int[Tensor, " element"]]:
    """Item and position of each element, for items that begin at `starts`."""
    items = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    first = bounds(lengths)[:-1]
    within = torch.arange(len(items), device=lengths.device) - first[items]
    return items, starts[items] + within


def word_keys(ids: Int[Tensor, " token"], offsets: Int[Tensor, " bound"]) -> Int[Tensor, " word"]:
    """Integers that are equal for equal words; a word of one token has its id, others are larger.

    Token by token: words of the same key so far and the same next token get the same new key.
    """
    starts, lengths = offsets[:-1], offsets.diff()
    base, keys = int(ids.max()) + 1, ids[starts]
    width, taken = base, base
    for position in range(1, int(lengths.max())):
        longer = (lengths > position).nonzero().flatten()
        joined = keys[longer] * width + ids[starts[longer] + position]
        unique_keys, inverse = joined.unique(return_inverse=True)
        keys[longer] = taken + inverse
        taken += len(unique_keys)
    return keys


class Words(NamedTuple):
    """The different words of a dictionary."""

    tokens: Int[Tensor, " token"]
    offsets: Int[Tensor, " bound"]
    numbers: Int[Tensor, " occurrence"]  # word number of each word that was given


def sorted_words(
    ids: Int[Tensor, " token"], offsets: Int[Tensor, " bound"]
) -> Int[Tensor, " token"]:
    """The same words with their tokens in ascending order: only their mean matters."""
    lengths = offsets.diff()
    if len(ids) == len(lengths):
        return ids
    items, _ = spans(offsets[:-1], lengths)
    width = ids.max() + 1
    return (items * width + ids).sort()[0] % width


def different_words(ids: Int[Tensor, " token"], offsets: Int[Tensor, " bound"]) -> Words:
    """Each word once, tokens in rising order."""
    ids = sorted_words(ids, offsets)
    unique_keys, numbers = word_keys(ids, offsets).unique(return_inverse=True)
    occurrences = torch.arange(len(numbers), device=ids.device)
    first = occurrences.new_full((len(unique_keys),), len(numbers))
    first.scatter_reduce_(0, numbers, occurrences, "amin")
    lengths = offsets.diff()[first]
    tokens = ids[spans(offsets[first], lengths)[1]]
    return Words(tokens, bounds(lengths), numbers)


def rows_of_words(words: Words) -> dict[str, Tensor]:
    """For each row in use, the words that hold it."""
    lengths = words.offsets.diff()
    of_word, _ = spans(words.offsets[:-1], lengths)
    rows, places = words.tokens.unique(return_inverse=True)
    keys, counts = (places * len(lengths) + of_word).unique(return_counts=True)
    holders = keys % len(lengths)
    row_places = rows.new_full((int(rows[-1]) + 1,), -1)
    row_places[rows] = torch.arange(len(rows), device=rows.device)
    return {
        "word_places": places,
        "rows": rows,
        "row_words": holders,
        "row_shares": counts.double() / lengths[holders],
        "row_offsets": bounds(torch.bincount(keys // len(lengths), minlength=len(rows))),
        "row_places": row_places,
    }


def owners(words: Words, rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """Which words own their row alone, and the rows that several words add to."""
    lengths, held = words.offsets.diff(), rows["row_offsets"].diff()
    first_place = rows["word_places"][words.offsets[:-1]]
    alone = (lengths == 1) & (held[first_place] == 1)
    slots = -(~alone).long().cumsum(0)
    shared = held > 1
    shared[rows["word_places"][spans(words.offsets[:-1], lengths * (lengths > 1))[1]]] = True
    codes = torch.where(
        lengths == 1, words.tokens[words.offsets[:-1]], -(lengths > 1).long().cumsum(0)
    )
    return {
        "word_codes": codes,
        "word_slots": torch.where(alone, first_place, slots),
        "shared_places": shared.nonzero().flatten(),
    }


def partners_of_words(
    sources: Int[Tensor, " pair"], targets: Int[Tensor, " pair"], words: int
) -> dict[str, Tensor]:
    """Each word's partners, in the order of the pairs."""
    owner, partner = torch.cat([sources, targets]), torch.cat([targets, sources])
    order = owner.argsort(stable=True)
    return {
        "partners": partner[order],
        "partner_pairs": order % len(sources),
        "partner_offsets": bounds(torch.bincount(owner, minlength=words)),
    }


def build_index(
    source_ids: Int[Tensor, " source_token"],
    source_offsets: Int[Tensor, " bound"],
    target_ids: Int[Tensor, " target_token"],
    target_offsets: Int[Tensor, " bound"],
    weights: Float[Tensor, " pair"] | None,
) -> tuple[PairIndex, IndexSizes]:
    """The lists of a checked dictionary of at least one pair."""
    ids = torch.cat([source_ids, target_ids]).long()
    offsets = torch.cat([source_offsets, target_offsets[1:] + len(source_ids)]).long()
    words = different_words(ids, offsets)
    pairs = len(source_offsets) - 1
    sources, targets = words.numbers.split(pairs)
    rows = rows_of_words(words)
    owned = owners(words, rows)
    partners = partners_of_words(sources, targets, len(words.offsets) - 1)
    index = PairIndex(
        weights=torch.ones(pairs, device=ids.device) if weights is None else weights.float(),
        sources=sources,
        targets=targets,
        word_tokens=words.tokens,
        word_offsets=words.offsets,
        partner_codes=owned["word_codes"][partners["partners"]],
        **rows,
        **owned,
        **partners,
    )
    return index, sizes_of(index)


def sizes_of(index: PairIndex) -> IndexSizes:
    """The sizes of an index."""
    return IndexSizes(
        pairs=len(index.sources),
        words=len(index.word_codes),
        single=int((index.word_codes >= 0).sum()),
        slots=int((index.word_slots < 0).sum()),
        longest=int(index.partner_offsets.diff().max()),
        ids=len(index.row_places),
    )
