"""A split of any kind of task as base tokens, and as rows of a model in one of its languages."""

from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import Tokenizer

from alignmlm.evaluation.export import Export
from alignmlm.evaluation.labelled import LabelledText, numbered, sentence_rows
from alignmlm.evaluation.pair_rows import PairText, numbered_pairs, pair_rows
from alignmlm.evaluation.question_rows import QuestionText, numbered_questions, question_rows
from alignmlm.evaluation.rendering import Renderer
from alignmlm.evaluation.rows import Rendered
from alignmlm.evaluation.samples import doc_hash
from alignmlm.tasks.examples import Example, texts_of
from alignmlm.tasks.task import Task

TaskText = LabelledText | PairText | QuestionText
ROWS: dict[str, Callable[[Any, Renderer, int], Rendered]] = {
    "token_classification": sentence_rows,
    "pair_classification": pair_rows,
    "question_answering": question_rows,
}


def task_text(
    task: Task, examples: Sequence[Any], labels: list[str], tokenizer: Tokenizer, export: Export
) -> TaskText:
    """The examples of a task for fine-tuning, as tokens and numbers."""
    if task.kind == "token_classification":
        entities = task.metric == "entity_f1"
        return numbered(list(examples), tokenizer, export.vocabulary, labels, entities)
    unk = export.vocabulary.unk
    if task.kind == "pair_classification":
        return numbered_pairs(list(examples), tokenizer, unk, task.language, labels)
    return numbered_questions(list(examples), tokenizer, unk, task.language)


def document_of(example: Example, place: int) -> tuple[str, str]:
    """The id of an example, or its index, and the hash of its text."""
    return example.id or str(place), doc_hash("\n".join(texts_of(example)))
