"""`alignmlm eval show`: the examples of a task as the harness reads them."""

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignmlm.commands.evaluation import show_unusable
from alignmlm.commands.options import (
    PATH,
    WHOLE,
    as_json,
    command,
    models,
    parser,
    sample_folder,
)
from alignmlm.console.terminal import console, new_table, print_json, print_line
from alignmlm.errors import ConfigError, ExitCode
from alignmlm.evaluation.settings import SyntaxConfig

if TYPE_CHECKING:
    from alignmlm.evaluation.examples.preview import Change, Preview
    from alignmlm.tasks.examples import Example, SplitFile
    from alignmlm.tasks.task import Task
    from alignmlm.tasks.validate import SplitReport


@command("show")
@click.argument("name", metavar="TASK")
@click.option("--model", type=PATH, help="Show them in the languages of this model, with its ids.")
@click.option("--language", metavar="ID", help="One language: eng-Latn-x-inv-trans.")
@click.option("--split", default="test", show_default=True, help="train, dev or test.")
@click.option("--limit", type=WHOLE, default=5, show_default=True, help="Examples to show.")
@sample_folder
@models
@parser
@as_json
def eval_show(
    name: str,
    model: Path | None,
    language: str | None,
    split: str,
    limit: int,
    sample_folder: Path,
    models: str | None,
    parser: str | None,
    as_json: bool,
) -> int:
    """Show examples of TASK as read and in derived languages, with invisible characters marked."""
    from alignmlm.evaluation.examples.preview import drawn
    from alignmlm.tasks.formats import read_split
    from alignmlm.tasks.task import found_file, load_task
    from alignmlm.tasks.validate import split_report, validate_task

    task = load_task(name)
    if split not in task.files:
        raise ConfigError("--split", split, f"be one of {list(task.files)}")
    if limit < 0:
        raise ConfigError("--limit", limit, "be at least 0")
    file = found_file(task, split, sample_folder)
    contents = read_split(file)
    changes = changes_of(task, file, model, language, SyntaxConfig(models=models, parser=parser))
    examples = contents.examples[:limit]
    report, checked = split_report(task, contents, set()), validate_task(task, sample_folder)
    if as_json:
        print_json(document(task, examples, changes, report) | {"error": checked.error or None})
    else:
        print_line(f"{task.name}, {split}: {file.path}")
        if model is None and any(map(drawn, changes)):
            print_line("without --model, random orders and words are not those of any model")
        for number, example in enumerate(examples):
            show_example(number, example, task, changes)
        show_counts(report)
        show_unusable([checked])
    return ExitCode.ERROR if checked.error else ExitCode.DONE


def changes_of(
    task: "Task", file: "SplitFile", model: Path | None, language: str | None, syntax: SyntaxConfig
) -> "dict[str, Change]":
    """What each language to be shown does to words.

    Raises:
        ConfigError: a language that the task or the model lacks, or a syntax order without models.
        CheckpointError: there is no export at `model`, or it is damaged.
    """
    from alignmlm.evaluation.evaluated_model import open_export
    from alignmlm.evaluation.examples.preview import (
        asked_languages,
        change_of_model,
        change_without_model,
    )
    from alignmlm.evaluation.examples.rendering import trees_of

    export = open_export(model) if model else None
    languages = asked_languages(task, export.languages if export else None, language)
    if not languages:
        return {}
    trees = trees_of([file], languages, syntax)
    if export is None:
        return {name: change_without_model(name, syntax, trees) for name in languages}
    return {name: change_of_model(export, name, syntax, trees) for name in languages}


def document(
    task: "Task", examples: "list[Example]", changes: "dict[str, Change]", report: "SplitReport"
) -> dict[str, Any]:
    """The examples and counts as plain values for JSON."""
    from alignmlm.evaluation.examples.preview import as_json, previewed

    rows = []
    for example in examples:
        shown = {name: previewed(example, task, name, change) for name, change in changes.items()}
        derived = {
            name: {"example": as_json(preview.example), "ids": preview.ids}
            for name, preview in shown.items()
        }
        rows.append({"original": as_json(example), "languages": derived})
    counts = {name: getattr(report, name) for name in report.__slots__}
    return {"task": task.name, "examples": rows, "counts": counts}


def show_example(
    number: int, example: "Example", task: "Task", changes: "dict[str, Change]"
) -> None:
    """Print a table of an example, or one for each language with the original beside it."""
    from alignmlm.evaluation.examples.preview import previewed

    heading = f"{number + 1}: {example.id}"
    if not changes:
        show_side_by_side(heading, example, "", None)
    for language, change in changes.items():
        show_side_by_side(heading, example, language, previewed(example, task, language, change))


def show_side_by_side(
    heading: str, example: "Example", language: str, preview: "Preview | None"
) -> None:
    """Print a table of an example, and of what a language makes of it."""
    from alignmlm.evaluation.examples.preview import lines_of, visible
    from alignmlm.tasks.examples import LabelledSentence

    words = isinstance(example, LabelledSentence)
    derived = lines_of(preview.example) if preview and preview.example else []
    ids = preview.ids if preview else []
    table = new_table(heading)
    table.add_column("word" if words else "")
    table.add_column("label" if words else "original", overflow="ellipsis" if words else "fold")
    if preview:
        table.add_column(language if words else "")
        table.add_column("label" if words else language, overflow="ellipsis" if words else "fold")
    if any(ids):
        table.add_column("ids", overflow="fold")
    for one, two, three in zip_longest(lines_of(example), derived, ids):
        cells = [*(one or ("", "")), *((two or ("", "")) if preview else ())]
        numbers = [" ".join(map(str, three or ()))] if any(ids) else []
        table.add_row(*map(visible, cells), *numbers)
    console.print(table)
    if preview and preview.example is None:
        print_line(f"{language}: dropped, as no answer stands together")


def show_counts(report: "SplitReport") -> None:
    """Print a table of what is in the split: examples, words, labels, what was left out."""
    from alignmlm.evaluation.examples.preview import visible

    table = new_table("the whole split")
    table.add_column("")
    table.add_column("count", justify="right")
    counts = {"examples": report.examples, "words": report.words, **report.details}
    counts["with the texts of another"] = report.same_text
    counts |= {f"left out: {reason}": count for reason, count in report.dropped.items()}
    for label, count in sorted(report.labels.items(), key=lambda item: -item[1]):
        counts[f"label {visible(label)}"] = count
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    console.print(table)
