"""The files of a task as examples, and as tokens and label numbers of a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash
from tokenizers import Tokenizer

from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.directions import Direction
from alignmlm.evaluation.evaluated_model import Export, read_tokenizer
from alignmlm.evaluation.examples.pair_rows import PairText, numbered_pairs, pair_rows
from alignmlm.evaluation.examples.question_rows import (
    QuestionText,
    numbered_questions,
    question_rows,
)
from alignmlm.evaluation.examples.rendering import (
    Rendered,
    Renderer,
    Trees,
    gold_trees,
    parser_of,
    renderer_of,
    reorderer_of,
)
from alignmlm.evaluation.examples.token_rows import LabelledText, numbered, sentence_rows
from alignmlm.evaluation.settings import EvaluationConfig, SyntaxConfig
from alignmlm.languages.orders import is_syntax
from alignmlm.tasks.examples import Example, texts_of
from alignmlm.tasks.forms import read_split
from alignmlm.tasks.task import SPLITS, Task, split_files
from alignmlm.tasks.validate import task_labels

TaskText = LabelledText | PairText | QuestionText
ROWS: dict[str, Callable[[Any, Renderer, int], Rendered]] = {
    "token_classification": sentence_rows,
    "pair_classification": pair_rows,
    "question_answering": question_rows,
}


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task's splits as base tokens, ready for any language of a model."""

    task: Task
    labels: list[str]  # none of questions
    splits: dict[str, TaskText]
    documents: dict[str, list[tuple[str, str]]]  # id and hash of each example of a split
    test_examples: int  # in the file, of which there may be a limit
    syntax: SyntaxConfig = field(default_factory=SyntaxConfig)
    trees: Trees = field(default_factory=Trees)

    def rendered(self, export: Export, language: str, split: str) -> Rendered:
        """A split in a language of a model."""
        reorderer = reorderer_of(export, language, self.syntax, self.trees)
        renderer = renderer_of(export, language, reorderer)
        return ROWS[self.task.kind](self.splits[split], renderer, export.seq_len)


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


def doc_hash(text: str) -> str:
    """The hash of one example's text."""
    return xxhash.xxh3_64_hexdigest(text.encode())


def document_of(example: Example, place: int) -> tuple[str, str]:
    """The id of an example, or its index, and the hash of its text."""
    return example.id or str(place), doc_hash("\n".join(texts_of(example)))


def check_trainable(task: Task, selection: str) -> None:
    """Raise unless a task can be fine-tuned on.

    Raises:
        ConfigError: it lacks a training split, or the development split that the selection needs.
    """
    needed = ("train", "dev") if selection == "source_dev" else ("train",)
    if missing := [split for split in needed if split not in task.files]:
        requirement = f"name {', '.join(missing)} too, to fine-tune on"
        raise ConfigError(f"task {task.name}: files", sorted(task.files), requirement)


def read_examples(task: Task, config: EvaluationConfig) -> tuple[dict[str, Any], list[str]]:
    """All examples of each split, and the task's labels.

    Raises:
        DataError: a split cannot be read, or has labels that others lack.
    """
    files = split_files(task, Path(config.sample_folder))
    splits = {split: read_split(files[split]) for split in SPLITS if split in files}
    return {split: read.examples for split, read in splits.items()}, task_labels(task, splits)


def task_trees(export: Export, tasks: Sequence[Task], config: EvaluationConfig) -> Trees:
    """Gold trees of CoNLL-U files and a parser for other sentences, if a language needs trees."""
    if not any(is_syntax(language.order) for language in export.parsed_languages()):
        return Trees()
    treebanks = [
        file.file
        for task in tasks
        for file in split_files(task, Path(config.sample_folder)).values()
        if file.form == "conllu_upos"
    ]
    parser = config.syntax.parser
    return Trees(gold_trees(treebanks), parser_of(parser) if parser else None)


def check_labels(task: Task, labels: Sequence[str], known: Sequence[str], source: Task) -> None:
    """Raise unless a model fine-tuned on one task can predict the labels of another.

    Raises:
        DataError: it cannot.
    """
    if unknown := sorted(set(labels).difference(known)):
        raise DataError(
            f"task {task.name} has labels that {source.name}, which is fine-tuned on, lacks: "
            f"{unknown}"
        )


def task_data(
    export: Export, direction: Direction, config: EvaluationConfig
) -> dict[str, TaskData]:
    """The source and the target task as tokens and label numbers, by name.

    Raises:
        ConfigError: the source task cannot be fine-tuned on.
        DataError: a split cannot be read, or has labels that others lack.
    """
    source, task = direction.source_task, direction.task
    check_trainable(source, config.finetune.selection)
    tokenizer = read_tokenizer(export.path)
    trees = task_trees(export, [source, task], config)
    by_name: dict[str, TaskData] = {}
    known: list[str] = []
    for one in dict.fromkeys([source.name, task.name]):
        now = source if one == source.name else task
        examples, labels = read_examples(now, config)
        known = known or labels
        check_labels(now, labels, known, source)
        limited = {split: part[: config.limit] for split, part in examples.items()}
        by_name[one] = TaskData(
            now,
            known,
            {k: task_text(now, part, known, tokenizer, export) for k, part in limited.items()},
            {k: [document_of(e, n) for n, e in enumerate(part)] for k, part in limited.items()},
            len(examples["test"]),
            config.syntax,
            trees,
        )
    return by_name
