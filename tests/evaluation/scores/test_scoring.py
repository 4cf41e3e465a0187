"""Scores as sums over documents, held to scikit-learn on random answers."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from alignmlm.evaluation.examples.pair_classification import scored_pairs
from alignmlm.evaluation.examples.rendering import IGNORED, Example, RenderedSplit
from alignmlm.evaluation.examples.token_classification import scored_words
from alignmlm.tasks.metrics import METRICS, Scored, score_percent
from alignmlm.tasks.spans import entities_of

ACCURACY, ENTITY_F1, MACRO_F1 = (METRICS[name] for name in ("accuracy", "entity_f1", "macro_f1"))
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SENTENCES = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9),
    min_size=1,
    max_size=8,
)


def words(sentences):
    """Rows of words, each with an unscored token at either end, and the scores of their answers."""
    examples, predictions = [], []
    for number, sentence in enumerate(sentences):
        labels = [IGNORED, *(gold for gold, _ in sentence), IGNORED]
        logits = np.zeros((len(labels), len(TAGS)))
        for place, (_, found) in enumerate(sentence, start=1):
            logits[place, found] = 1.0
        example = Example([1] * len(labels), labels, 0, number)
        examples.append(example)
        predictions.append((example, {"logits": logits}))
    return RenderedSplit(examples, {}), predictions


@given(SENTENCES)
def test_accuracy_of_words_is_scikit_learns(sentences):
    scored = scored_words(*words(sentences), TAGS, ACCURACY)
    flat = [pair for sentence in sentences for pair in sentence]
    expected = accuracy_score([a for a, _ in flat], [b for _, b in flat])
    assert score_percent(ACCURACY, scored) == pytest.approx(100 * expected)


@given(SENTENCES)
def test_f1_of_entities_is_scikit_learns_over_those_that_either_side_has(sentences):
    scored = scored_words(*words(sentences), TAGS, ENTITY_F1)
    sides: list[set] = [set(), set()]
    for (number, sentence), side in product(enumerate(sentences), (0, 1)):
        labels = [TAGS[pair[side]] for pair in sentence]
        sides[side] |= {(number, *entity) for entity in entities_of(labels)}
    right, answered = ([entity in side for entity in sides[0] | sides[1]] for side in sides)
    expected = f1_score(right, answered, zero_division=0) if right else 0.0
    assert score_percent(ENTITY_F1, scored) == pytest.approx(100 * expected)


def test_a_part_of_an_entity_is_wrong():
    rows = words([[(1, 1), (2, 0), (0, 0)]])  # B-PER I-PER O, answered B-PER O O
    assert score_percent(ENTITY_F1, scored_words(*rows, TAGS, ENTITY_F1)) == 0.0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_scores_of_pairs_are_scikit_learns(pairs):
    labels = ["a", "b", "c"]
    rows = [Example([1], gold, 0, n) for n, (gold, _) in enumerate(pairs)]
    logits = [{"logits": np.eye(3)[found]} for _, found in pairs]
    scored = scored_pairs(
        RenderedSplit(rows, {}), list(zip(rows, logits, strict=True)), labels, ACCURACY
    )
    golds, founds = zip(*pairs, strict=True)
    assert score_percent(ACCURACY, scored) == pytest.approx(100 * accuracy_score(golds, founds))
    macro = f1_score(golds, founds, average="macro", zero_division=0)
    assert score_percent(MACRO_F1, scored) == pytest.approx(100 * macro)


def test_nothing_to_gain_scores_nothing():
    assert score_percent(ENTITY_F1, [Scored(0, ["O"], ["O"], 0.0, 0.0)]) == 0.0
