import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.languages.replacement import replace_words
from alignmlm.languages.sentences import from_words

ORDINARY = np.arange(5, 1000)
FINAL = np.array([7])
words = st.lists(st.integers(0, 999), min_size=1, max_size=3)
sentences = st.lists(words, min_size=1, max_size=9)
bounded = settings(deadline=None, max_examples=50)


def text_of(listed):
    return from_words([word for sentence in listed for word in sentence], [*map(len, listed)])


@bounded
@given(st.lists(sentences, min_size=1, max_size=4), st.integers(0, 100), st.integers(0, 9))
def test_bounds_and_special_tokens_stay(listed, percent, seed):
    text = text_of(listed)
    changed = replace_words(text, percent, seed, ORDINARY, FINAL)
    assert (changed.word_starts == text.word_starts).all()
    assert (changed.ids[text.ids < 5] == text.ids[text.ids < 5]).all()
    assert (changed.ids[text.ids >= 5] >= 5).all()


def test_none_and_all_words_are_replaced_at_the_ends_of_the_scale():
    text = text_of([[[10 + n] for n in range(300)]])
    assert replace_words(text, 0, 0, ORDINARY, FINAL).ids.tolist() == text.ids.tolist()
    assert (replace_words(text, 100, 0, ORDINARY, FINAL).ids != text.ids).mean() > 0.98


@pytest.mark.parametrize("percent", [5, 20, 60])
def test_the_share_of_replaced_words_is_the_one_asked_for(percent):
    text = text_of(
        [[[10 + n] for n in range(20)] for _ in range(1)] * 1
        + [[[500 + (n * m) % 400] for n in range(20)] for m in range(1, 400)]
    )
    changed = replace_words(text, percent, 3, ORDINARY, FINAL).ids != text.ids
    assert changed.mean() == pytest.approx(percent / 100, abs=0.02)


def test_the_final_mark_of_a_sentence_stays():
    changed = replace_words(text_of([[[10], [11], [7]]]), 100, 0, ORDINARY, FINAL)
    assert changed.ids[-1] == 7


@bounded
@given(sentences, st.lists(sentences, min_size=1, max_size=3), st.integers(0, 100))
def test_a_sentence_is_changed_alike_wherever_it_stands(sentence, before, percent):
    alone = replace_words(text_of([sentence]), percent, 0, ORDINARY, FINAL).ids
    after = replace_words(text_of([*before, sentence]), percent, 0, ORDINARY, FINAL).ids
    assert after[-len(alone) :].tolist() == alone.tolist()
