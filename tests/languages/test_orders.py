import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.errors import ConfigError
from alignmlm.languages.orders import ORDERS, reorder, split_order, word_order
from alignmlm.languages.sentences import Sentences, from_words

STOP, ASK = 90, 91
FINAL = np.array([STOP, ASK])
NONE = np.array([], np.int64)

bounded = settings(deadline=None, max_examples=50)
names = [
    tag + number
    for tag, order in ORDERS.items()
    for number in (("1", "3") if order.takes_number else ("",))
    if tag != "syn"
]
orders = st.sampled_from(names)
words = st.lists(st.integers(0, 99), min_size=1, max_size=4)
sentences = st.lists(words, min_size=1, max_size=8)
texts = st.lists(sentences, min_size=1, max_size=5)


def text_of(listed):
    return from_words([word for sentence in listed for word in sentence], [*map(len, listed)])


def words_in(text, ids):
    return [part.tolist() for part in np.split(ids, text.first_tokens()[1:])]


def listed(text, ids, moved):
    """The tokens as sentences of words, by the bounds that the moved words have."""
    lengths = text.word_lengths_tokens()[moved]
    cut = [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])]
    counts = np.bincount(text.sentence_of_word())
    ends = np.cumsum(counts)
    return [cut[end - count : end] for count, end in zip(counts, ends, strict=True)]


def changed(sentence, order, seed=0, final=FINAL):
    text = text_of([sentence])
    moved = word_order(text, order, seed, final)
    return listed(text, reorder(text, order, seed, final), moved)[0]


@bounded
@given(texts, orders, st.integers(0, 9))
def test_an_order_is_a_permutation_of_the_words_of_each_sentence(raw, order, seed):
    text = text_of(raw)
    moved = word_order(text, order, seed, FINAL)
    sentence = text.sentence_of_word()
    assert sorted(moved.tolist()) == list(range(len(moved)))
    assert (sentence[moved] == sentence).all()


@bounded
@given(texts, orders, st.integers(0, 9))
def test_whole_words_stay_whole(raw, order, seed):
    text = text_of(raw)
    moved = word_order(text, order, seed, FINAL)
    after = listed(text, reorder(text, order, seed, FINAL), moved)
    assert [sorted(sentence) for sentence in after] == [sorted(sentence) for sentence in raw]


@bounded
@given(texts, orders, st.integers(0, 9))
def test_labels_move_with_their_words(raw, order, seed):
    text = text_of(raw)
    moved = word_order(text, order, seed, FINAL)
    flat = [word for sentence in raw for word in sentence]
    by_label = [flat[number] for number in moved]
    assert np.concatenate(by_label).tolist() == reorder(text, order, seed, FINAL).tolist()


@bounded
@given(sentences, orders, st.sampled_from([STOP, ASK]))
def test_a_final_mark_stays_last(sentence, order, mark):
    assert changed([*sentence, [mark]], order)[-1] == [mark]


def test_inversion_turns_the_words_around_and_not_their_tokens():
    assert changed([[1, 2], [3], [4, 5, 6]], "inv") == [[4, 5, 6], [3], [1, 2]]


def test_inversion_leaves_the_final_mark_where_it_is():
    assert changed([[1], [2], [3], [STOP]], "inv") == [[3], [2], [1], [STOP]]


def test_a_mark_inside_a_sentence_moves_like_a_word():
    assert changed([[1], [STOP], [2]], "inv") == [[2], [STOP], [1]]


def test_a_mark_before_a_closing_bracket_is_not_final():
    assert changed([[1], [STOP], [7]], "inv") == [[7], [STOP], [1]]


def test_a_word_that_ends_in_a_mark_is_not_a_mark():
    assert changed([[1], [2, STOP]], "inv") == [[2, STOP], [1]]


def test_a_run_of_final_marks_stays_last_however_many_tokens_spell_it():
    assert changed([[1], [2], [ASK, STOP]], "inv") == [[2], [1], [ASK, STOP]]


