"""The texts of test examples as their files have them, and as a run's language changes them."""

from collections.abc import Container
from pathlib import Path
from typing import Any

import xxhash

from alignmlm.errors import DataError
from alignmlm.evaluation.evaluated_model import open_export
from alignmlm.evaluation.examples.preview import change_of_model, lines_of, previewed
from alignmlm.evaluation.examples.rendering import trees_of
from alignmlm.evaluation.settings import SyntaxConfig
from alignmlm.languages.language import parse_language
from alignmlm.reporting.run_facts import RunFacts
from alignmlm.storage.typed_settings import build
from alignmlm.tasks.examples import SplitFile, document_of
from alignmlm.tasks.formats import read_split
from alignmlm.tasks.task import Task, found_file

Document = tuple[str, str]  # id and hash of a text
Lines = list[tuple[str, str]]  # words with labels, or names with texts


def unchanged_file(task: Task, config: dict[str, Any], folder: Path) -> SplitFile:
    """The test split that a run was measured on.

    Raises:
        DataError: it is not a file on this machine, or has changed since.
    """
    file = found_file(task, "test", folder)
    if file.is_hub:
        raise DataError(f"the examples of {task.name} are on a hub, not on this machine")
    known = config.get("files_xxh3", {}).get("test")
    if known != xxhash.xxh3_64_hexdigest(Path(file.path).read_bytes()):
        raise DataError(f"the test file of {task.name} is not the one that was measured")
    return file


def example_texts(
    run: RunFacts, name: str, language: str, wanted: Container[Document], folder: Path
) -> dict[Document, tuple[Lines, Lines | None]]:
    """Original and derived text of some test examples; a natural language has no derived one.

    Files of the sample world are made in the folder where they are missing.

    Raises:
        AlignMLMError: the run has no export, or the task's files are gone or changed.
    """
    config = (run.results or {})["configs"][name]
    task = build(Task, (f"task {name} of {run.name}", config["task"]))
    syntax = SyntaxConfig(**config.get("syntax", {}))
    file = unchanged_file(task, config, folder)
    examples = read_split(file).examples
    export = open_export(run.folder)
    trees = trees_of([file], export.languages, syntax)
    change = change_of_model(export, language, syntax, trees)
    texts: dict[Document, tuple[Lines, Lines | None]] = {}
    for place, example in enumerate(examples[: config.get("limit")]):
        document = document_of(example, place)
        if document not in wanted:
            continue
        changed = previewed(example, task, language, change).example
        derived = None
        if parse_language(language).derived and changed is not None:
            derived = lines_of(changed)
        texts[document] = (lines_of(example), derived)
    return texts
