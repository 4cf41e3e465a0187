"""Pairs and questions as rows of a model, in languages with other orders and scripts."""

from itertools import pairwise, product

import numpy as np
import pytest

from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.evaluation.examples.pair_classification import cut_pair, numbered_pairs, pair_rows
from alignmlm.evaluation.examples.question_answering import (
    answer_place,
    answered_text,
    best_span,
    numbered_questions,
    question_rows,
    window_starts,
)
from alignmlm.evaluation.examples.rendering import Trees, renderer_of, reorderer_of
from alignmlm.evaluation.settings import SyntaxConfig
from alignmlm.tasks.examples import Answer, Question, SentencePair
from tests.evaluation.conftest import LANGUAGES

BASE, DERIVED = LANGUAGES
PAIR = SentencePair("the dofor drofa mima.", "every kiru lutek.", "no")
CONTEXT = "the dofor drofa mima. every kiru lutek the vustut."
QUESTION = Question(CONTEXT, "every kiru?", (Answer("vustut", CONTEXT.index("vustut")),), "q1")


CUTS = [*product(range(9), range(9), range(2, 10, 3))]


def renderer(export, language):
    return renderer_of(export, language, reorderer_of(export, language, SyntaxConfig(), Trees()))


@pytest.mark.parametrize(
    ("first", "second", "room"), [*product(range(9), range(9), range(2, 10, 3))]
)
def test_a_pair_is_cut_to_the_room_from_its_longer_side(first, second, room):
    one, two = cut_pair([1] * first, [2] * second, room)
    assert len(one) + len(two) == min(first + second, room)
    if first + second > room:
        assert min(len(one), len(two)) >= min(first, second, room // 2)


def test_a_pair_lies_between_two_separators_as_roberta_has_it(export):
    tokenizer, vocabulary = load_tokenizer(export.path), export.vocabulary
    text = numbered_pairs([PAIR], tokenizer, vocabulary.unk, BASE, ["no", "yes"])
    (row,) = pair_rows(text, renderer(export, BASE), 64).examples
    eos = [place for place, token in enumerate(row.input_ids) if token == vocabulary.eos]
    assert row.input_ids[0] == vocabulary.bos
    assert eos == [row.second - 2, row.second - 1, len(row.input_ids) - 1]
    assert tokenizer.decode(row.input_ids[1 : row.second - 2]).strip() == PAIR.first
    assert row.labels == 0


def test_each_side_of_a_pair_is_inverted_by_itself_in_its_own_ids(export):
    tokenizer, size = load_tokenizer(export.path), export.vocabulary.size
    text = numbered_pairs([PAIR], tokenizer, export.vocabulary.unk, BASE, ["no"])
    (row,) = pair_rows(text, renderer(export, DERIVED), 64).examples
    first, second = row.input_ids[1 : row.second - 2], row.input_ids[row.second : -1]
    assert all(token >= size for token in first + second)
    sides = [tokenizer.decode([t - size for t in side]).strip() for side in (first, second)]
    assert sides == ["mima drofa dofor the.", "lutek kiru every."]


def test_pairs_longer_than_the_model_are_cut_and_counted(export):
    tokenizer = load_tokenizer(export.path)
    text = numbered_pairs([PAIR], tokenizer, export.vocabulary.unk, BASE, ["no"])
    found = pair_rows(text, renderer(export, BASE), 12)
    assert (len(found.examples[0].input_ids), found.counts["pairs_too_long"]) == (12, 1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_place_of_an_answer_in_a_row_gives_its_words_back(export, language):
    tokenizer = load_tokenizer(export.path)
    text = numbered_questions([QUESTION], tokenizer, export.vocabulary.unk, BASE)
    found = question_rows(text, renderer(export, language), 64)
    (row,) = found.examples
    first, last = (place - row.second + row.offset_tokens for place in row.labels)
    assert answered_text(found.documents[0], first, last) == "vustut"
    assert found.documents[0].golds == ("vustut",)


def test_gold_answers_are_composed_as_the_answers_of_a_model_are(export):
    context = "the cafe\u0301 drofa mima."
    question = Question(context, "the?", (Answer("cafe\u0301", 4),), "q")
    tokenizer = load_tokenizer(export.path)
    text = numbered_questions([question], tokenizer, export.vocabulary.unk, BASE)
    assert question_rows(text, renderer(export, BASE), 64).documents[0].golds == ("caf\u00e9",)


def test_a_long_context_is_shown_in_windows_of_which_one_has_the_answer(export):
    tokenizer = load_tokenizer(export.path)
    text = numbered_questions([QUESTION], tokenizer, export.vocabulary.unk, BASE)
    found = question_rows(text, renderer(export, BASE), 20)
    assert found.counts["windows"] == len(found.examples) > 1
    assert all(len(row.input_ids) <= 20 for row in found.examples)
    having = [row for row in found.examples if row.labels != (0, 0)]
    assert having
    for row in having:
        first, last = (place - row.second + row.offset_tokens for place in row.labels)
        assert answered_text(found.documents[0], first, last) == "vustut"


@pytest.mark.parametrize(("tokens", "room"), [*product((0, 1, 7, 20, 41), (4, 7, 10))])
def test_windows_cover_every_token_and_overlap_by_half(tokens, room):
    starts = window_starts(tokens, room)
    seen = {token for start in starts for token in range(start, start + room)}
    assert set(range(tokens)) <= seen
    assert all(0 < b - a <= room // 2 for a, b in pairwise(starts))


def test_the_best_span_ends_after_it_starts_and_is_not_too_long():
    starts, ends = np.zeros(50), np.zeros(50)
    starts[40], ends[3], ends[45], ends[49] = 5.0, 9.0, 2.0, 1.0
    assert best_span(starts, ends) == (9.0, 0, 3)
    ends[3] = 0.0
    assert best_span(starts, ends) == (7.0, 40, 45)
    starts[:], ends[:] = 0.0, 0.0
    starts[2], ends[40], ends[30] = 5.0, 9.0, 1.0
    assert best_span(starts, ends)[1:] != (2, 40)


def test_an_answer_of_several_words_has_the_tokens_of_all_of_them():
    assert answer_place((1, 3), np.array([0, 0, 1, 2, 2, 3])) == (2, 4)


def test_the_shortest_rows_show_a_token_of_the_context_beside_a_long_question(export):
    asked = Question(CONTEXT, "every kiru lutek the vustut drofa?", QUESTION.answers, "q1")
    tokenizer = load_tokenizer(export.path)
    text = numbered_questions([asked], tokenizer, export.vocabulary.unk, BASE)
    rows = question_rows(text, renderer(export, BASE), 8).examples
    assert {len(row.input_ids) - 1 - row.second for row in rows} == {1}
    assert max(len(row.input_ids) for row in rows) == 8
