"""A model and some tasks to results.json; what was measured before is not measured again."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import xxhash

from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.checkpoint import open_model, read_tokenizer
from alignmlm.evaluation.directions import Direction, direction_of, measurable
from alignmlm.evaluation.export import Export
from alignmlm.evaluation.finetune import FineTuneConfig
from alignmlm.evaluation.reordering import (
    SyntaxConfig,
    Trees,
    gold_trees,
    parser_of,
    syntax_contents,
)
from alignmlm.evaluation.results import (
    Document,
    holds,
    with_retrieval,
    with_task,
)
from alignmlm.evaluation.results_folder import ResultsFolder, open_results
from alignmlm.evaluation.retrieval import Retrieved, lexicon_induction, sentence_retrieval
from alignmlm.evaluation.task_text import document_of, task_text
from alignmlm.evaluation.transfer import Measured, TaskData, Tuning, transfer_scores
from alignmlm.languages.orders import is_syntax
from alignmlm.probes.encoder import load_encoder
from alignmlm.tasks.forms import read_split
from alignmlm.tasks.task import KINDS, SPLITS, Task, load_tasks, split_files, task_files
from alignmlm.tasks.validate import task_labels

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """How transfer is measured.

    Baselines: "random_embeddings" draws all word embeddings anew before fine-tuning; "monolingual"
    lets a model that was trained on one language take `languages` that it never saw, their tokens
    untrained.
    """

    seeds: list[int] = field(default_factory=lambda: [0])  # of fine-tuning
    source: str | None = None  # none: the model's first language
    source_task: str | None = None  # none: the task itself, or its group's in the source language
    targets: list[str] = field(default_factory=list)  # none: all that a task has in the model
    languages: list[str] = field(default_factory=list)  # of a checkpoint without alignmlm.json
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)
    limit: int | None = None  # examples of each split, from its first on; none: all
    max_tokens: int | None = None  # of a row; none: as many as the model takes
    baseline: Literal["none", "random_embeddings", "monolingual"] = "none"
    models: str | None = None  # folder of fine-tuned models; none: "models" beside the results
    models_gib: float = 10.0  # of that folder; the ones unused for longest go first; 0: keep none
    sample_folder: str = "data/sample_tasks"  # where the sample world's tasks are made
    syntax: SyntaxConfig = field(default_factory=SyntaxConfig)

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError("evaluation.seeds", self.seeds, "name at least one seed, each once")
        for name in ("targets", "languages"):
            found = getattr(self, name)
            if len(set(found)) < len(found):
                raise ConfigError(f"evaluation.{name}", found, "name each language once")
        if self.limit is not None and self.limit < 1:
            raise ConfigError("evaluation.limit", self.limit, "be at least 1")
        if self.models_gib < 0:
            raise ConfigError("evaluation.models_gib", self.models_gib, "be 0 or more")


def file_hashes(task: Task, config: EvaluationConfig) -> dict[str, str]:
    """The hash of each file of a task."""
    files = task_files(task, Path(config.sample_folder))
    return {split: xxhash.xxh3_64_hexdigest(p.read_bytes()) for split, p in files.items()}


def settings_of(task: Task) -> dict[str, object]:
    """What a task's numbers depend on, the files aside."""
    return {key: value for key, value in task.settings().items() if key != "group"}


def syntax_settings(export: Export, syntax: SyntaxConfig) -> dict[str, Any]:
    """Where trees and orders come from, and the hashes of those files; nothing for none.

    Raises:
        DataError: an ordering model is missing or damaged.
    """
    if syntax == SyntaxConfig():
        return {}
    contents = syntax_contents(syntax, export.parsed_languages())
    return {"syntax": asdict(syntax), "syntax_files_xxh3": contents}


def common_settings(export: Export, task: Task, config: EvaluationConfig) -> dict[str, Any]:
    """What the numbers of any task depend on, the model aside."""
    return {
        "task": settings_of(task),
        **syntax_settings(export, config.syntax),
        "files_xxh3": file_hashes(task, config),
        "limit": config.limit,
        "max_tokens": export.seq_len,
    }


