import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from alignmlm.errors import DataError
from alignmlm.tasks.spans import (
    check_entity_tags,
    closed_tags,
    moved_entities,
    moved_spans,
    pieces,
    spans_of,
    tags_of,
)

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SENTENCES = st.lists(st.sampled_from(TAGS), min_size=1, max_size=12)


@st.composite
def ordered(draw):
    labels = draw(SENTENCES)
    return labels, np.array(draw(st.permutations(range(len(labels)))))


def runs(labels):
    """(type, first, last) of each span."""
    spans = spans_of(labels)
    of_word = np.array(spans.of_word)
    places = [np.flatnonzero(of_word == i + 1) for i in range(len(spans.types))]
    return [(t, p[0], p[-1]) for t, p in zip(spans.types, places, strict=True)]


def is_valid_bio(labels) -> bool:
    before = ["O", *labels[:-1]]
    return all(
        label[0] != "I" or (b != "O" and b[2:] == label[2:])
        for label, b in zip(labels, before, strict=True)
    )


@given(SENTENCES)
def test_spans_are_those_of_seqeval(labels):
    assert runs(labels) == get_entities(labels)


@given(SENTENCES)
def test_tags_written_from_spans_are_valid_and_hold_the_same_spans(labels):
    written = tags_of(spans_of(labels))
    assert is_valid_bio(written)
    assert spans_of(written) == spans_of(labels)


@given(ordered())
def test_tags_are_valid_bio_in_any_order_and_every_word_keeps_its_class(case):
    labels, order = case
    moved = moved_entities(labels, order)
    assert is_valid_bio(moved.labels)
    assert [label[2:] for label in moved.labels] == [labels[i][2:] for i in order]


@given(ordered())
def test_each_piece_of_a_span_is_an_entity_and_torn_ones_are_counted(case):
    labels, order = case
    moved = moved_entities(labels, order)
    assert moved.spans == len(get_entities(labels))
    assert moved.spans_after == len(get_entities(list(moved.labels)))
    assert moved.spans_torn <= moved.spans_after - moved.spans
    assert (moved.spans_torn == 0) == (moved.spans_after == moved.spans)


@given(ordered())
def test_spans_come_back_when_the_order_is_undone(case):
    labels, order = case
    spans = spans_of(labels)
    assert moved_spans(moved_spans(spans, order), np.argsort(order)) == spans


def test_an_inverted_span_begins_with_b():
    moved = moved_entities(["O", "B-PER", "I-PER", "O"], np.array([3, 2, 1, 0]))
    assert moved.labels == ("O", "B-PER", "I-PER", "O")


def test_a_torn_span_becomes_two_entities_of_its_type():
    moved = moved_entities(["B-PER", "I-PER", "O"], np.array([0, 2, 1]))
    assert moved.labels == ("B-PER", "O", "B-PER")
    assert moved.counts() == {"spans": 1, "spans_torn": 1, "spans_after": 2}


def test_neighbours_of_one_type_stay_apart():
    moved = moved_entities(["B-PER", "B-PER", "I-PER"], np.array([2, 1, 0]))
    assert moved.labels == ("B-PER", "I-PER", "B-PER")


def test_pieces_are_counted_for_each_span():
    assert pieces(spans_of(["B-A", "O", "B-B", "I-B"])) == [1, 1]


def test_retagging_needs_both_tags_of_each_type():
    assert closed_tags(["O", "B-PER"]) == ["B-PER", "I-PER", "O"]


@pytest.mark.parametrize("label", ["PER", "B-", "S-PER", ""])
def test_a_label_that_is_no_entity_tag_is_an_error(label):
    with pytest.raises(DataError, match="O, B-<type> or I-<type>"):
        check_entity_tags(["O", label], "a task")
