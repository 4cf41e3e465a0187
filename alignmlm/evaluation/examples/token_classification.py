"""Labelled sentences rendered in any language of a model: labels move with their words."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from tokenizers import Tokenizer

from alignmlm.data.tokenizer import Vocabulary
from alignmlm.evaluation.examples.rendering import (
    IGNORED,
    Example,
    Predictions,
    RenderedSplit,
    Renderer,
)
from alignmlm.evaluation.examples.words import TokensOfWord, tokens_of_words
from alignmlm.tasks.examples import LabelledSentence
from alignmlm.tasks.kinds import TaskKind
from alignmlm.tasks.metrics import METRICS, Metric, Scored
from alignmlm.tasks.spans import begins, moved_entities

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A split of a task as tokens and label numbers of the base language."""

    words: list[list[TokensOfWord]]
    labels: list[list[int]]
    forms: list[tuple[str, ...]]  # the words of each sentence as they are written
    tags: tuple[str, ...] = ()  # names of the labels where they are entity tags

    def __post_init__(self) -> None:
        for tokens, labels, forms in zip(self.words, self.labels, self.forms, strict=True):
            if not len(tokens) == len(labels) == len(forms):
                counts = f"{len(forms)} words, {len(tokens)} with tokens, {len(labels)} labels"
                raise ValueError(f"{' '.join(forms)[:80]!r} has {counts}")


def numbered(
    sentences: list[LabelledSentence],
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    names: list[str],
    entities: bool = False,
) -> LabelledText:
    """Sentences with their words as base tokens and their labels as numbers."""
    number = {name: place for place, name in enumerate(names)}
    labels = [[number[label] for label in sentence.labels] for sentence in sentences]
    tokens = tokens_of_words(tokenizer, sentences, vocabulary.unk)
    forms = [sentence.words for sentence in sentences]
    return LabelledText(tokens, labels, forms, tuple(names) if entities else ())


def moved_labels(
    labels: list[int], order: Int[np.ndarray, " word"], tags: tuple[str, ...], counts: Counter[str]
) -> list[int]:
    """The labels of a sentence's words in their new order; entity tags are valid BIO again."""
    if not tags:
        return [labels[word] for word in order]
    moved = moved_entities([tags[label] for label in labels], order)
    counts.update(moved.counts())
    return [tags.index(label) for label in moved.labels]


def at_first_tokens(labels: list[int], words: list[Int[np.ndarray, " _"]]) -> list[int]:
    """A label for each token: its word's at the first one, IGNORED elsewhere."""
    return [
        label if place == 0 else IGNORED
        for label, word in zip(labels, words, strict=True)
        for place in range(len(word))
    ]


def sentence_rows(text: LabelledText, renderer: Renderer, seq_len: int) -> RenderedSplit:
    """The sentences in one language of a model, cut to its longest row.

    Counts words_cut_off; spans and spans_torn of entities; trees_* of syntax.
    """
    counts: Counter[str] = Counter({"words_cut_off": 0})
    vocabulary, room = renderer.vocabulary, seq_len - 2
    examples: list[Example] = []
    for forms, tokens, labels in zip(text.forms, text.words, text.labels, strict=True):
        words = renderer.words(forms, tokens, [len(tokens)], counts)
        ids = words.flat()
        marked = at_first_tokens(moved_labels(labels, words.order, text.tags, counts), words.ids)
        counts["words_cut_off"] += sum(label != IGNORED for label in marked[room:])
        row = [vocabulary.bos, *ids[:room], vocabulary.eos]
        shown = [IGNORED, *marked[:room], IGNORED]
        examples.append(Example(row, shown, renderer.number, len(examples)))
    report(counts, sum(map(len, text.labels)), seq_len)
    return RenderedSplit(examples, dict(counts))


def report(counts: Counter[str], words: int, seq_len: int) -> None:
    """Log words that were cut off and other losses."""
    if lost := counts["words_cut_off"]:
        beyond = f"{lost:,} of {words:,} words lie beyond the longest row"
        log.warning("%s, %d tokens, and are left out", beyond, seq_len)
    if torn := counts["spans_torn"]:
        log.info("%s of %s entities are in pieces", f"{torn:,}", f"{counts['spans']:,}")


def scored_words(
    rendered: RenderedSplit, predictions: Predictions, labels: list[str], metric: Metric
) -> list[Scored]:
    """The predicted label of each word, at its first token, scored; words cut off are left out."""
    scored = []
    for example, outputs in predictions:
        right = np.array(example.labels)
        places = np.flatnonzero(right != IGNORED)
        target = [labels[number] for number in right[places]]
        predicted = [labels[number] for number in outputs["logits"][places].argmax(axis=-1)]
        gained, possible = metric.gained(target, predicted)
        scored.append(Scored(example.document, target, predicted, gained, possible))
    return scored


def sentence_details(examples: Sequence[LabelledSentence], metric: Metric) -> Counter[str]:
    """The numbers of entities, and of those whose first tag is not B-."""
    counts: Counter[str] = Counter()
    for example in examples if metric.entities else ():
        for label, before in zip(example.labels, ("O", *example.labels), strict=False):
            if begins(label, before):
                counts["entities"] += 1
                counts["entities_without_b"] += label[0] != "B"
    return counts


TOKEN_CLASSIFICATION = TaskKind(
    example=LabelledSentence,
    details=sentence_details,
    model="AutoModelForTokenClassification",
    as_tokens=lambda task, examples, labels, tokenizer, export: numbered(
        examples, tokenizer, export.vocabulary, labels, METRICS[task.metric].entities
    ),
    rows=sentence_rows,
    scored=scored_words,
)
