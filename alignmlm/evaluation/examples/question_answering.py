"""Questions as input rows of a model, in any of its languages, and answers decoded from its scores.

A context longer than a row is split into windows that overlap by half, as in SQuAD's scripts.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from tokenizers import Tokenizer

from alignmlm.data.text import normalise
from alignmlm.evaluation.examples.pair_classification import TokenText, token_texts
from alignmlm.evaluation.examples.rendering import (
    Example,
    Predictions,
    RenderedSplit,
    RenderedWords,
    Renderer,
)
from alignmlm.evaluation.examples.words import TextWords, placed_words, text_words, written
from alignmlm.tasks.examples import Answer, Question
from alignmlm.tasks.kinds import TaskKind
from alignmlm.tasks.metrics import Metric, Scored

LONGEST_ANSWER_TOKENS = 30  # as in the SQuAD scripts of BERT and transformers


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
    """A question as words; an answer becomes all words that it touches."""
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
    """The question as text, with the text and first character of each answer."""
    text, starts = written(question.context)
    words = question.context.words
    spans = [
        (starts[first], starts[stop - 1] + len(words[stop - 1])) for first, stop in question.answers
    ]
    answers = tuple(Answer(text[start:stop], start) for start, stop in spans)
    return Question(text, written(question.question)[0], answers, question.id)


@dataclass(frozen=True, slots=True)
class QuestionText:
    """A split of questions as base tokens."""

    questions: list[Question]
    words: list[QuestionWords]
    contexts: list[TokenText]
    asked: list[TokenText]
    widened: int  # answers that were widened to whole words


@dataclass(frozen=True, slots=True)
class AskedDocument:
    """A question in a language, with what is needed to decode its answers."""

    words: QuestionWords
    golds: tuple[str, ...]
    word_of_token: Int[np.ndarray, " token"]  # of the context


@dataclass(frozen=True, slots=True)
class RenderedQuestions(RenderedSplit):
    """Rows of questions, and the questions by their place in the split."""

    documents: dict[int, AskedDocument]


def numbered_questions(
    questions: list[Question], tokenizer: Tokenizer, unk: int, language: str
) -> QuestionText:
    """Questions of a base language with the tokens of their words."""
    as_words = [question_words(question, language) for question in questions]
    words = [one.question for one in as_words]
    contexts, asked = (
        token_texts([getattr(one, side) for one in words], tokenizer, unk)
        for side in ("context", "question")
    )
    return QuestionText(
        questions, words, contexts, asked, sum(one.answers_widened for one in as_words)
    )


def words_of(text: TokenText, renderer: Renderer, counts: Counter[str]) -> RenderedWords:
    """The words of a text in a language."""
    return renderer.words(text.text.words, text.tokens, text.text.sentence_lengths_words, counts)


def answer_texts(words: QuestionWords, original: Question, order: str) -> tuple[str, ...]:
    """The gold answers, normalised: as given if no word moved, else as words in the new order."""
    if not order:
        return tuple(normalise(answer.text) for answer in original.answers)
    return tuple(answer.text for answer in question_text(words).answers)


def word_numbers(ids: list[Int[np.ndarray, " _"]]) -> Int[np.ndarray, " token"]:
    """The number of the word that each token belongs to."""
    return np.repeat(np.arange(len(ids)), [len(word) for word in ids])


def window_starts(tokens: int, room: int) -> list[int]:
    """First tokens of the windows that cover a context, each overlapping the next by half."""
    last = max(0, tokens - room)
    return [*range(0, last, max(1, room // 2)), last]


def answer_place(
    answer: tuple[int, int], word_of_token: Int[np.ndarray, " token"]
) -> tuple[int, int]:
    """The first and the last token of an answer, given as a run of words."""
    first, after = np.searchsorted(word_of_token, answer).tolist()
    return first, after - 1


def windows(
    context: list[int], asked: list[int], answer: tuple[int, int], renderer: Renderer, seq_len: int
) -> list[tuple[list[int], tuple[int, int], int, int]]:
    """For each window: row, answer's first and last token, context's start in the row and offset.

    The offset is the number of context tokens before the window. In a window that lacks any part of
    the answer, the answer is <s>, at 0.
    """
    room = seq_len - 2 - renderer.separators - len(asked)
    rows = []
    for start in window_starts(len(context), room):
        row, second = renderer.pair(asked, context[start : start + room])
        inside = start <= answer[0] and answer[1] < start + room
        at = second - start
        rows.append((row, (answer[0] + at, answer[1] + at) if inside else (0, 0), second, start))
    return rows


def question_rows(text: QuestionText, renderer: Renderer, seq_len: int) -> RenderedQuestions:
    """The questions in one language of a model; those without a contiguous answer are dropped.

    Counts answers_widened, answers_torn, questions_dropped, questions_cut (to half a row) and
    windows.
    """
    names = ("answers_torn", "questions_dropped", "questions_cut")
    most_asked = min(seq_len // 2, seq_len - 3 - renderer.separators)  # leaves a token of context
    counts: Counter[str] = Counter({"answers_widened": text.widened, **dict.fromkeys(names, 0)})
    examples: list[Example] = []
    documents: dict[int, AskedDocument] = {}
    each = zip(text.questions, text.words, text.contexts, text.asked, strict=True)
    for number, (original, words, context_text, asked_text) in enumerate(each):
        context, asked = (words_of(t, renderer, counts) for t in (context_text, asked_text))
        moved = moved_question(words, context.order, asked.order)
        counts["answers_torn"] += len(words.answers) - (len(moved.answers) if moved else 0)
        if moved is None:
            counts["questions_dropped"] += 1
            continue
        of_token = word_numbers(context.ids)
        answer, shown = answer_place(moved.answers[0], of_token), asked.flat()
        counts["questions_cut"] += len(shown) > most_asked
        rows = windows(context.flat(), shown[:most_asked], answer, renderer, seq_len)
        examples += [
            Example(row, place, renderer.number, number, second, start)
            for row, place, second, start in rows
        ]
        golds = answer_texts(moved, original, renderer.reorderer.order)
        documents[number] = AskedDocument(moved, golds, of_token)
    return RenderedQuestions(examples, dict(counts) | {"windows": len(examples)}, documents)


def best_span(
    starts: Float[np.ndarray, " token"], ends: Float[np.ndarray, " token"]
) -> tuple[float, int, int]:
    """The highest start + end score of any span of an allowed length, and that span's positions."""
    sums = starts[:, None] + ends[None, :]
    allowed = np.triu(np.ones_like(sums, bool)) & ~np.triu(
        np.ones_like(sums, bool), LONGEST_ANSWER_TOKENS
    )
    place = int(np.where(allowed, sums, -np.inf).argmax())
    first, last = divmod(place, len(ends))
    return float(sums[first, last]), first, last


