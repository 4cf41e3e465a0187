"""Named entities as spans of words: read from tags, and written as tags after a reordering."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from alignmlm.errors import DataError, listed

OUTSIDE = "O"


def is_entity_tag(label: str) -> bool:
    """Whether a label is O, B-<type> or I-<type>."""
    return label == OUTSIDE or (label[:2] in ("B-", "I-") and len(label) > 2)


def check_entity_tags(labels: Sequence[str], place: str) -> None:
    """Raise unless all labels are entity tags.

    Raises:
        DataError: one is not.
    """
    if wrong := sorted({label for label in labels if not is_entity_tag(label)}):
        remedy = "label_values names others, as in {S-PER: B-PER, E-PER: I-PER}"
        raise DataError(
            f"{place}: entity labels are O, B-<type> or I-<type>, found {listed(wrong)}; {remedy}"
        )


def begins(label: str, before: str) -> bool:
    """Whether a span begins at a tag, given the tag before it.

    It does at B- and S-, after E-, S- or O, and where the type changes. So IOB1, IOB2 and IOBES
    are all read.

    Source: conlleval's rule (Tjong Kim Sang and De Meulder, 2003), as seqeval 1.2.2 has it.
    """
    if label == OUTSIDE:
        return False
    return label[0] in "BS" or before[0] in "ES" or label[2:] != before[2:]


@dataclass(frozen=True, slots=True)
class Spans:
    """Which span each word of a sentence belongs to."""

    of_word: tuple[int, ...]  # number of its span from 1; 0 outside
    types: tuple[str, ...]  # of each span


def spans_of(labels: Sequence[str]) -> Spans:
    """The spans of a sentence's tags."""
    of_word: list[int] = []
    types: list[str] = []
    before = OUTSIDE
    for label in labels:
        if begins(label, before):
            types.append(label[2:])
        of_word.append(0 if label == OUTSIDE else len(types))
        before = label
    return Spans(tuple(of_word), tuple(types))


def entities_of(labels: Sequence[str]) -> set[tuple[str, int, int]]:
    """(type, first word, last word) of each entity of a sentence's tags."""
    spans = spans_of(labels)
    last = {number: word for word, number in enumerate(spans.of_word)}
    return {
        (kind, spans.of_word.index(number), last[number])
        for number, kind in enumerate(spans.types, start=1)
    }


def tags_of(spans: Spans) -> tuple[str, ...]:
    """Valid BIO tags: B- at the first word of each piece of a span, I- at the others.

    A span in several pieces becomes as many entities of its type, so no word loses its class.
    """
    befores = (0, *spans.of_word[:-1])
    return tuple(
        f"{'I' if number == before else 'B'}-{spans.types[number - 1]}" if number else OUTSIDE
        for number, before in zip(spans.of_word, befores, strict=True)
    )


def moved_spans(spans: Spans, order: Int[np.ndarray, " word"]) -> Spans:
    """The same spans for the reordered words, whether in one piece or not."""
    return Spans(tuple(spans.of_word[word] for word in order), spans.types)


def pieces(spans: Spans) -> list[int]:
    """Number of pieces of each span."""
    counts = [0] * len(spans.types)
    for number, before in zip(spans.of_word, (0, *spans.of_word[:-1]), strict=True):
        if number and number != before:
            counts[number - 1] += 1
    return counts


@dataclass(frozen=True, slots=True)
class MovedEntities:
    """Tags of a reordered sentence, and what happened to its spans."""

    labels: tuple[str, ...]
    spans: int  # before
    spans_torn: int  # of those, the ones now in several pieces
    spans_after: int  # each piece is a span

    def counts(self) -> dict[str, int]:
        """The counts alone."""
        return {"spans": self.spans, "spans_torn": self.spans_torn, "spans_after": self.spans_after}


def moved_entities(labels: Sequence[str], order: Int[np.ndarray, " word"]) -> MovedEntities:
    """The entity tags of a reordered sentence; always valid BIO.

    A span that the order tears apart becomes one entity of its type for each piece.
    """
    moved = moved_spans(spans_of(labels), order)
    piece_counts = pieces(moved)
    torn = sum(count > 1 for count in piece_counts)
    return MovedEntities(tags_of(moved), len(piece_counts), torn, sum(piece_counts))


def closed_tags(labels: Sequence[str]) -> list[str]:
    """O, and B- and I- of every type that occurs: what re-tagging may need."""
    types = sorted({label[2:] for label in labels if label != OUTSIDE})
    return sorted([OUTSIDE, *(f"{part}-{name}" for name in types for part in "BI")])
