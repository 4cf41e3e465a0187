"""Coverage of a dictionary: its pairs, its words, their share of the corpus and their counts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from alignmlm.data.shards import Shard
from alignmlm.data.store import TRAIN, Store
from alignmlm.languages.dictionary import (
    Dictionary,
    DictionarySplit,
    Word,
    flatten,
    from_pairs,
    leaking,
    split_pairs,
    words_in,
)
from alignmlm.languages.settings import DictionaryConfig

PIECE_TOKENS = 2**20  # tokens of a shard in memory at once
WORD_BITS = 1  # where the word bits of a block's record begin
LENGTHS = ("1-1", "1-n", "n-1", "n-n")  # tokens of the source word and of the target word


@dataclass(frozen=True, slots=True)
class DictionarySide:
    """One language of a dictionary, and where its text is."""

    base: str  # language of the store
    table: Int[np.ndarray, " vocab"]  # id of each base token
    every_token: bool = False  # the dictionary lists tokens, at any position in a word

    def base_tokens(self) -> Int[np.ndarray, " id"]:
        """The base token of each id, -1 where the language does not use the id."""
        base = np.full(int(self.table.max()) + 1, -1)
        base[self.table] = np.arange(len(self.table))
        return base


@dataclass(frozen=True, slots=True)
class CorpusShare:
    """The share of a corpus covered by the words of one side of a dictionary."""

    tokens: int  # of the train split, without end-of-document tokens
    single_tokens: int  # of them, those that are a dictionary word
    multi_tokens: int  # of them, those in a dictionary word of several tokens
    words: int  # of this side
    words_seen: int  # of them, those that occur in the corpus

    @property
    def percent(self) -> float:
        """Share of the tokens that belong to dictionary words, in [0, 100]."""
        return 100 * (self.single_tokens + self.multi_tokens) / max(self.tokens, 1)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts of one dictionary; read = unusable + identical + duplicates + the split's parts."""

    read: int  # pairs
    unusable: int  # a word has no tokens, or none but <unk>
    identical: int  # both words have the same ids
    duplicates: int
    by_length: dict[str, int]  # usable pairs by LENGTHS
    source_words: int  # with a usable pair
    translations_mean: float  # per source word
    translations_max: int
    source: CorpusShare
    target: CorpusShare
    split: DictionarySplit
    leaks: int  # held-out pairs with a word of a used pair; 0 by construction
    token_sharing: int  # held-out pairs with a token that is in some word of a used pair


@dataclass(frozen=True, slots=True)
class WordTree:
    """A trie of words, as paths from node 0; edge n - 1 leads to node n."""

    edges: Int[np.ndarray, " edge"]  # parent * vocabulary + token, ascending
    word_ends: Bool[np.ndarray, " node"]
    vocabulary: int
    longest_tokens: int

    def nodes(
        self, ids: Int[np.ndarray, " token"], starts: Bool[np.ndarray, " token"]
    ) -> Int[np.ndarray, " word"]:
        """The node that each whole word ends at, 0 for a word that is not in the trie."""
        first = np.flatnonzero(starts)
        lengths = np.diff(first, append=len(ids))
        node_of_word = np.zeros(len(first), np.int64)
        open_words = np.flatnonzero(lengths <= self.longest_tokens)
        for depth in range(self.longest_tokens):
            wanted = node_of_word[open_words] * self.vocabulary + ids[first[open_words] + depth]
            edge = np.minimum(np.searchsorted(self.edges, wanted), len(self.edges) - 1)
            node_of_word[open_words] = np.where(self.edges[edge] == wanted, edge + 1, 0)
            still = (node_of_word[open_words] > 0) & (lengths[open_words] > depth + 1)
            open_words = open_words[still]
        return np.where(self.word_ends[node_of_word], node_of_word, 0)


def word_tree(words: Iterable[Word], vocabulary: int) -> WordTree:
    """The trie of some words, each of at least one token in [0, vocabulary)."""
    distinct = sorted(set(words), key=len)
    lengths = np.array([len(word) for word in distinct], np.int64)
    nodes = np.zeros(len(distinct), np.int64)
    edges: list[np.ndarray] = []
    count, longest = 0, int(lengths.max(initial=0))
    for depth in range(longest):
        here = int(np.searchsorted(lengths, depth, side="right"))  # words longer than depth
        tokens = np.array([word[depth] for word in distinct[here:]], np.int64)
        level, place = np.unique(nodes[here:] * vocabulary + tokens, return_inverse=True)
        nodes[here:] = place + count + 1
        edges.append(level)
        count += len(level)
    ends = np.zeros(count + 1, bool)
    ends[nodes] = True
    ends[0] = False
    return WordTree(np.concatenate([np.zeros(0, np.int64), *edges]), ends, vocabulary, longest)