def answered_text(document: AskedDocument, first_token: int, last_token: int) -> str:
    """The text of the context from the word of the first token to that of the last."""
    first, last = document.word_of_token[[first_token, last_token]].tolist()
    return question_text(replace(document.words, answers=((first, last + 1),))).answers[0].text


def scored_questions(
    rendered: RenderedSplit, predictions: Predictions, labels: list[str], metric: Metric
) -> list[Scored]:
    """The answer to each question: of all its windows, the span with the highest score."""
    if not isinstance(rendered, RenderedQuestions):
        raise TypeError(f"questions are rendered with their documents, not as {type(rendered)}")
    best: dict[int, tuple[float, int, int]] = {}
    for example, outputs in predictions:
        inside = slice(example.second, len(example.input_ids) - 1)
        score, *span = best_span(*(outputs[f"{side}_logits"][inside] for side in ("start", "end")))
        first, last = (token + example.offset_tokens for token in span)
        if score > best.get(example.document, (-np.inf,))[0]:
            best[example.document] = score, first, last
    scored = []
    for number, (_, first, last) in best.items():
        document = rendered.documents[number]
        answer = answered_text(document, first, last)
        gained = [metric.gained([gold], [answer])[0] for gold in document.golds]
        nearest = document.golds[int(np.argmax(gained))]
        scored.append(Scored(number, [nearest], [answer], max(gained), 1.0))
    return scored


def question_details(examples: Sequence[Question], metric: Metric) -> Counter[str]:
    """The numbers of distinct contexts and of answers."""
    contexts = len({example.context for example in examples})
    return Counter(contexts=contexts, answers=sum(len(example.answers) for example in examples))


QUESTION_ANSWERING = TaskKind(
    example=Question,
    details=question_details,
    model="AutoModelForQuestionAnswering",
    as_tokens=lambda task, examples, labels, tokenizer, export: numbered_questions(
        examples, tokenizer, export.vocabulary.unk, task.language
    ),
    rows=question_rows,
    scored=scored_questions,
)
