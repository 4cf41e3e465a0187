"""Evaluating a model on tasks into results.json; existing results are reused."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import xxhash

from alignmlm.evaluation.directions import Direction, direction_of
from alignmlm.evaluation.evaluated_model import Export, open_model, read_tokenizer
from alignmlm.evaluation.examples.rendering import Trees, syntax_contents
from alignmlm.evaluation.examples.task_data import TaskData, read_examples, task_data, task_trees
from alignmlm.evaluation.fine_tuning.model_cache import Tuning
from alignmlm.evaluation.parallel_pairs import language_pairs
from alignmlm.evaluation.retrieval import Found
from alignmlm.evaluation.scores.results import (
    Document,
    ResultsFolder,
    holds,
    open_results,
    with_retrieval,
    with_task,
)
from alignmlm.evaluation.scores.scoring import Retrieved
from alignmlm.evaluation.selection import Skipped, selected_tasks
from alignmlm.evaluation.settings import EvaluationConfig, SyntaxConfig
from alignmlm.evaluation.transfer import TransferResult, transfer_scores
from alignmlm.probes.encoder import load_encoder
from alignmlm.tasks.kinds import KINDS
from alignmlm.tasks.task import Task, load_tasks, own_tasks, task_files

log = logging.getLogger(__name__)


def file_hashes(task: Task, config: EvaluationConfig) -> dict[str, str]:
    """The hash of each file of a task."""
    files = task_files(task, Path(config.sample_folder))
    return {split: xxhash.xxh3_64_hexdigest(p.read_bytes()) for split, p in files.items()}


def settings_of(task: Task) -> dict[str, object]:
    """What a task's scores depend on, apart from the files."""
    return {key: value for key, value in task.settings().items() if key != "group"}


def syntax_settings(export: Export, syntax: SyntaxConfig) -> dict[str, Any]:
    """The sources of trees and orders, and the hashes of those files; empty if there are none.

    Raises:
        DataError: an ordering model is missing or damaged.
    """
    if syntax == SyntaxConfig():
        return {}
    contents = syntax_contents(syntax, export.parsed_languages())
    return {"syntax": asdict(syntax), "syntax_files_xxh3": contents}


def common_settings(export: Export, task: Task, config: EvaluationConfig) -> dict[str, Any]:
    """What the scores of any task depend on, apart from the model."""
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
    """Everything that a fine-tuned task's scores depend on, apart from the model."""
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


def measure_transfer(
    export: Export,
    task: Task,
    config: EvaluationConfig,
    results: ResultsFolder,
    known: Sequence[Task],
) -> Document:
    """The document with a fine-tuned task's results, measured unless they are already in it."""
    source_task = config.source_task_of(task.name, task.group)
    direction = direction_of(export, task, config.source, config.targets, source_task, known)
    settings = transfer_settings(export, direction, config)
    if holds(document := results.document(), settings):
        log.info("%s: measured before, see %s", task.name, results.path)
        return document
    began = perf_counter()
    data = task_data(export, direction, config)
    models = Path(config.models) if config.models else results.path / "models"
    tuning = Tuning(
        config=config.finetune,
        models=models if config.models_gib else None,
        models_gib=config.models_gib,
    )
    result = transfer_scores(data, direction, config.seeds, tuning)
    counts, seconds = sample_counts(data[task.name], result), perf_counter() - began
    with results.current() as document:
        document = with_task(document, settings, result.scores, counts, seconds)
        return results.write(document, {task.name: result.samples})


def sample_counts(data: TaskData, result: TransferResult) -> dict[str, Any]:
    """Numbers of test examples, and what happened to them in each language."""
    tested = len(data.documents["test"])
    return {"original": data.test_examples, "effective": tested, "counts": result.counts}


def measure_retrieval(
    export: Export, task: Task, config: EvaluationConfig, results: ResultsFolder
) -> Document:
    """The document with a retrieval task's results, measured unless they are already in it."""
    settings = common_settings(export, task, config)
    if holds(document := results.document(), settings):
        log.info("%s: measured before, see %s", task.name, results.path)
        return document
    began = perf_counter()
    examples, _ = read_examples(task, config)
    limited = {split: part[: config.limit] for split, part in examples.items()}
    results_of_pairs = retrieved(export, task, limited, config)
    for one, _ in results_of_pairs:
        log.info("%s, %s to %s: %.1f %%", task.name, one.source, one.target, one.percent)
    if config.limit is not None:
        warn_of_few_candidates(task, [one for one, _ in results_of_pairs])
    counts = {
        "original": len(examples["test"]),
        "effective": len(limited["test"]),
        "counts": {f"{one.source}:{one.target}": one.counts for one, _ in results_of_pairs},
    }
    rows, seconds = [one for one, _ in results_of_pairs], perf_counter() - began
    samples = {f"{one.source}:{one.target}": answers for one, answers in results_of_pairs}
    with results.current() as document:
        document = with_retrieval(document, settings, rows, counts, seconds)
        return results.write(document, {task.name: samples})


