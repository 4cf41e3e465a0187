"""The files of a task as examples, and as tokens and label numbers of a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.checkpoint import read_tokenizer
from alignmlm.evaluation.directions import Direction
from alignmlm.evaluation.evaluation_config import EvaluationConfig
from alignmlm.evaluation.export import Export
from alignmlm.evaluation.reordering import Trees, gold_trees, parser_of
from alignmlm.evaluation.task_text import document_of, task_text
from alignmlm.evaluation.transfer import TaskData
from alignmlm.languages.orders import is_syntax
from alignmlm.tasks.forms import read_split
from alignmlm.tasks.task import SPLITS, Task, split_files
from alignmlm.tasks.validate import task_labels


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
