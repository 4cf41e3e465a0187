"""Questions whose answers are parts of a context: SQuAD's JSON, and rows."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from alignmlm.errors import DataError
from alignmlm.storage.compression import damage_named, open_text
from alignmlm.tasks.examples import Answer, Question
from alignmlm.tasks.splits import SplitFile
from alignmlm.tasks.tables import cell, table_rows

SQUAD_FORM = "SQuAD's JSON is {data: [{paragraphs: [{context, qas: [{id, question, answers}]}]}]}"


def checked_answer(text: str, start: int, context: str, place: str) -> Answer:
    """An answer that stands where it says.

    Raises:
        DataError: it is empty, or its context has another text there.
    """
    if not text:
        raise DataError(f"{place} has an empty answer; a test set without answers cannot be scored")
    found = context[start : start + len(text)] if start >= 0 else ""
    if found != text:
        where = context.find(text)
        hint = f"it stands at {where}" if where >= 0 else "the context does not have it"
        raise DataError(f"{place}: answer {text!r} is not at {start}, where {found!r} is; {hint}")
    return Answer(text, start)


def question_of(raw: dict[str, Any], context: str, path: str) -> Question:
    """One entry of "qas"; answers that stand twice are kept once.

    Raises:
        DataError: an answer is not in its context.
    """
    place = f"{path}: question {raw['id']!r}"
    answers = [
        checked_answer(str(a["text"]), int(a["answer_start"]), context, place)
        for a in raw["answers"]
    ]
    return Question(context, str(raw["question"]), tuple(dict.fromkeys(answers)), str(raw["id"]))


def squad_entries(path: str, data: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Each question of SQuAD's JSON and its context."""
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            for raw in paragraph["qas"]:
                yield raw, str(paragraph["context"])


def squad_json(file: SplitFile, dropped: Counter[str]) -> Iterator[Question]:
    """Questions of a file of SQuAD's form; those that it says have no answer are left out.

    Raises:
        DataError: the file has another form, or an answer is not in its context.
    """
    try:
        with damage_named(file.file), open_text(file.file) as text:
            data = json.load(text)
        for raw, context in squad_entries(file.path, data):
            if raw.get("is_impossible") or not raw["answers"]:
                dropped["without answer"] += 1
            else:
                yield question_of(raw, context, file.path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file.path}: {SQUAD_FORM}: {error!r}") from error


def question_table(file: SplitFile, dropped: Counter[str]) -> Iterator[Question]:
    """Rows with context, question, id, and answers as {text: [...], answer_start: [...]}.

    Raises:
        DataError: a row lacks a column, or an answer is not in its context.
    """
    for number, (place, row) in enumerate(table_rows(file)):
        context, question, answers = (
            cell(row, file.column(role, role), place) for role in ("context", "question", "answers")
        )
        if not isinstance(answers, dict) or not {"text", "answer_start"} <= answers.keys():
            raise DataError(f"{place}: answers are {{text, answer_start}}, found {answers!r}")
        found = [
            checked_answer(str(text), int(start), context, place)
            for text, start in zip(answers["text"], answers["answer_start"], strict=True)
        ]
        if found:
            name = str(row.get(file.column("id", "id"), number))
            yield Question(context, question, tuple(dict.fromkeys(found)), name)
        else:
            dropped["without answer"] += 1
