"""Commands about evaluation: run, ls, validate."""

from argparse import ArgumentParser as PlainParser
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from alignmlm.errors import ConfigError
from alignmlm.terminal import WholeTable, console, new_table, print_json, print_line

if TYPE_CHECKING:
    from alignmlm.tasks.task import Task
    from alignmlm.tasks.validate import TaskReport

SPLITS = ("train", "dev", "test")
UNUSABLE_EXIT_CODE = 2
PARTIAL_EXIT_CODE = 3  # some tasks were measured, others could not be
LanguageCounts = dict[str, dict[str, int]]  # of a task's test split, by language


def eval_run(arguments: Sequence[str]) -> int:
    """Fine-tune on a task and measure BS, BZ and Delta; retrieve sentences and words without it."""
    from alignmlm.devices import name_accelerator

    name_accelerator()
    from alignmlm.config import add_settings, parse_settings, settings_parser
    from alignmlm.evaluation.evaluate import evaluate
    from alignmlm.evaluation.evaluation_config import EvaluationConfig
    from alignmlm.evaluation.results import result_rows, retrieval_rows
    from alignmlm.reporting.tables import retrieval_table, transfer_table
    from alignmlm.storage.typed_settings import build, setting_hints

    parser = settings_parser(prog="alignmlm eval run", description=eval_run.__doc__)
    parser.add_argument("--model", type=str, required=True, help="a run, an export or a checkpoint")
    parser.add_argument("--tasks", nargs="+", default=["sample_pos"], help="see alignmlm eval ls")
    parser.add_argument("--output", type=str, help="folder of the results; none: in the run")
    parser.add_argument("--json", action="store_true", help="results.json instead of tables")
    add_settings(parser, EvaluationConfig, "evaluation.")
    hints = dict(setting_hints(EvaluationConfig, "evaluation."))
    (place, settings), values = parse_settings(parser, arguments, hints)
    config = build(EvaluationConfig, (place, settings.get("evaluation", {})), prefix="evaluation.")
    output = Path(values.output) if values.output else None
    results = evaluate(Path(values.model), values.tasks, config, output)
    skipped = results.get("skipped", {})
    if values.json:
        print_json(results)
        return PARTIAL_EXIT_CODE if skipped else 0
    if transfers := result_rows(results):
        console.print(transfer_table(transfers))
    if retrievals := retrieval_rows(results):
        console.print(retrieval_table(retrievals))
    show_skipped(skipped)
    return PARTIAL_EXIT_CODE if skipped else 0


def show_skipped(reasons: Mapping[str, str]) -> None:
    """A line for each task that was not measured, with the reason."""
    for name, reason in reasons.items():
        print_line(Text(f"{name} was not measured: {reason}", "bold red"))


def eval_ls(arguments: Sequence[str]) -> int:
    """The tasks: kind, languages, metric and splits; with --counts, how many examples each has."""
    parser = PlainParser(prog="alignmlm eval ls", description=eval_ls.__doc__)
    parser.add_argument("tasks", nargs="*", help="names, groups or YAML files; none: all")
    parser.add_argument("--counts", action="store_true", help="read the files")
    add_sample_folder(parser)
    add_json(parser)
    values = parser.parse_args(arguments)
    from alignmlm.tasks.validate import validate_task

    tasks = named_tasks(values.tasks)
    reports = [validate_task(t, values.sample_folder) for t in tasks] if values.counts else []
    if values.json:
        counts = {report.task.name: report_json(report) for report in reports}
        print_json([task.settings() | counts.get(task.name, {}) for task in tasks])
        return 0
    table = task_table("group", "kind", "language", "metric", "splits")
    for number, task in enumerate(tasks):
        splits = " ".join(split for split in SPLITS if split in task.files)
        if values.counts:
            found = reports[number].splits
            splits = " ".join(f"{split} {part.examples:,}" for split, part in found.items())
        languages = " ".join(filter(None, (task.language, task.other_language)))
        row = (task.name, task.group, task.kind, languages, task.metric, splits or "unusable")
        table.add_row(*row)
    console.print(table)
    show_unusable(reports)
    return 0


