"""Corpus frequencies of dictionary words, for frequency bands."""

from collections.abc import Sequence

import numpy as np

from alignmlm.data.coverage import PIECE_TOKENS, Side, node_tokens, word_tree
from alignmlm.data.store import Store
from alignmlm.languages.dictionary import Word, flatten


def word_counts(
    words: Sequence[Word], side: Side, store: Store, piece_tokens: int = PIECE_TOKENS
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