def transfer_settings(
    export: Export, direction: Direction, config: EvaluationConfig
) -> dict[str, Any]:
    """Everything that a fine-tuned task's numbers depend on, the model aside."""
    other = direction.source_task
    source_task = (
        {"source_task": settings_of(other), "source_files_xxh3": file_hashes(other, config)}
        if other.name != direction.task.name
        else {}
    )
    return {
        **common_settings(export, direction.task, config),
        **source_task,
        "source": direction.source,
        "targets": list(direction.targets),
        "seeds": config.seeds,
        "finetune": asdict(config.finetune),
    }


def check_trainable(task: Task, selection: str) -> None:
    """Whether a task can be fine-tuned on.

    Raises:
        ConfigError: it lacks a training split, or the development split that the selection needs.
    """
    needed = ("train", "dev") if selection == "source_dev" else ("train",)
    if missing := [split for split in needed if split not in task.files]:
        must = f"name {', '.join(missing)} too, to fine-tune on"
        raise ConfigError(f"task {task.name}: files", sorted(task.files), must)


def read_examples(task: Task, config: EvaluationConfig) -> tuple[dict[str, Any], list[str]]:
    """All examples of each split, and the task's labels.

    Raises:
        DataError: a split cannot be read, or has labels that others lack.
    """
    files = split_files(task, Path(config.sample_folder))
    splits = {split: read_split(files[split]) for split in SPLITS if split in files}
    return {split: read.examples for split, read in splits.items()}, task_labels(task, splits)


def task_trees(export: Export, tasks: Sequence[Task], config: EvaluationConfig) -> Trees:
    """Gold trees of CoNLL-U files and a parser for other sentences, if a language needs trees."""
    if not any(is_syntax(language.order) for language in export.parsed_languages()):
        return Trees()
    treebanks = [
        file.file
        for task in tasks
        for file in split_files(task, Path(config.sample_folder)).values()
        if file.form == "conllu_upos"
    ]
    parser = config.syntax.parser
    return Trees(gold_trees(treebanks), parser_of(parser) if parser else None)


def check_labels(task: Task, labels: Sequence[str], known: Sequence[str], source: Task) -> None:
    """Whether a model fine-tuned on one task can give the labels of another.

    Raises:
        DataError: it cannot.
    """
    if unknown := sorted(set(labels).difference(known)):
        raise DataError(
            f"task {task.name} has labels that {source.name}, which is fine-tuned on, lacks: "
            f"{unknown}"
        )


def task_data(
    export: Export, direction: Direction, config: EvaluationConfig
) -> dict[str, TaskData]:
    """The source and the target task as tokens and label numbers, by name.

    Raises:
        ConfigError: the source task cannot be fine-tuned on.
        DataError: a split cannot be read, or has labels that others lack.
    """
    source, task = direction.source_task, direction.task
    check_trainable(source, config.finetune.selection)
    tokenizer = read_tokenizer(export.path)
    trees = task_trees(export, [source, task], config)
    found: dict[str, TaskData] = {}
    known: list[str] = []
    for one in dict.fromkeys([source.name, task.name]):
        now = source if one == source.name else task
        examples, labels = read_examples(now, config)
        known = known or labels
        check_labels(now, labels, known, source)
        kept = {split: part[: config.limit] for split, part in examples.items()}
        found[one] = TaskData(
            now,
            known,
            {k: task_text(now, part, known, tokenizer, export) for k, part in kept.items()},
            {k: [document_of(e, n) for n, e in enumerate(part)] for k, part in kept.items()},
            len(examples["test"]),
            config.syntax,
            trees,
        )
    return found


def measure_transfer(
    export: Export, task: Task, config: EvaluationConfig, results: ResultsFolder
) -> Document:
    """The document with a fine-tuned task's results, measured now unless it has them."""
    direction = direction_of(export, task, config.source, config.targets, config.source_task)
    settings = transfer_settings(export, direction, config)
    if holds(document := results.document(), settings):
        log.info("%s: measured before, see %s", task.name, results.path)
        return document
    began = perf_counter()
    data = task_data(export, direction, config)
    models = Path(config.models) if config.models else results.path / "models"
    tuning = Tuning(
        config=config.finetune,
        seeds=config.seeds,
        models=models if config.models_gib else None,
        models_gib=config.models_gib,
    )
    found = transfer_scores(export, data, direction, tuning)
    told, seconds = sample_counts(data[task.name], found), perf_counter() - began

    def change(document: Document) -> Document:
        return with_task(document, settings, found.scores, told, seconds)

    return results.add(change, {task.name: found.samples})


