import numpy as np

from alignmlm.data.coverage import DictionarySide, corpus_share, word_counts
from alignmlm.data.shards import Shard
from alignmlm.data.store import TRAIN, Store


def words_of(shard: Shard) -> list[tuple[int, ...]]:
    """All words of a shard, one after the other."""
    end = shard.entry.tokens
    starts = np.flatnonzero(shard.flags(0, end, 1))
    parts = np.split(shard.tokens(0, end), starts[1:])
    return [tuple(part.tolist()) for part in parts]


def test_counts_are_those_of_a_loop_over_the_corpus(small_store):
    store = Store(small_store)
    text = [word for shard in store.split("qaa-Latn", TRAIN).shards for word in words_of(shard)]
    asked = sorted({word for word in text if word[0] != store.vocabulary.eos})[::3]
    side = DictionarySide("qaa-Latn", np.arange(store.vocabulary.size))
    found = word_counts([*asked, (7, 7, 7, 7, 7, 7, 7)], side, store, piece_tokens=97)
    assert max(map(len, asked)) > 1
    assert found == {word: text.count(word) for word in asked} | {(7,) * 7: 0}


def test_counts_of_a_derived_language_are_those_of_its_base_tokens(small_store):
    store = Store(small_store)
    size = store.vocabulary.size
    plain = DictionarySide("qaa-Latn", np.arange(size), every_token=True)
    moved = DictionarySide("qaa-Latn", np.arange(size) + size, every_token=True)
    tokens = store.vocabulary.alphabet().ordinary().tolist()
    base = word_counts([(t,) for t in tokens], plain, store)
    derived = word_counts([(t + size,) for t in tokens], moved, store)
    assert list(base.values()) == list(derived.values())
    assert sum(base.values()) == corpus_share(set(base), plain, store).single_tokens


def test_no_words_have_no_counts(small_store):
    store = Store(small_store)
    assert (
        word_counts([], DictionarySide("qaa-Latn", np.arange(store.vocabulary.size)), store) == {}
    )
