from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.languages.sentences import from_words

SENTENCES = [[[5], [6, 7]], [[8, 9, 10]], [[11], [12], [13, 14]]]
TEXT = from_words([word for sentence in SENTENCES for word in sentence], [2, 1, 3])


def test_tokens_stand_in_the_order_of_the_words():
    assert TEXT.ids.tolist() == list(range(5, 15))


def test_words_know_their_first_token_and_length():
    assert TEXT.first_tokens().tolist() == [0, 1, 3, 6, 7, 8]
    assert TEXT.word_lengths_tokens().tolist() == [1, 2, 3, 1, 1, 2]


def test_tokens_know_their_word_and_words_their_sentence():
    assert TEXT.word_of_token().tolist() == [0, 1, 1, 2, 2, 2, 3, 4, 5, 5]
    assert TEXT.sentence_of_word().tolist() == [0, 0, 1, 2, 2, 2]


words = st.lists(st.integers(0, 99), min_size=1, max_size=4)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(words, min_size=1, max_size=6), min_size=1, max_size=6))
def test_lengths_and_bounds_agree(sentences):
    flat = [word for sentence in sentences for word in sentence]
    text = from_words(flat, [*map(len, sentences)])
    assert text.word_lengths_tokens().tolist() == [*map(len, flat)]
    assert text.sentence_starts.sum() == len(sentences)
    assert (text.sentence_starts <= text.word_starts).all()
