"""A model and some tasks to results.json; what was measured before is not measured again."""

import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import xxhash

from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import ConfigError
from alignmlm.evaluation.export import Export, open_export
from alignmlm.evaluation.finetune import FineTuneConfig
from alignmlm.evaluation.forms import Split, read_split
from alignmlm.evaluation.labelled import numbered
from alignmlm.evaluation.reordering import SyntaxConfig, Trees, gold_trees, parser_of
from alignmlm.evaluation.results import (
    Document,
    empty,
    holds,
    read_results,
    with_task,
    write_results,
)
from alignmlm.evaluation.tasks import SPLITS, Task, load_task, task_files
from alignmlm.evaluation.transfer import TaskData, transfer_scores
from alignmlm.evaluation.validate import task_labels
from alignmlm.languages.language import parse_language
from alignmlm.languages.orders import is_syntax

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)  # no slots: jsonargparse takes vars() of nested defaults
class EvaluationConfig:
    """How transfer is measured."""

    seeds: list[int] = field(default_factory=lambda: [0])  # of fine-tuning
    source: str | None = None  # none: the model's first language
    targets: list[str] = field(default_factory=list)  # none: all derived from the task's language
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)
    sample_folder: str = "data/sample_tasks"  # where the sample world's tasks are made
    syntax: SyntaxConfig = field(default_factory=SyntaxConfig)

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
    syntax = {"syntax": asdict(config.syntax)} if config.syntax != SyntaxConfig() else {}
    return {
        "task": {key: value for key, value in task.settings().items() if key != "group"},
        **syntax,
        "files_xxh3": {s: xxhash.xxh3_64_hexdigest(p.read_bytes()) for s, p in files.items()},
        "source": languages[0],
        "targets": languages[1],
        "seeds": config.seeds,
        "finetune": asdict(config.finetune),
    }


def check_trainable(task: Task) -> None:
    """Whether a task can be fine-tuned on.

    Raises:
        ConfigError: it has no training or development split, or no classifier is made for it.
    """
    if task.kind != "token_classification":
        must = "be token_classification: no other kind is fine-tuned yet"
        raise ConfigError(f"task {task.name}: kind", task.kind, must)
    if missing := [split for split in SPLITS if split not in task.files]:
        must = f"name {', '.join(missing)} too: the task is fine-tuned on its own language"
        raise ConfigError(f"task {task.name}: files", sorted(task.files), must)


def task_splits(task: Task, files: dict[str, Path]) -> dict[str, Split]:
    """The examples of each split, of the files given where a split lies in one."""
    splits = {split: task.split(split) for split in SPLITS}
    placed = {s: replace(f, path=str(files[s])) if s in files else f for s, f in splits.items()}
    return {split: read_split(file) for split, file in placed.items()}


def task_trees(export: Export, task: Task, files: dict[str, Path], syntax: SyntaxConfig) -> Trees:
    """Gold trees of CoNLL-U files and a parser for other sentences, if a language needs trees."""
    if not any(is_syntax(language.order) for language in export.parsed_languages()):
        return Trees()
    treebanks = [file for split, file in files.items() if task.split(split).form == "conllu_upos"]
    return Trees(gold_trees(treebanks), parser_of(syntax.parser) if syntax.parser else None)


def task_data(
    export: Export,
    task: Task,
    files: dict[str, Path],
    syntax: SyntaxConfig = SyntaxConfig(),  # noqa: B008 - frozen
) -> TaskData:
    """A task's splits as tokens and label numbers.

    Raises:
        ConfigError: the task cannot be fine-tuned on.
        DataError: a split cannot be read, or has labels that others lack.
    """
    check_trainable(task)
    found = task_splits(task, files)
    names = task_labels(task, found)
    tokenizer, entities = load_tokenizer(export.path), task.metric == "entity_f1"
    splits = {
        split: numbered(read.examples, tokenizer, export.vocabulary, names, entities)
        for split, read in found.items()
    }
    trees = task_trees(export, task, files, syntax)
    return TaskData(names, splits, task.metric, syntax, trees)


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
    data = task_data(export, task, files, config.syntax)
    languages = settings["source"], settings["targets"]
    scores, counts = transfer_scores(export, data, languages, config.finetune, config.seeds)
    changes = {
        language: others
        for language, found in counts.items()
        if (others := {name: n for name, n in found.items() if name != "words_cut_off"})
    }
    test = data.splits["test"]
    samples = {
        "original": len(test.labels),
        "effective": len(test.labels),
        "words": sum(map(len, test.labels)),
        "words_cut_off": {language: found["words_cut_off"] for language, found in counts.items()},
        **({"language_changes": changes} if changes else {}),
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
