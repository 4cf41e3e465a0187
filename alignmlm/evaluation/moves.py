"""Language changes on labelled examples: words take new places, labels and answers follow them.

Every function here is pure: an example and an order of its words (old positions, in their new
order) give an example. alignmlm.evaluation.reordering decides the order of a language.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from alignmlm.evaluation.running_text import TextWords, placed_words, text_words, written
from alignmlm.tasks.examples import Answer, LabelledSentence, Question, SentencePair
from alignmlm.tasks.spans import MovedEntities, moved_entities

Order = Int[np.ndarray, " word"]


def moved_sentence(sentence: LabelledSentence, order: Int[np.ndarray, " word"]) -> LabelledSentence:
    """The words in a new order, each with its label and its flag about the space before it."""
    words, labels, joined = (
        tuple(column[i] for i in order)
        for column in (sentence.words, sentence.labels, sentence.joined)
    )
    return replace(sentence, words=words, labels=labels, joined=joined)


def moved_entity_sentence(
    sentence: LabelledSentence, order: Int[np.ndarray, " word"]
) -> tuple[LabelledSentence, MovedEntities]:
    """The words in a new order with valid BIO tags, and what happened to the spans."""
    moved = moved_entities(sentence.labels, order)
    return replace(moved_sentence(sentence, order), labels=moved.labels), moved


@dataclass(frozen=True, slots=True)
class PairWords:
    """A pair as words."""

    first: TextWords
    second: TextWords
    label: str
    id: str = ""


def pair_words(pair: SentencePair, language: str) -> PairWords:
    """The words of both sides of a pair; a side may hold several sentences."""
    first, second = (text_words(text, language) for text in (pair.first, pair.second))
    return PairWords(first, second, pair.label, pair.id)


def moved_pair(
    pair: PairWords, first: Int[np.ndarray, " word"], second: Int[np.ndarray, " other_word"]
) -> PairWords:
    """Both sides in their new orders, and the same label."""
    return replace(pair, first=pair.first.reordered(first), second=pair.second.reordered(second))


def pair_text(pair: PairWords) -> SentencePair:
    """The pair as text."""
    return SentencePair(written(pair.first)[0], written(pair.second)[0], pair.label, pair.id)


@dataclass(frozen=True, slots=True)
class QuestionWords:
    """A question and its context as words, and the answers as runs of words of the context."""

    context: TextWords
    question: TextWords
    answers: tuple[tuple[int, int], ...]  # first word, and the one after the last
    id: str = ""


@dataclass(frozen=True, slots=True)
class QuestionAsWords:
    """A question as words, and how many of its answers had to be widened to whole words."""

    question: QuestionWords
    answers_widened: int


def question_words(question: Question, language: str) -> QuestionAsWords:
    """A question as words; an answer becomes the words that it has a character of."""
    placed = placed_words(question.context, language)
    starts, stops = np.array(placed.starts, np.int64), np.array(placed.stops, np.int64)
    answers, widened = [], 0
    for answer in question.answers:
        text = answer.text.rstrip()
        begin = answer.start + len(text) - len(text.lstrip())
        first = int(np.searchsorted(stops, begin, side="right"))
        stop = int(np.searchsorted(starts, answer.start + len(text), side="left"))
        if stop > first:
            answers.append((first, stop))
            widened += (placed.starts[first], placed.stops[stop - 1]) != (
                begin,
                answer.start + len(text),
            )
    distinct = tuple(dict.fromkeys(answers))
    asked = text_words(question.question, language)
    return QuestionAsWords(QuestionWords(placed.text, asked, distinct, question.id), widened)


def moved_run(run: tuple[int, int], places: Int[np.ndarray, " word"]) -> tuple[int, int] | None:
    """Where a run of words is now; None if other words have come between them."""
    inside = places[run[0] : run[1]]
    first, stop = int(inside.min()), int(inside.max()) + 1
    return (first, stop) if stop - first == len(inside) else None


def moved_question(
    question: QuestionWords,
    context: Int[np.ndarray, " word"],
    asked: Int[np.ndarray, " asked_word"],
) -> QuestionWords | None:
    """Context and question in their new orders; answers stay if their words are still contiguous.

    None if no answer is kept: such an example has to be dropped.
    """
    places = np.argsort(context)
    runs = [moved_run(run, places) for run in question.answers]
    whole_runs = tuple(run for run in runs if run is not None)
    if not whole_runs:
        return None
    return QuestionWords(
        question.context.reordered(context),
        question.question.reordered(asked),
        whole_runs,
        question.id,
    )


def question_text(question: QuestionWords) -> Question:
    """The question as text, its answers at their characters."""
    text, starts = written(question.context)
    words = question.context.words
    spans = [
        (starts[first], starts[stop - 1] + len(words[stop - 1])) for first, stop in question.answers
    ]
    answers = tuple(Answer(text[start:stop], start) for start, stop in spans)
    return Question(text, written(question.question)[0], answers, question.id)
