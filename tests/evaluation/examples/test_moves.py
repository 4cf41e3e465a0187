import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignmlm.data.text import normalise
from alignmlm.evaluation.examples.preview import (
    moved_entity_sentence,
    moved_pair,
    moved_sentence,
    pair_text,
    pair_words,
)
from alignmlm.evaluation.examples.question_answering import (
    moved_question,
    question_text,
    question_words,
)
from alignmlm.evaluation.examples.words import TextWords, placed_words, text_words, written
from alignmlm.tasks.examples import Answer, LabelledSentence, Question, SentencePair

CONTEXT = "Mary Shelley (1797) wrote Frankenstein. It was printed in London, not in Paris."
WORDS = st.lists(st.sampled_from(["the", "dog", "don't", ",", ".", "(", "U.S", "नमस्ते"]), min_size=1)


def inverted(text: TextWords) -> np.ndarray:
    return np.array([i for first, stop in text.bounds() for i in reversed(range(first, stop))])


def asked(answer: str, context: str = CONTEXT) -> Question:
    return Question(context, "Who?", (Answer(answer, context.index(answer)),), "q1")


def in_inversion(question: Question):
    words = question_words(question, "eng").question
    return moved_question(words, inverted(words.context), inverted(words.question))


def test_words_and_sentences_of_a_text_are_those_of_the_builder():
    text = text_words("“Go,” he said.  It\nrained!", "eng-Latn")
    assert text.words == ("“", "Go", ",”", "he", "said", ".", "It", "rained", "!")
    assert text.joined == (False, True, True, False, False, True, False, False, True)
    assert text.sentence_lengths_words == (6, 1, 2)


def test_words_know_where_they_stand():
    text = "  Wörter,\u00a0 hier "
    placed = placed_words(text, "deu")
    spans = zip(placed.starts, placed.stops, strict=True)
    assert [text[start:stop] for start, stop in spans] == ["Wörter", ",", "hier"]


@pytest.mark.parametrize("text", ["", " \n "])
def test_a_text_without_words_has_none(text):
    assert text_words(text, "eng") == TextWords((), (), ())


@given(WORDS, st.lists(st.sampled_from([" ", "", "  ", "\n"]), min_size=1))
def test_words_written_again_are_the_text_with_single_spaces(words, spaces):
    text = "".join(w + spaces[i % len(spaces)] for i, w in enumerate(words))
    assert written(text_words(text, "eng"))[0] == normalise(text)


def test_words_that_a_move_brings_together_do_not_fuse():
    text = text_words("(one two", "eng")
    assert written(text.reordered(np.array([2, 1, 0])))[0] == "two one ("


def test_labels_travel_with_their_words():
    sentence = LabelledSentence(("a", "dog", "."), ("DET", "NOUN", "PUNCT"), (False, False, True))
    moved = moved_sentence(sentence, np.array([1, 0, 2]))
    assert (moved.words, moved.labels) == (("dog", "a", "."), ("NOUN", "DET", "PUNCT"))
    assert moved_sentence(moved, np.array([1, 0, 2])) == sentence


def test_entities_of_a_moved_sentence_are_tagged_anew():
    sentence = LabelledSentence(("I", "met", "Ann", "Lee"), ("O", "O", "B-P", "I-P"), (False,) * 4)
    moved, counts = moved_entity_sentence(sentence, np.array([3, 2, 1, 0]))
    assert (moved.words, moved.labels) == (("Lee", "Ann", "met", "I"), ("B-P", "I-P", "O", "O"))
    assert counts.spans_torn == 0


def test_each_sentence_of_a_pair_is_changed_on_its_own_and_the_label_stays():
    pair = pair_words(SentencePair("He left. She stayed.", "Two people.", "neutral", "7"), "eng")
    moved = moved_pair(pair, inverted(pair.first), inverted(pair.second))
    assert pair_text(moved) == SentencePair(". left He. stayed She", ". people Two", "neutral", "7")
    assert moved_pair(moved, inverted(moved.first), inverted(moved.second)) == pair


def test_an_answer_follows_its_words():
    moved = question_text(in_inversion(asked("Mary Shelley")))
    (answer,) = moved.answers
    assert answer.text == "Shelley Mary"
    assert moved.context[answer.start : answer.stop] == answer.text


def test_an_answer_whose_words_come_apart_is_dropped():
    assert in_inversion(asked("Frankenstein. It was")) is None


def test_a_question_keeps_the_answers_that_stay_together():
    whole, torn = asked("London"), asked("Frankenstein. It")
    both = Question(CONTEXT, "Where?", (*torn.answers, *whole.answers), "q2")
    assert [a.text for a in question_text(in_inversion(both)).answers] == ["London"]


def test_a_question_comes_back_when_it_is_inverted_twice():
    words = question_words(asked("Mary Shelley (1797)"), "eng").question
    moved = moved_question(words, inverted(words.context), inverted(words.question))
    assert moved_question(moved, inverted(words.context), inverted(words.question)) == words


@pytest.mark.parametrize(
    ("answer", "text", "widened"),
    [("ondon", "London", 1), (" London", "London", 0), ("in London", "in London", 0)],
)
def test_an_answer_is_made_of_whole_words(answer, text, widened):
    found = question_words(asked(answer), "eng")
    assert question_text(found.question).answers[0].text == text
    assert found.answers_widened == widened


@given(st.permutations(range(6)), st.integers(0, 5), st.integers(1, 6))
def test_an_answer_stays_exactly_when_its_words_stand_side_by_side(order, first, length):
    context = "a b c d e f"
    words = question_words(asked(context[2 * first : 2 * first + 2 * length - 1], context), "eng")
    moved = moved_question(words.question, np.array(order), np.array([0, 1]))
    inside = set("abcdef"[first : first + length])
    places = [i for i, word in enumerate(order) if "abcdef"[word] in inside]
    assert (moved is not None) == (places[-1] - places[0] + 1 == len(places))
    if moved:
        assert set(question_text(moved).answers[0].text.split()) == inside