def eval_validate(arguments: Sequence[str]) -> int:
    """Check the data of tasks, and count what is in it; exit code 2 where a task is unusable."""
    parser = PlainParser(prog="alignmlm eval validate", description=eval_validate.__doc__)
    parser.add_argument("tasks", nargs="*", help="names, groups or YAML files; none: all")
    add_sample_folder(parser)
    add_json(parser)
    parser.add_argument("--model", type=Path, help="also render the test split in its languages")
    parser.add_argument("--languages", nargs="+", help="of the model; none: all that fit the task")
    add_syntax(parser)
    values = parser.parse_args(arguments)
    if values.languages and not values.model:
        raise ConfigError("--languages", values.languages, "come with --model")
    from alignmlm.tasks.validate import validate_task

    tasks = named_tasks(values.tasks)
    reports = [validate_task(task, values.sample_folder) for task in tasks]
    usable = [report for report in reports if not report.error]
    changes = {r.task.name: changed_counts(r.task, values) for r in usable if values.model}
    if values.json:
        print_json(
            [
                {"task": r.task.name, **report_json(r), "languages": changes.get(r.task.name, {})}
                for r in reports
            ]
        )
    else:
        show_reports(usable, changes)
        show_unusable(reports)
    return UNUSABLE_EXIT_CODE if len(usable) < len(reports) else 0


def show_reports(reports: "Sequence[TaskReport]", changes: Mapping[str, LanguageCounts]) -> None:
    """A table with a row for each split of each task, and for each language of a model."""
    table = task_table("split", "examples", "words", "longest", "labels", "remarks")
    for report in reports:
        name = report.task.name
        for row in report_rows(report):
            table.add_row(*row)
        for language, found in changes.get(name, {}).items():
            others = {key: count for key, count in found.items() if key != "examples"}
            table.add_row(name, language, f"{found['examples']:,}", "", "", "", told(others))
    console.print(table)


def show_unusable(reports: "Sequence[TaskReport]") -> None:
    """A line for each task that cannot be used, with the reason."""
    for report in reports:
        if report.error:
            print_line(Text(f"{report.task.name} is unusable: {report.error}", "bold red"))


def report_json(report: "TaskReport") -> dict[str, Any]:
    """What is in the splits of a task, or why it cannot be used."""
    return {
        "splits": {
            split: {name: getattr(found, name) for name in found.__slots__}
            for split, found in report.splits.items()
        },
        "error": report.error or None,
    }


def task_table(*columns: str) -> WholeTable:
    """A table whose first column is the name of a task."""
    table = new_table()
    for name in ("task", *columns):
        numbers = name in ("examples", "words", "longest", "labels")
        table.add_column(name, justify="right" if numbers else "left")
    return table


def add_json(parser: PlainParser) -> None:
    """The option that prints results for programs."""
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")


def add_syntax(parser: PlainParser) -> None:
    """Where the trees and the order of syntax languages come from."""
    parser.add_argument("--models", help="folder of the ordering models of syntax languages")
    parser.add_argument("--parser", help="of sentences without a gold tree")


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
    """A row for each split of a task."""
    rows = []
    for split, found in report.splits.items():
        repeats = {"with the texts of another": found.same_text, "also in train": found.in_train}
        left_out = {f"left out ({reason})": n for reason, n in found.dropped.items()}
        numbers = [f"{n:,}" for n in (found.examples, found.words, found.longest_words)]
        remarks = told({**found.details, **left_out, **repeats})
        rows.append([report.task.name, split, *numbers, str(len(found.labels) or ""), remarks])
    return rows


def changed_counts(task: "Task", values: Namespace) -> LanguageCounts:
    """What happens to the test split of a task in each language of a model."""
    from alignmlm.evaluation.changed import language_counts
    from alignmlm.evaluation.evaluation_config import SyntaxConfig
    from alignmlm.evaluation.export import open_export

    syntax = SyntaxConfig(models=values.models, parser=values.parser)
    export = open_export(values.model)
    return language_counts(export, task, values.sample_folder, values.languages, syntax)
