"""Commands about evaluation: run, ls, validate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from alignmlm.commands.options import PATH, as_json, command, models, parser, sample_folder
from alignmlm.config import Several, setting_options
from alignmlm.console.terminal import WholeTable, console, new_table, print_json, print_line
from alignmlm.errors import ConfigError, ExitCode
from alignmlm.evaluation.settings import EvaluationConfig, SyntaxConfig

if TYPE_CHECKING:
    from alignmlm.tasks.task import Task
    from alignmlm.tasks.validate import TaskReport

SPLITS = ("train", "dev", "test")
LanguageCounts = dict[str, dict[str, int]]  # of a task's test split, by language


@command("run", *setting_options("config", EvaluationConfig, "evaluation."))
@click.option("--model", type=PATH, required=True, help="A run, an export or a checkpoint.")
@click.option(
    "--tasks",
    cls=Several,
    default=("sample_pos",),
    metavar="TASK...",
    help="Names, groups or YAML files, see `alignmlm eval ls` (default: sample_pos).",
)
@click.option("--output", type=PATH, help="Folder of the results; none: in the run.")
@as_json
def eval_run(
    config: EvaluationConfig,
    model: Path,
    tasks: tuple[str, ...],
    output: Path | None,
    as_json: bool,
) -> int:
    """Fine-tune on tasks and measure BS, BZ and Delta; measure retrieval without fine-tuning."""
    from alignmlm.ranks.devices import name_accelerator

    name_accelerator()
    from alignmlm.evaluation.evaluate import evaluate
    from alignmlm.evaluation.scores.results import result_rows, retrieval_rows
    from alignmlm.reporting.tables import retrieval_table, transfer_table

    results, skipped = evaluate(model, list(tasks), config, output)
    if as_json:
        print_json(results)
    else:
        if transfers := result_rows(results):
            console.print(transfer_table(transfers))
        if retrievals := retrieval_rows(results):
            console.print(retrieval_table(retrievals))
        show_skipped(skipped)
    return ExitCode.PARTIAL if skipped else ExitCode.DONE


def show_skipped(reasons: Mapping[str, str]) -> None:
    """Print a line for each task that was not measured, with the reason."""
    for name, reason in reasons.items():
        print_line(Text(f"{name} was not measured: {reason}", "bold red"))


@command("ls")
@click.argument("names", metavar="[TASK]...", nargs=-1)
@click.option("--counts", is_flag=True, help="Read the files, and count their examples.")
@sample_folder
@as_json
def eval_ls(names: tuple[str, ...], counts: bool, sample_folder: Path, as_json: bool) -> None:
    """List tasks (names, groups, YAML files; none: all): kind, languages, metric and splits."""
    from alignmlm.tasks.validate import validate_task

    tasks = named_tasks(names)
    reports = [validate_task(task, sample_folder) for task in tasks] if counts else []
    if as_json:
        counted = {report.task.name: report_json(report) for report in reports}
        print_json([task.settings() | counted.get(task.name, {}) for task in tasks])
        return
    table = task_table("group", "kind", "language", "metric", "splits")
    for number, task in enumerate(tasks):
        splits = " ".join(split for split in SPLITS if split in task.files)
        if counts:
            parts = reports[number].splits
            splits = " ".join(f"{split} {part.examples:,}" for split, part in parts.items())
        languages = " ".join(filter(None, (task.language, task.other_language)))
        row = (task.name, task.group, task.kind, languages, task.metric, splits or "unusable")
        table.add_row(*row)
    console.print(table)
    show_unusable(reports)


@command("validate")
@click.argument("names", metavar="[TASK]...", nargs=-1)
@click.option("--model", type=PATH, help="Also render the test split in the model's languages.")
@click.option("--languages", cls=Several, metavar="ID...", help="Which; none: all that fit.")
@sample_folder
@models
@parser
@as_json
def eval_validate(
    names: tuple[str, ...],
    model: Path | None,
    languages: tuple[str, ...],
    sample_folder: Path,
    models: str | None,
    parser: str | None,
    as_json: bool,
) -> int:
    """Check the data of tasks, and count what is in it; exit code 2 where a task is unusable."""
    if languages and not model:
        raise ConfigError("--languages", list(languages), "come with --model")
    from alignmlm.tasks.validate import validate_task

    tasks = named_tasks(names)
    reports = [validate_task(task, sample_folder) for task in tasks]
    usable = [report for report in reports if not report.error]
    changes: dict[str, LanguageCounts] = {}
    if model is not None:
        from alignmlm.evaluation.evaluated_model import open_export
        from alignmlm.evaluation.language_counts import language_counts

        syntax, export = SyntaxConfig(models=models, parser=parser), open_export(model)
        changes = {
            r.task.name: language_counts(export, r.task, sample_folder, languages or None, syntax)
            for r in usable
        }
    if as_json:
        print_json(
            [
                {"task": r.task.name, **report_json(r), "languages": changes.get(r.task.name, {})}
                for r in reports
            ]
        )
    else:
        show_reports(usable, changes)
        show_unusable(reports)
    return ExitCode.ERROR if len(usable) < len(reports) else ExitCode.DONE


def show_reports(reports: "Sequence[TaskReport]", changes: Mapping[str, LanguageCounts]) -> None:
    """Print a table with a row for each split of each task, and for each language of a model."""
    table = task_table("split", "examples", "words", "longest", "labels", "remarks")
    for report in reports:
        name = report.task.name
        for row in report_rows(report):
            table.add_row(*row)
        for language, in_language in changes.get(name, {}).items():
            examples = f"{in_language['examples']:,}"
            others = {key: count for key, count in in_language.items() if key != "examples"}
            table.add_row(name, language, examples, "", "", "", counts_text(others))
    console.print(table)


def show_unusable(reports: "Sequence[TaskReport]") -> None:
    """Print a line for each task that cannot be used, with the reason."""
    for report in reports:
        if report.error:
            print_line(Text(f"{report.task.name} is unusable: {report.error}", "bold red"))


def report_json(report: "TaskReport") -> dict[str, Any]:
    """What is in the splits of a task, or why it cannot be used."""
    return {
        "splits": {
            split: {name: getattr(part, name) for name in part.__slots__}
            for split, part in report.splits.items()
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


def named_tasks(names: Sequence[str]) -> "list[Task]":
    """The tasks of some names, groups and files; all that come with alignmlm where none is given.

    Raises:
        ConfigError: no such task.
    """
    from alignmlm.tasks.task import requested_tasks, task_names

    return requested_tasks(names or task_names()).all()


def counts_text(counts: Mapping[str, int]) -> str:
    """The counts that are not 0, each with its name, as text."""
    return ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items() if n)


def report_rows(report: "TaskReport") -> list[list[str]]:
    """A row for each split of a task."""
    rows = []
    for split, part in report.splits.items():
        repeats = {"with the texts of another": part.same_text, "also in train": part.in_train}
        left_out = {f"left out ({reason})": n for reason, n in part.dropped.items()}
        numbers = [f"{n:,}" for n in (part.examples, part.words, part.longest_words)]
        remarks = counts_text({**part.details, **left_out, **repeats})
        rows.append([report.task.name, split, *numbers, str(len(part.labels) or ""), remarks])
    return rows