def sample_counts(data: TaskData, found: Measured) -> dict[str, Any]:
    """How many test examples there are, and what happened to them in each language."""
    tested = len(data.documents["test"])
    return {"original": data.test_examples, "effective": tested, "counts": found.counts}


def measure_retrieval(
    export: Export, task: Task, config: EvaluationConfig, results: ResultsFolder
) -> Document:
    """The document with a retrieval task's results, measured now unless it has them."""
    settings = common_settings(export, task, config)
    if holds(document := results.document(), settings):
        log.info("%s: measured before, see %s", task.name, results.path)
        return document
    began = perf_counter()
    examples, _ = read_examples(task, config)
    kept = {split: part[: config.limit] for split, part in examples.items()}
    found = retrieved(export, task, kept, config)
    for one in found:
        log.info("%s, %s to %s: %.1f %%", task.name, one.source, one.target, one.percent)
    seconds = perf_counter() - began
    return results.add(lambda document: with_retrieval(document, settings, found, seconds))


def retrieved(
    export: Export, task: Task, splits: dict[str, Any], config: EvaluationConfig
) -> list[Retrieved]:
    """What a model finds of the other side of a task."""
    tokenizer = read_tokenizer(export.path)
    model = load_encoder(export.path)
    if task.kind == "lexicon_induction":
        return lexicon_induction(export, model, task, splits, tokenizer)
    tools = config.syntax, task_trees(export, [task], config)
    return sentence_retrieval(export, model, task, splits["test"], tokenizer, tools)


def chosen_tasks(export: Export, names: Sequence[str], config: EvaluationConfig) -> list[Task]:
    """The tasks of some names; of a group, those that the model has languages for.

    Raises:
        ConfigError: an unknown name, or a group without a task for the model.
    """
    chosen: dict[str, Task] = {}
    for name in names:
        found = load_tasks(name)
        fitting = [t for t in found if measurable(export, t, config.source, config.targets)]
        if len(found) > 1 and not fitting:
            must = f"have a task in a language of {export.path}: {list(export.languages)}"
            raise ConfigError("task group", name, must)
        if left := [task.name for task in found if task not in fitting] if len(found) > 1 else []:
            log.info("%s: the model has no target language for %s", name, ", ".join(left))
        chosen |= {task.name: task for task in (fitting if len(found) > 1 else found)}
    return list(chosen.values())


def results_folder_of(export: Export) -> Path:
    """Where the results of a model lie unless somebody says where."""
    run = export.path.parent if export.path.name == "export" else export.path
    return run / ("evaluation" + (f"-{export.baseline}" if export.baseline else ""))


def evaluate(
    model: Path, tasks: list[str], config: EvaluationConfig, output: Path | None = None
) -> Document:
    """The results of a model on the tasks, as they stand in <output>/results.json.

    The default output is the folder "evaluation" of the run. A task whose results are there
    already, for the same weights, files and settings, is not measured again, and no model is
    fine-tuned twice.

    Raises:
        CheckpointError: there is no model.
        ConfigError: an unknown task, or a language that the model or the task lacks.
        DataError: a task's files are missing or unusable.
    """
    baseline = "" if config.baseline == "none" else config.baseline
    export = open_model(model, config.languages, config.max_tokens, baseline)
    folder = output or results_folder_of(export)
    results = open_results(folder, {"path": str(export.path), **export.identity()})
    document = results.document()
    chosen = chosen_tasks(export, tasks, config)
    folder.mkdir(parents=True, exist_ok=True)
    for number, task in enumerate(chosen, start=1):
        log.info("task %d of %d: %s", number, len(chosen), task.name)
        measure = measure_retrieval if KINDS[task.kind].two_languages else measure_transfer
        document = measure(export, task, config, results)
    return document
