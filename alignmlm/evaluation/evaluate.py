"""A model and some tasks to results.json; what was measured before is not measured again."""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import xxhash

from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import ConfigError
from alignmlm.evaluation.export import Export, open_export
from alignmlm.evaluation.finetune import FineTuneConfig
from alignmlm.evaluation.forms import label_names, read_sentences
from alignmlm.evaluation.labelled import numbered
from alignmlm.evaluation.results import (
    Document,
    empty,
    holds,
    read_results,
    with_task,
    write_results,
)
from alignmlm.evaluation.tasks import Task, load_task, task_files
from alignmlm.evaluation.transfer import TaskData, transfer_scores
from alignmlm.languages.language import parse_language

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)  # no slots: jsonargparse takes vars() of nested defaults
class EvaluationConfig:
    """How transfer is measured."""

    seeds: list[int] = field(default_factory=lambda: [0])  # of fine-tuning
    source: str | None = None  # none: the model's first language
    targets: list[str] = field(default_factory=list)  # none: all derived from the task's language
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)
    sample_folder: str = "data/sample_tasks"  # where the sample world's tasks are made

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError("evaluation.seeds", self.seeds, "name at least one seed, each once")
        if len(set(self.targets)) < len(self.targets):
            raise ConfigError("evaluation.targets", self.targets, "name each language once")


def source_and_targets(
    export: Export, task: Task, config: EvaluationConfig
) -> tuple[str, list[str]]:
    """The language to fine-tune on, and those to test transfer to.

    Raises:
        ConfigError: the model lacks one of them, one is not made from the task's language, or
            there is no target.
    """
    source = config.source or export.languages[0]
    derived = [
        name
        for name, language in zip(export.languages, export.parsed_languages(), strict=True)
        if language.derived and language.base == task.language and name != source
    ]
    targets = config.targets or derived
    for key, name in [("source", source), *(("targets", target) for target in targets)]:
        export.number_of(name)
        if parse_language(name).base != task.language:
            must = f"be {task.language} or made from it, the language of task {task.name}"
            raise ConfigError(f"evaluation.{key}", name, must)
    if not targets:
        must = f"hold a language derived from {task.language}, or evaluation.targets name another"
        raise ConfigError(f"languages of {export.path}", list(export.languages), must)
    return source, targets


def measured_settings(
    task: Task, files: dict[str, Path], languages: tuple[str, list[str]], config: EvaluationConfig
) -> dict[str, Any]:
    """Everything that a task's numbers depend on, the model aside."""
    return {
        "task": asdict(task),
        "files_xxh3": {s: xxhash.xxh3_64_hexdigest(p.read_bytes()) for s, p in files.items()},
        "source": languages[0],
        "targets": languages[1],
        "seeds": config.seeds,
        "finetune": asdict(config.finetune),
    }


def task_data(export: Export, task: Task, files: dict[str, Path]) -> TaskData:
    """A task's splits as tokens and label numbers."""
    sentences = {split: read_sentences(path, task.form) for split, path in files.items()}
    train = sentences["train"]
    names = label_names(train, {str(files[s]): found for s, found in sentences.items()})
    tokenizer = load_tokenizer(export.path)
    splits = {
        split: numbered(found, tokenizer, export.vocabulary, names)
        for split, found in sentences.items()
    }
    return TaskData(names, splits)


def measure(
    export: Export,
    settings: dict[str, Any],
    task: Task,
    files: dict[str, Path],
    config: EvaluationConfig,
    document: Document,
) -> Document:
    """The document with a task's results, measured now."""
    began = perf_counter()
    data = task_data(export, task, files)
    languages = settings["source"], settings["targets"]
    scores, cut_words = transfer_scores(export, data, languages, config.finetune, config.seeds)
    test = data.splits["test"]
    samples = {
        "original": len(test.labels),
        "effective": len(test.labels),
        "words": sum(map(len, test.labels)),
        "words_cut_off": cut_words,
    }
    return with_task(document, settings, scores, samples, perf_counter() - began)


def evaluate(
    model: Path, tasks: list[str], config: EvaluationConfig, output: Path | None = None
) -> Document:
    """The results of a run or an export on the tasks, as they stand in <output>/results.json.

    The default output is the folder "evaluation" of the run. A task whose results are there
    already, for the same weights, files and settings, is not measured again.

    Raises:
        CheckpointError: there is no export at model.
        ConfigError: an unknown task, or a language that the model or the task lacks.
        DataError: a task's files are missing or unusable.
    """
    export = open_export(model)
    folder = (
        output
        or (export.path.parent if export.path.name == "export" else export.path) / "evaluation"
    )
    identity = export.identity()
    document = read_results(folder)
    if document is None or any(document["model"].get(k) != v for k, v in identity.items()):
        document = empty({"path": str(export.path), **identity})
    for task in map(load_task, tasks):
        files = task_files(task, Path(config.sample_folder))
        languages = source_and_targets(export, task, config)
        settings = measured_settings(task, files, languages, config)
        if holds(document, settings):
            log.info("%s: measured before, see %s", task.name, folder)
            continue
        document = measure(export, settings, task, files, config, document)
        write_results(folder, document)
    return document
