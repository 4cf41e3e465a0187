import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_fscore_support

from alignmlm.tasks.metrics import (
    answer_f1,
    exact_answer,
    macro_f1,
    plain_answer,
    token_f1,
)

LABELS = st.sampled_from(["a", "b", "c"])
LABEL_PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=20)
WORDS = st.lists(st.sampled_from(["the", "Cat", "cat", "sat.", "a", "mat"]), max_size=6)


@given(LABEL_PAIRS)
def test_macro_f1_is_the_mean_of_the_f1_of_each_label(pairs):
    gold, found = map(list, zip(*pairs, strict=True))
    of_label = precision_recall_fscore_support(gold, found, zero_division=0)[2]
    assert macro_f1(gold, found) == pytest.approx(of_label.mean())
    assert macro_f1(gold, found) == f1_score(gold, found, average="macro", zero_division=0)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The  U.S. Army!", "us army"),
        ("an apple, a pear", "apple pear"),
        ("Theatre", "theatre"),
        ("L'été «la»", "lété «la»"),
        ("the", ""),
    ],
)
def test_plain_answers_lack_case_articles_and_ascii_punctuation(text, plain):
    assert plain_answer(text) == plain


@pytest.mark.parametrize(
    ("golds", "found", "exact", "f1"),
    [
        (["Denver Broncos"], "the Denver Broncos.", 1.0, 1.0),
        (["Denver Broncos", "Broncos"], "Broncos", 1.0, 1.0),
        (["Santa Clara, California"], "Santa Clara", 0.0, 0.8),
        (["308"], "three hundred", 0.0, 0.0),
        (["a b b"], "b b c", 0.0, 0.8),
    ],
)
def test_squad_scores_are_those_of_its_rules(golds, found, exact, f1):
    rights = [[gold] for gold in golds]
    assert max(exact_answer(right, [found]) for right in rights) == (exact, 1.0)
    assert max(answer_f1(right, [found]) for right in rights) == (pytest.approx(f1), 1.0)


@given(WORDS, WORDS)
def test_token_f1_is_symmetric_and_1_for_the_same_words(one, other):
    first, second = " ".join(one), " ".join(other)
    assert token_f1(first, second) == pytest.approx(token_f1(second, first))
    assert 0 <= token_f1(first, second) <= 1
    same = sorted(plain_answer(first).split()) == sorted(plain_answer(second).split()) != []
    assert (token_f1(first, second) == 1) == same
