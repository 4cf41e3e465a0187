"""Random words: a share of the words of each sentence replaced by random tokens.

Source: the "random words" change in the code of Deshpande et al., 2022 (arXiv:2110.14782).
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Int

from alignmlm.languages.orders import index_in_sentence, sentence_keys, stays_last
from alignmlm.languages.sentences import Sentences
from alignmlm.numerics.counter_rng import below, key, keys, uniform

PURPOSE = key("replaced words")


def replace_words(
    text: Sentences,
    percent: int,
    seed: int,
    ordinary: Int[np.ndarray, " ordinary"],
    final_ids: Int[np.ndarray, " final"],
) -> Sentences:
    """The sentences with a drawn share of their words replaced; every word keeps its length.

    Special tokens and the sentence-final mark stay. The same sentence always changes the same way.
    """
    if not percent:
        return text
    sentence = text.sentence_of_word()
    parents = sentence_keys(text, seed)[sentence] ^ np.uint64(PURPOSE)
    word_keys = keys(parents, index_in_sentence(sentence))
    chosen = uniform(word_keys) < percent / 100
    chosen &= ~stays_last(text, sentence, final_ids)
    word = text.word_of_token()
    inside = np.arange(len(text.ids)) - text.first_tokens()[word]
    drawn = ordinary[below(keys(word_keys[word], inside), len(ordinary))]
    keep = ~chosen[word] | ~np.isin(text.ids, ordinary)
    return replace(text, ids=np.where(keep, text.ids, drawn))