def test_only_the_last_of_two_marks_is_final():
    assert changed([[1], [ASK], [STOP]], "inv") == [[ASK], [1], [STOP]]


def test_each_sentence_keeps_its_own_final_mark():
    text = text_of([[[1], [2], [STOP]], [[3], [4], [ASK]]])
    assert reorder(text, "inv", 0, FINAL).tolist() == [2, 1, STOP, 4, 3, ASK]


@bounded
@given(st.lists(st.lists(st.tuples(st.integers(0, 80)).map(list), min_size=1), min_size=1))
def test_inversion_twice_is_the_identity(raw):
    text = text_of([[*sentence, [STOP]] for sentence in raw])
    once = reorder(text, "inv", 0, FINAL)
    again = Sentences(once, text.word_starts, text.sentence_starts)
    assert reorder(again, "inv", 0, FINAL).tolist() == text.ids.tolist()


@bounded
@given(texts)
def test_inversion_of_word_numbers_twice_is_the_identity(raw):
    text = text_of(raw)
    moved = word_order(text, "inv", 0, NONE)
    assert moved[moved].tolist() == list(range(len(moved)))


@bounded
@given(texts)
def test_no_order_leaves_the_text_as_it_is(raw):
    text = text_of(raw)
    assert reorder(text, "", 0, FINAL).tolist() == text.ids.tolist()
    assert word_order(text, "", 0, FINAL).tolist() == list(range(len(text.first_tokens())))


def test_permutation_differs_between_sentences_of_one_length():
    text = text_of([[[10 * s + w] for w in range(8)] for s in range(6)])
    moved = word_order(text, "perm", 0, NONE).reshape(6, 8) % 8
    assert len(np.unique(moved, axis=0)) == 6


def test_permutation_depends_on_the_seed():
    sentence = [[word] for word in range(12)]
    assert changed(sentence, "perm", seed=0) != changed(sentence, "perm", seed=1)


def test_permutation_hits_every_order_of_three_words_about_equally():
    text = text_of([[[1000 + s], [1], [2]] for s in range(6000)])
    moved = word_order(text, "perm", 0, NONE).reshape(6000, 3) % 3
    counts = np.unique(moved, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert abs(counts - 1000).max() < 200


def test_permutation_never_changes():
    sentence = [[word] for word in range(8)]
    assert changed(sentence, "perm", seed=0) == [[w] for w in GOLDEN_PERMUTATION]


@bounded
@given(sentences, texts, texts, orders, st.integers(0, 9))
def test_a_sentence_is_changed_alike_wherever_it_stands(sentence, before, after, order, seed):
    text = text_of([*before, sentence, *after])
    moved = word_order(text, order, seed, FINAL)
    there = listed(text, reorder(text, order, seed, FINAL), moved)
    assert there[len(before)] == changed(sentence, order, seed)


def test_an_unknown_order_is_an_error_that_names_the_nearest():
    with pytest.raises(ConfigError, match=r"'prem'.*inv.*perm.*did you mean 'perm'"):
        split_order("prem")


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_of_many_digits_is_an_error(digits):
    with pytest.raises(ConfigError, match="language order = 'noise999"):
        split_order("noise" + "9" * digits)


@pytest.mark.parametrize("order", ["inv3", "noise", "noise0", "syn", "syn-fran", "syn-fra-V-hin-N"])
def test_an_order_with_a_number_missing_or_out_of_place_is_an_error(order):
    with pytest.raises(ConfigError, match="'noise' with a number"):
        split_order(order)


@bounded
@given(sentences, st.integers(1, 4), st.integers(0, 9))
def test_noise_moves_no_word_further_than_its_number(sentence, places, seed):
    moved = word_order(text_of([sentence]), f"noise{places}", seed, NONE)
    assert max(abs(moved - np.arange(len(moved)))) <= places


GOLDEN_PERMUTATION = [6, 3, 4, 2, 1, 5, 0, 7]
