"""The files of a task as examples, and as tokens and label numbers of a model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.evaluated_model import Export, read_tokenizer
from alignmlm.evaluation.examples.rendering import (
    Rendered,
    Trees,
    gold_trees,
    parser_of,
    renderer_of,
    reorderer_of,
)
from alignmlm.evaluation.settings import EvaluationConfig, SyntaxConfig
from alignmlm.languages.orders import is_syntax
from alignmlm.tasks.examples import Example, texts_of
from alignmlm.tasks.formats import FORMATS, read_split
from alignmlm.tasks.kinds import KINDS, TaskKind
from alignmlm.tasks.task import SPLITS, Task, split_files
from alignmlm.tasks.validate import task_labels


@dataclass(frozen=True, slots=True)
class Direction:
    """From the training split of one task in one language to the test split of another."""

    source_task: Task
    source: str
    task: Task
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task's splits as base tokens, ready for any language of a model."""

    export: Export
    task: Task
    labels: list[str]  # none of questions
    splits: dict[str, Any]  # what the task's kind makes of the examples, see TaskKind.as_tokens
    documents: dict[str, list[tuple[str, str]]]  # id and hash of each example of a split
    test_examples: int  # in the file, of which there may be a limit
    syntax: SyntaxConfig = field(default_factory=SyntaxConfig)
    trees: Trees = field(default_factory=Trees)
    known: dict[tuple[str, str], Rendered] = field(default_factory=dict)  # by language and split

    @property
    def kind(self) -> TaskKind:
        """The task's kind."""
        return KINDS[self.task.kind]

    def rendered(self, language: str, split: str) -> Rendered:
        """A split in a language of the model; made once."""
        if (language, split) not in self.known:
            reorderer = reorderer_of(self.export, language, self.syntax, self.trees)
            renderer = renderer_of(self.export, language, reorderer)
            tokens, seq_len = self.splits[split], self.export.seq_len
            self.known[language, split] = self.kind.rows(tokens, renderer, seq_len)
        return self.known[language, split]


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
        if FORMATS[file.form].trees
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
    tokenizer, as_tokens = read_tokenizer(export.path), KINDS[task.kind].as_tokens
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
            export,
            now,
            known,
            {k: as_tokens(now, part, known, tokenizer, export) for k, part in limited.items()},
            {k: [document_of(e, n) for n, e in enumerate(part)] for k, part in limited.items()},
            len(examples["test"]),
            config.syntax,
            trees,
        )
    return by_name
