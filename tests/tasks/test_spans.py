import hashlib
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignmlm.errors import DataError
from alignmlm.tasks.spans import (
    check_entity_tags,
    closed_tags,
    entities_of,
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


def is_valid_bio(labels) -> bool:
    before = ["O", *labels[:-1]]
    return all(
        label[0] != "I" or (b != "O" and b[2:] == label[2:])
        for label, b in zip(labels, before, strict=True)
    )


def test_entities_are_those_of_seqeval_for_every_sequence_of_four_tags():
    """Right or broken, of all schemes; the digest is that of seqeval 1.2.2's get_entities."""
    tags = ["O", *(f"{part}-{kind}" for part in "BIES" for kind in ("MISC", "PER"))]
    digest, total = hashlib.sha256(), 0
    for labels in product(tags, repeat=4):
        entities = sorted(entities_of(labels))
        digest.update(repr(entities).encode())
        total += len(entities)
    assert total == 21384
    expected = "d29137beb649cbba1092fe850d59974bbbdd929a062e97d2b32b35f56bf9be67"
    assert digest.hexdigest() == expected


@pytest.mark.parametrize(
    "labels",
    ["I-PER I-PER B-PER O I-MISC", "B-PER I-PER B-PER O B-MISC", "B-PER E-PER S-PER O S-MISC"],
    ids=["IOB1", "IOB2", "IOBES"],
)
def test_entities_are_the_same_in_every_scheme(labels):
    assert entities_of(labels.split()) == {("PER", 0, 1), ("PER", 2, 2), ("MISC", 4, 4)}


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
    assert moved.spans == len(entities_of(labels))
    assert moved.spans_after == len(entities_of(moved.labels))
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
    with pytest.raises(DataError, match=r"O, B-<type> or I-<type>, .*; label_values names others"):
        check_entity_tags(["O", label], "a task")
