"""`alignmlm eval show`: the examples of a task as the harness reads them."""

from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmlm.commands.evaluation import (
    UNUSABLE_EXIT_CODE,
    add_json,
    add_sample_folder,
    add_syntax,
    show_unusable,
)
from alignmlm.errors import ConfigError
from alignmlm.terminal import console, new_table, print_json, print_line

if TYPE_CHECKING:
    from argparse import Namespace

    from alignmlm.evaluation.preview import Change, Preview
    from alignmlm.tasks.examples import Example
    from alignmlm.tasks.splits import SplitFile
    from alignmlm.tasks.task import Task
    from alignmlm.tasks.validate import SplitReport


def eval_show(arguments: Sequence[str]) -> int:
    """Examples of a task as they are read, and in derived languages; invisible characters shown."""
    parser = ArgumentParser(prog="alignmlm eval show", description=eval_show.__doc__)
    parser.add_argument("task", help="a task's name, or a YAML file of one's own")
    parser.add_argument("--model", type=Path, help="show them in its languages, with its ids")
    parser.add_argument("--language", metavar="ID", help="one language, like eng-Latn-x-inv-trans")
    parser.add_argument("--split", default="test", help="train, dev or test (the default)")
    parser.add_argument("--limit", type=int, default=5, help="examples to show (5)")
    add_syntax(parser)
    add_sample_folder(parser)
    add_json(parser)
    values = parser.parse_args(arguments)
    from alignmlm.evaluation.preview import drawn
    from alignmlm.tasks.forms import read_split
    from alignmlm.tasks.task import found_file, load_task
    from alignmlm.tasks.validate import split_report, validate_task

    task = load_task(values.task)
    if values.split not in task.files:
        raise ConfigError("--split", values.split, f"be one of {list(task.files)}")
    if values.limit < 0:
        raise ConfigError("--limit", values.limit, "be at least 0")
    file = found_file(task, values.split, values.sample_folder)
    split = read_split(file)
    changes = changes_of(task, file, values)
    examples = split.examples[: values.limit]
    report, checked = split_report(task, split, set()), validate_task(task, values.sample_folder)
    if values.json:
        print_json(document(task, examples, changes, report) | {"error": checked.error or None})
    else:
        print_line(f"{task.name}, {values.split}: {file.path}")
        if values.model is None and any(map(drawn, changes)):
            print_line("without --model, random orders and words are not those of any model")
        for number, example in enumerate(examples):
            show_example(number, example, task, changes)
        show_counts(report)
        show_unusable([checked])
    return UNUSABLE_EXIT_CODE if checked.error else 0


def changes_of(task: "Task", file: "SplitFile", values: "Namespace") -> "dict[str, Change]":
    """What each language to be shown does to words.

    Raises:
        ConfigError: a language that the task or the model lacks, or a syntax order without models.
        CheckpointError: there is no model.
    """
    from alignmlm.evaluation.changed import trees_of
    from alignmlm.evaluation.evaluation_config import SyntaxConfig
    from alignmlm.evaluation.export import open_export
    from alignmlm.evaluation.preview import asked_languages, change_of_model, change_without_model

    export = open_export(values.model) if values.model else None
    languages = asked_languages(task, export.languages if export else None, values.language)
    syntax = SyntaxConfig(models=values.models, parser=values.parser)
    if not languages:
        return {}
    trees = trees_of(file, syntax)
    if export is None:
        return {name: change_without_model(name, syntax, trees) for name in languages}
    return {name: change_of_model(export, name, syntax, trees) for name in languages}


def document(
    task: "Task", examples: "list[Example]", changes: "dict[str, Change]", report: "SplitReport"
) -> dict[str, Any]:
    """The examples and counts for programs."""
    from alignmlm.evaluation.preview import as_json, previewed

    rows = []
    for example in examples:
        shown = {name: previewed(example, task, name, change) for name, change in changes.items()}
        derived = {
            name: {"example": as_json(found.example), "ids": found.ids}
            for name, found in shown.items()
        }
        rows.append({"original": as_json(example), "languages": derived})
    counts = {name: getattr(report, name) for name in report.__slots__}
    return {"task": task.name, "examples": rows, "counts": counts}


def show_example(
    number: int, example: "Example", task: "Task", changes: "dict[str, Change]"
) -> None:
    """A table of an example, or one for each language with the original beside it."""
    from alignmlm.evaluation.preview import previewed

    heading = f"{number + 1}: {example.id}"
    if not changes:
        show_side_by_side(heading, example, "", None)
    for language, change in changes.items():
        show_side_by_side(heading, example, language, previewed(example, task, language, change))


def show_side_by_side(
    heading: str, example: "Example", language: str, found: "Preview | None"
) -> None:
    """A table of an example, and of what a language makes of it."""
    from alignmlm.evaluation.preview import lines_of, visible
    from alignmlm.tasks.examples import LabelledSentence

    words = isinstance(example, LabelledSentence)
    derived = lines_of(found.example) if found and found.example else []
    ids = found.ids if found else []
    table = new_table(heading)
    table.add_column("word" if words else "")
    table.add_column("label" if words else "original", overflow="ellipsis" if words else "fold")
    if found:
        table.add_column(language if words else "")
        table.add_column("label" if words else language, overflow="ellipsis" if words else "fold")
    if any(ids):
        table.add_column("ids", overflow="fold")
    for one, two, three in zip_longest(lines_of(example), derived, ids):
        cells = [*(one or ("", "")), *((two or ("", "")) if found else ())]
        numbers = [" ".join(map(str, three or ()))] if any(ids) else []
        table.add_row(*map(visible, cells), *numbers)
    console.print(table)
    if found and found.example is None:
        print_line(f"{language}: dropped, as no answer stands together")


def show_counts(report: "SplitReport") -> None:
    """A table of what is in the split: examples, words, labels, what was left out."""
    from alignmlm.evaluation.preview import visible

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