def warn_of_few_candidates(task: Task, rows: list[Retrieved]) -> None:
    """Log why a limited lexicon's score cannot be compared with one of all its words."""
    for one in rows:
        if "candidate_words" not in one.counts:
            continue
        log.warning(
            "%s, %s to %s: evaluation.limit leaves %d candidate words, and %d pairs share a token "
            "(cognates, names); the score is higher than among all words",
            task.name, one.source, one.target, one.counts["candidate_words"],
            one.counts["pairs_that_share_a_token"],
        )  # fmt: skip


def retrieved(
    export: Export, task: Task, splits: dict[str, Any], config: EvaluationConfig
) -> list[Found]:
    """Retrieval results of a model on a task, for each pair of languages."""
    tokenizer, model = read_tokenizer(export.path), load_encoder(export.path)
    kind = KINDS[task.kind]
    trees = task_trees(export, [task], config) if kind.sentences else Trees()
    tools = config.syntax, trees
    return [
        kind.retrieve(export, model, pair, splits, tokenizer, tools)
        for pair in language_pairs(export, task, config.languages)
    ]


def results_folder_of(export: Export) -> Path:
    """The default folder of a model's results."""
    run = export.path.parent if export.path.name == "export" else export.path
    return run / ("evaluation" + (f"-{export.baseline}" if export.baseline else ""))


def evaluate(
    model: Path, tasks: list[str], config: EvaluationConfig, output: Path | None = None
) -> Document:
    """The results of a model on the tasks, as written to <output>/results.json.

    The default output is the folder "evaluation" of the run. A task whose results are there
    already, for the same weights, files and settings, is not measured again, and no model is
    fine-tuned twice. All tasks are checked before a model is loaded; those that cannot be measured
    are left out, and listed under "skipped" with the reason.

    Raises:
        CheckpointError: there is no model.
        ConfigError: an unknown task.
        AlignMLMError: no task can be measured.
    """
    baseline = "" if config.baseline == "none" else config.baseline
    export = open_model(model, config.languages, config.max_tokens, baseline)
    if baseline != "monolingual" and config.languages:
        config = replace(
            config,
            source=config.source or config.languages[0],
            targets=config.targets or config.languages,
        )
    folder = output or results_folder_of(export)
    results = open_results(folder, {"path": str(export.path), **export.identity()})
    before, skipped = results.document().get("skipped", {}), Skipped()
    chosen = selected_tasks(export, tasks, config, skipped)
    folder.mkdir(parents=True, exist_ok=True)
    for number, task in enumerate(chosen, start=1):
        log.info("task %d of %d: %s", number, len(chosen), task.name)
        with skipped.on_error(task.name):
            if KINDS[task.kind].model:
                measure_transfer(export, task, config, results, own_tasks(tasks))
            else:
                measure_retrieval(export, task, config, results)
    if all(task.name in skipped.errors for task in chosen):
        raise skipped.all_failed()
    reasons, document = skipped.reasons(), results.document()
    if with_skipped(document, before, reasons) == document:
        return document
    with results.current() as document:
        return results.write(with_skipped(document, before, reasons))


def asked_names(names: Iterable[str]) -> set[str]:
    """Names of tasks and groups that a command asks for, and of the tasks of these groups."""
    return {
        task_name for name in names for task_name in (name, *(t.name for t in load_tasks(name)))
    }


def skipped_of(document: Document, names: Iterable[str]) -> dict[str, str]:
    """Why tasks of a command were skipped; a document may list others, too."""
    asked = asked_names(names)
    return {k: v for k, v in document.get("skipped", {}).items() if k in asked}


def with_skipped(document: Document, before: dict[str, str], reasons: dict[str, str]) -> Document:
    """The document that says why tasks of this evaluation were skipped.

    Entries from before this evaluation are replaced; what another one has added since stays.
    """
    skipped = document.get("skipped", {})
    added = {name: reason for name, reason in skipped.items() if before.get(name) != reason}
    return {**document, "skipped": {**added, **reasons}}
