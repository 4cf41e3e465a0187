"""The files of a task as examples, and as tokens and label numbers of a model."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import xxhash

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
from alignmlm.languages.language import parse_language
from alignmlm.languages.orders import is_syntax
from alignmlm.tasks.examples import Example, SplitFile, texts_of
from alignmlm.tasks.formats import FORMATS
from alignmlm.tasks.kinds import KINDS, TaskKind
from alignmlm.tasks.task import Task, TaskExamples


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


def trees_of(files: Iterable[SplitFile], languages: Iterable[str], syntax: SyntaxConfig) -> Trees:
    """Gold trees of files that have them, and a parser where one is named.

    Nothing is read where none of the languages needs trees: heads may then be missing.
    """
    if not any(is_syntax(parse_language(name).order) for name in languages):
        return Trees()
    gold = gold_trees(file.file for file in files if FORMATS[file.form].trees)
    return Trees(gold, parser_of(syntax.parser) if syntax.parser else None)


def task_data(
    export: Export, source: TaskExamples, tested: TaskExamples, config: EvaluationConfig
) -> dict[str, TaskData]:
    """The source and the tested task as tokens and numbers of the source's labels, by name."""
    tokenizer, labels = read_tokenizer(export.path), source.labels
    by_name = {one.task.name: one for one in (source, tested)}
    files = [file for one in by_name.values() for file in one.files.values()]
    trees = trees_of(files, export.languages, config.syntax)
    data: dict[str, TaskData] = {}
    for name, one in by_name.items():
        task, as_tokens = one.task, KINDS[one.task.kind].as_tokens
        limited = {split: part.examples[: config.limit] for split, part in one.splits.items()}
        data[name] = TaskData(
            export,
            task,
            labels,
            {k: as_tokens(task, part, labels, tokenizer, export) for k, part in limited.items()},
            {k: [document_of(e, n) for n, e in enumerate(part)] for k, part in limited.items()},
            len(one.splits["test"].examples),
            config.syntax,
            trees,
        )
    return data
