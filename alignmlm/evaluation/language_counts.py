"""Counts of what a model's languages do to the examples of a task, before any training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.evaluation.evaluated_model import Export
from alignmlm.evaluation.examples.rendering import Trees, renderer_of, reorderer_of, trees_of
from alignmlm.evaluation.retrieval import text_rows
from alignmlm.evaluation.settings import SyntaxConfig
from alignmlm.languages.language import base_of, parse_language
from alignmlm.tasks.examples import labels_of
from alignmlm.tasks.formats import read_split
from alignmlm.tasks.kinds import KINDS
from alignmlm.tasks.metrics import METRICS
from alignmlm.tasks.spans import closed_tags
from alignmlm.tasks.task import Task, found_file

Tools = tuple[SyntaxConfig, Trees]  # what syntax languages need


def labels_in(task: Task, examples: Sequence[Any]) -> list[str]:
    """The labels of a task and of some examples."""
    labels = sorted({label for example in examples for label in labels_of(example)})
    closed = closed_tags(labels) if METRICS[task.metric].entities else ()
    return sorted({*task.labels, *labels, *closed})


def counts_in(
    export: Export, language: str, task: Task, examples: list[Any], tools: Tools
) -> dict[str, int]:
    """Counts of what happens to the examples of a task in a language."""
    tokenizer = load_tokenizer(export.path)
    kind = KINDS[task.kind]
    if not kind.model:
        texts = [example.source for example in examples]
        return text_rows(export, language, texts, tokenizer, tools)[1]
    tokens = kind.as_tokens(task, examples, labels_in(task, examples), tokenizer, export)
    renderer = renderer_of(export, language, reorderer_of(export, language, *tools))
    counts: dict[str, int] = kind.rows(tokens, renderer, export.seq_len).counts
    return counts


def fitting_languages(export: Export, task: Task, asked: Sequence[str] | None) -> list[str]:
    """The languages asked for, or all of a model's whose base is the task's language.

    Raises:
        ConfigError: an unknown language id, or one that the model lacks.
    """
    for name in asked or ():
        parse_language(name)
        export.number_of(name)
    return [name for name in asked or export.languages if base_of(name) == task.language]


def language_counts(
    export: Export,
    task: Task,
    sample_folder: Path,
    languages: Sequence[str] | None = None,
    syntax: SyntaxConfig = SyntaxConfig(),  # noqa: B008 - frozen
) -> dict[str, dict[str, int]]:
    """Counts of what happens to the test examples of a task in each language of a model.

    Raises:
        ConfigError: an unknown language id, one that the model lacks, or a syntax order without
            its models or a parser.
        DataError: the files or the model's tokenizer are missing or damaged.
    """
    file = found_file(task, "test", sample_folder)
    examples, fitting = read_split(file).examples, fitting_languages(export, task, languages)
    trees = trees_of([file], fitting, syntax)
    return {
        name: {"examples": len(examples)} | counts_in(export, name, task, examples, (syntax, trees))
        for name in fitting
    }
