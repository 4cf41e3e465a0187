"""Extractive questions: SQuAD's JSON, and tables."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from alignmlm.data.text import normalise
from alignmlm.errors import DataError, quoted
from alignmlm.storage.cells import as_label, as_list, as_number, as_object, as_text, cell
from alignmlm.storage.plain_data import parse_json
from alignmlm.storage.text import whole_text
from alignmlm.tasks.examples import Answer, Question, SplitFile
from alignmlm.tasks.tables import row_id, table_rows

SQUAD_FORM = "SQuAD's JSON is {data: [{paragraphs: [{context, qas: [{id, question, answers}]}]}]}"


def checked_answer(text: str, start: int, context: str, place: str) -> Answer:
    """An answer, checked to occur at its offset.

    Raises:
        DataError: it is empty, or its context has another text there.
    """
    if not normalise(text):
        raise DataError(f"{place} has an empty answer; a test set without answers cannot be scored")
    actual = context[start : start + len(text)] if start >= 0 else ""
    if actual != text:
        where = context.find(text)
        hint = f"it stands at {where}" if where >= 0 else "the context does not have it"
        raise DataError(
            f"{place}: answer {quoted(text)} is not at {start}, where {quoted(actual)} is; {hint}"
        )
    return Answer(text, start)


def answers_of(texts: list[Any], starts: list[Any], context: str, place: str) -> tuple[Answer, ...]:
    """Answers in a context, without repeats.

    Raises:
        DataError: there are more or fewer starts than texts, or an answer is not in its context.
    """
    if len(texts) != len(starts):
        raise DataError(f"{place}: {len(texts)} answers, but {len(starts)} values of answer_start")
    answers = [
        checked_answer(
            as_text(text, "an answer", place),
            as_number(start, "answer_start", place),
            context,
            place,
        )
        for text, start in zip(texts, starts, strict=True)
    ]
    return tuple(dict.fromkeys(answers))


def member(raw: object, key: str, place: str) -> Any:
    """A value of SQuAD's JSON.

    Raises:
        DataError: there is no such value.
    """
    if not isinstance(raw, Mapping) or key not in raw:
        value = sorted(raw) if isinstance(raw, Mapping) else type(raw).__name__
        raise DataError(f"{place} has no {key!r}, found {quoted(value)}: {SQUAD_FORM}")
    return raw[key]


def entries(raw: object, key: str, place: str) -> Iterator[tuple[str, Any]]:
    """Place and value of each entry of a list of SQuAD's JSON."""
    values = as_list(member(raw, key, place), key, place)
    return ((f"{place}, {key}[{number}]", value) for number, value in enumerate(values))


def squad_questions(data: object, path: str) -> Iterator[tuple[str, Any, str]]:
    """Place and value of each question of SQuAD's JSON, and its context."""
    for place, article in entries(data, "data", path):
        for inner, paragraph in entries(article, "paragraphs", place):
            context = as_text(member(paragraph, "context", inner), "context", inner)
            for innermost, raw in entries(paragraph, "qas", inner):
                yield innermost, raw, context


def question_of(raw: object, context: str, place: str) -> Question | None:
    """One entry of "qas" as a question; None where it has no answer.

    Raises:
        DataError: an answer is not in its context.
    """
    name = as_label(member(raw, "id", place), "id", place)
    here = f"{place}, question {quoted(name)}"
    answers = as_list(member(raw, "answers", here), "answers", here)
    if not answers or (isinstance(raw, Mapping) and raw.get("is_impossible")):
        return None
    asked = as_text(member(raw, "question", here), "question", here)
    texts, starts = (
        [member(answer, key, here) for answer in answers] for key in ("text", "answer_start")
    )
    return Question(context, asked, answers_of(texts, starts, context, here), name)


def squad_json(file: SplitFile, dropped: Counter[str]) -> Iterator[Question]:
    """Questions of a file in SQuAD's format; those without an answer are left out.

    Raises:
        DataError: the file has another form, or an answer is not in its context.
    """
    data = parse_json(whole_text(file.file), file.path)
    for place, raw, context in squad_questions(data, file.path):
        question = question_of(raw, context, place)
        if question is None:
            dropped["without answer"] += 1
        else:
            yield question


def question_table(file: SplitFile, dropped: Counter[str]) -> Iterator[Question]:
    """Rows with context, question, id, and answers as {text: [...], answer_start: [...]}.

    Raises:
        DataError: a row lacks a column, or an answer is not in its context.
    """
    for number, (place, row) in enumerate(table_rows(file)):
        context, question = (
            as_text(cell(row, file.column(role, role), place), role, place)
            for role in ("context", "question")
        )
        raw = as_object(cell(row, file.column("answers", "answers"), place), "answers", place)
        texts, starts = (
            as_list(cell(raw, key, f"{place}: answers"), key, place)
            for key in ("text", "answer_start")
        )
        answers = answers_of(texts, starts, context, place)
        if answers:
            yield Question(context, question, answers, row_id(row, file, number, place, "id"))
        else:
            dropped["without answer"] += 1
