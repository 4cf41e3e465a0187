"""Commands about evaluation: run, ls, validate."""

from argparse import ArgumentParser as PlainParser
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from alignmlm.errors import ConfigError
from alignmlm.terminal import console, new_table

if TYPE_CHECKING:
    from alignmlm.tasks.task import Task
    from alignmlm.tasks.validate import TaskReport

SPLITS = ("train", "dev", "test")


def eval_run(arguments: Sequence[str]) -> int:
    """Fine-tune on a task and measure BS, BZ and Delta; retrieve sentences and words without it."""
    from jsonargparse import ArgumentParser

    from alignmlm.devices import name_accelerator

    name_accelerator()
    from alignmlm.evaluation.evaluate import EvaluationConfig, evaluate
    from alignmlm.evaluation.results import result_rows, retrieval_rows
    from alignmlm.reporting.tables import retrieval_table, transfer_table

    parser = ArgumentParser(prog="alignmlm eval run", description=eval_run.__doc__)
    parser.add_argument("--model", type=str, required=True, help="a run, an export or a checkpoint")
    parser.add_argument("--tasks", nargs="+", default=["sample_pos"], help="see alignmlm eval ls")
    parser.add_argument("--output", type=str, help="folder of the results; none: in the run")
    parser.add_class_arguments(EvaluationConfig, "evaluation")
    values = parser.parse_args(list(arguments))
    config = parser.instantiate(values).evaluation
    output = Path(values.output) if values.output else None
    results = evaluate(Path(values.model), values.tasks, config, output)
    if transfers := result_rows(results):
        console.print(transfer_table(transfers))
    if retrievals := retrieval_rows(results):
        console.print(retrieval_table(retrievals))
    return 0


def eval_ls(arguments: Sequence[str]) -> int:
    """The tasks: kind, languages, metric and splits; with --counts, how many examples each has."""
    parser = PlainParser(prog="alignmlm eval ls", description=eval_ls.__doc__)
    parser.add_argument("tasks", nargs="*", help="names, groups or YAML files; none: all")
    parser.add_argument("--counts", action="store_true", help="read the files")
    add_sample_folder(parser)
    values = parser.parse_args(arguments)
    from alignmlm.tasks.validate import validate_task

    table = task_table("group", "kind", "language", "metric", "splits")
    for task in named_tasks(values.tasks):
        splits = " ".join(split for split in SPLITS if split in task.files)
        if values.counts:
            report = validate_task(task, values.sample_folder)
            counts = (f"{split} {found.examples:,}" for split, found in report.splits.items())
            splits = " ".join(counts) or f"unusable: {report.error}"
        languages = " ".join(filter(None, (task.language, task.other_language)))
        table.add_row(task.name, task.group, task.kind, languages, task.metric, splits)
    console.print(table)
    return 0


def eval_validate(arguments: Sequence[str]) -> int:
    """Check the data of tasks, and count what is in it; exit code 2 where a task is unusable."""
    parser = PlainParser(prog="alignmlm eval validate", description=eval_validate.__doc__)
    parser.add_argument("tasks", nargs="*", help="names, groups or YAML files; none: all")
    add_sample_folder(parser)
    parser.add_argument("--model", type=Path, help="also render the test split in its languages")
    parser.add_argument("--languages", nargs="+", help="of the model; none: all that fit the task")
    parser.add_argument("--models", help="folder of the ordering models of syntax languages")
    parser.add_argument("--parser", help="of sentences without a gold tree")
    values = parser.parse_args(arguments)
    if values.languages and not values.model:
        raise ConfigError("--languages", values.languages, "come with --model")
    from alignmlm.tasks.validate import validate_task

    rows = task_table("split", "examples", "words", "longest", "labels", "remarks")
    unusable = 0
    for task in named_tasks(values.tasks):
        report = validate_task(task, values.sample_folder)
        unusable += bool(report.error)
        for row in report_rows(report):
            rows.add_row(*row)
        if values.model and not report.error:
            for row in changed_rows(task, values):
                rows.add_row(*row)
    console.print(rows)
    return 2 if unusable else 0


def task_table(*columns: str) -> Table:
    """A table whose first column is the whole name of a task."""
    table = new_table()
    table.add_column("task", no_wrap=True)
    for name in columns:
        numbers = name in ("examples", "words", "longest", "labels")
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    return table


def add_sample_folder(parser: PlainParser) -> None:
    """Where the sample world's tasks are made."""
    folder = Path("data/sample_tasks")
    parser.add_argument("--sample-folder", type=Path, default=folder, help="of the sample tasks")


def named_tasks(names: Sequence[str]) -> "list[Task]":
    """The tasks of some names, groups and files; all that come with alignmlm where none is given.

    Raises:
        ConfigError: no such task.
    """
    from alignmlm.tasks.task import load_tasks, task_names

    return [task for name in names or task_names() for task in load_tasks(name)]


def told(counts: Mapping[str, int]) -> str:
    """Counts that are not 0, as words."""
    return ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items() if n)


def report_rows(report: "TaskReport") -> list[list[str]]:
    """A row for each split of a task, or one that says why it cannot be used."""
    name = report.task.name
    if report.error:
        return [[name, "", "", "", "", "", f"[bold red]{escape(report.error)}[/]"]]
    rows = []
    for split, found in report.splits.items():
        repeats = {"with the texts of another": found.same_text, "also in train": found.in_train}
        left_out = {f"left out ({reason})": n for reason, n in found.dropped.items()}
        numbers = [f"{n:,}" for n in (found.examples, found.words, found.longest_words)]
        remarks = told({**found.details, **left_out, **repeats})
        rows.append([name, split, *numbers, str(len(found.labels) or ""), remarks])
    return rows


def changed_rows(task: "Task", values: Namespace) -> list[list[str]]:
    """A row for each language that a model has the test split of a task in."""
    from alignmlm.evaluation.changed import language_counts
    from alignmlm.evaluation.export import open_export
    from alignmlm.evaluation.reordering import SyntaxConfig

    syntax = SyntaxConfig(models=values.models, parser=values.parser)
    export = open_export(values.model)
    counts = language_counts(export, task, values.sample_folder, values.languages, syntax)
    return [
        [task.name, language, f"{found.pop('examples'):,}", "", "", "", told(found)]
        for language, found in counts.items()
    ]