def whole_words(
    shard: Shard, piece_tokens: int
) -> Iterator[tuple[Int[np.ndarray, " token"], Bool[np.ndarray, " token"]]]:
    """Verified tokens of a shard and which of them start a word, in pieces of whole words."""
    start, size, end = 0, piece_tokens, shard.entry.tokens
    while start < end:
        stop = min(start + size, end)
        starts = shard.flags(start, stop, WORD_BITS)
        if stop < end:
            last = int(np.flatnonzero(starts)[-1])
            if last == 0:  # one word is longer than the piece
                size *= 2
                continue
            stop = start + last
        yield shard.tokens(start, stop), starts[: stop - start]
        start, size = stop, piece_tokens


def node_tokens(
    store: Store, base: str, tree: WordTree, every_token: bool, piece_tokens: int
) -> Int[np.ndarray, " node"]:
    """How many tokens of the train split are in words that end at each node.

    Node 0 stands for all words that the trie lacks; end-of-document tokens are not counted.
    """
    counts = np.zeros(len(tree.word_ends), np.int64)
    for shard in store.split(base, TRAIN).shards:
        for ids, starts in whole_words(shard, piece_tokens):
            words = np.ones_like(starts) if every_token else starts
            lengths = np.diff(np.flatnonzero(words), append=len(ids))
            nodes = tree.nodes(ids, words)
            counts += np.bincount(nodes, lengths, len(counts)).astype(np.int64)
            counts[0] -= np.count_nonzero(ids == store.vocabulary.eos)
    return counts


def corpus_share(
    words: set[Word], side: DictionarySide, store: Store, piece_tokens: int = PIECE_TOKENS
) -> CorpusShare:
    """How much of a language's train split consists of some words, given in its own ids.

    A word is counted where it occurs as a whole word; case matters.
    """
    base = side.base_tokens()
    tree = word_tree((tuple(base[list(word)].tolist()) for word in words), len(side.table))
    counts = node_tokens(store, side.base, tree, side.every_token, piece_tokens)
    single = np.zeros(len(counts), bool)
    single[1 : 1 + np.searchsorted(tree.edges, tree.vocabulary)] = True  # children of node 0
    known = counts * tree.word_ends
    return CorpusShare(
        int(counts.sum()),
        int(known[single].sum()),
        int(known[~single].sum()),
        len(words),
        int((known > 0).sum()),
    )


def lengths_of(dictionary: Dictionary) -> dict[str, int]:
    """The number of pairs by whether each word has one token or several."""
    names = (
        LENGTHS[2 * (len(source) > 1) + (len(target) > 1)] for source, target in dictionary.words()
    )
    counts = Counter(names)
    return {name: counts[name] for name in LENGTHS}


def sharing_tokens(asked: Dictionary, used: Dictionary) -> int:
    """How many pairs of `asked` have a token that is in some word of a used pair."""
    seen = {token for word in words_in(used) for token in word}
    return sum(not seen.isdisjoint((*source, *target)) for source, target in asked.words())


def coverage(
    read: list[tuple[Word, Word]],
    sides: tuple[DictionarySide, DictionarySide],
    config: DictionaryConfig,
    store: Store,
) -> Coverage:
    """Coverage of pairs, listed in a file or derived from two scripts, in the ids of both sides."""
    unknown = {store.vocabulary.unk}
    usable = [(a, b) for a, b in read if not (set(a) <= unknown or set(b) <= unknown)]
    different = [(a, b) for a, b in usable if a != b]
    whole = from_pairs(different)
    translations = Counter(source for source, _ in whole.words())
    words = [{pair[i] for pair in whole.words()} for i in (0, 1)]
    parts = split_pairs(whole, config.fraction, config.seed)
    return Coverage(
        read=len(read),
        unusable=len(read) - len(usable),
        identical=len(usable) - len(different),
        duplicates=len(different) - len(whole),
        by_length=lengths_of(whole),
        source_words=len(translations),
        translations_mean=len(whole) / max(len(translations), 1),
        translations_max=max(translations.values(), default=0),
        source=corpus_share(words[0], sides[0], store),
        target=corpus_share(words[1], sides[1], store),
        split=parts,
        leaks=sum(leaking(parts.held_out, parts.used)),
        token_sharing=sharing_tokens(parts.held_out, parts.used),
    )


def word_counts(
    words: Sequence[Word], side: DictionarySide, store: Store, piece_tokens: int = PIECE_TOKENS
) -> dict[Word, int]:
    """Occurrences of each word, given in its language's own ids, in the train split.

    A word is counted where it occurs as a whole word; case matters.
    """
    if not words:
        return {}
    base = side.base_tokens()
    known = [tuple(base[list(word)].tolist()) for word in words]
    tree = word_tree(known, len(side.table))
    tokens = node_tokens(store, side.base, tree, side.every_token, piece_tokens)
    ids, offsets = flatten(known)
    starts = np.zeros(len(ids), bool)
    starts[offsets[:-1]] = True
    counts = tokens[tree.nodes(ids, starts)] // np.diff(offsets)
    return dict(zip(words, counts.tolist(), strict=True))
