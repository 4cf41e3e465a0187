"""Evaluation of a model, written to results.json: zero-shot transfer (BS, BZ, Delta), retrieval.

Existing results are reused.
"""

import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.evaluation.evaluated_model import Export, open_model
from alignmlm.evaluation.examples.rendering import Trees, syntax_contents, trees_of
from alignmlm.evaluation.fine_tuning.training import (
    TaskData,
    Tuning,
    fine_tuned,
    in_precision,
    scored_split,
    task_data,
)
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
from alignmlm.evaluation.scores.scoring import Arm, Retrieved, Sample, Scores, SplitScore
from alignmlm.evaluation.selection import Selected, Skipped, TransferDirection, selected_tasks
from alignmlm.evaluation.settings import EvaluationConfig, SyntaxConfig
from alignmlm.probes.encoder import load_encoder
from alignmlm.tasks.kinds import KINDS
from alignmlm.tasks.task import Task, TaskExamples

log = logging.getLogger(__name__)


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


def common_settings(
    export: Export, tested: TaskExamples, config: EvaluationConfig
) -> dict[str, Any]:
    """What the scores of any task depend on, apart from the model."""
    return {
        "task": settings_of(tested.task),
        **syntax_settings(export, config.syntax),
        "files_xxh3": tested.files_xxh3,
        "limit": config.limit,
        "max_tokens": export.seq_len,
    }


def retrieval_settings(
    export: Export, tested: TaskExamples, config: EvaluationConfig
) -> dict[str, Any]:
    """Everything that a retrieval task's scores depend on, apart from the model."""
    pairs = language_pairs(export, tested.task, config.languages)
    return {**common_settings(export, tested, config), "pairs": [list(pair) for pair in pairs]}


def transfer_settings(
    export: Export, selected: Selected, direction: TransferDirection, config: EvaluationConfig
) -> dict[str, Any]:
    """Everything that a fine-tuned task's scores depend on, apart from the model."""
    source = selected.source
    source_task = (
        {"source_task": settings_of(source.task), "source_files_xxh3": source.files_xxh3}
        if source.task.name != selected.tested.task.name
        else {}
    )
    return {
        **common_settings(export, selected.tested, config),
        **source_task,
        "source": direction.source,
        "targets": list(direction.targets),
        "seeds": config.seeds,
        "finetune": asdict(config.finetune),
    }


def measure_transfer(
    export: Export,
    selected: Selected,
    direction: TransferDirection,
    config: EvaluationConfig,
    results: ResultsFolder,
) -> Document:
    """The document with a fine-tuned task's results, measured unless they are already in it."""
    task, settings = direction.task, transfer_settings(export, selected, direction, config)
    if holds(results.path, document := results.document(), settings):
        log.info("%s: measured before, see %s", task.name, results.path)
        return document
    began = perf_counter()
    data = task_data(export, selected.source, selected.tested, config)
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


@dataclass(slots=True)
class TransferResult:
    """The results of one task."""

    scores: list[Scores] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)  # by language
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # of test texts, by language


def transfer_scores(
    data: dict[str, TaskData], direction: TransferDirection, seeds: list[int], tuning: Tuning
) -> TransferResult:
    """Scores of each seed and target, every answer, and what happened to the test texts.

    Source: Tang et al., 2022 (arXiv:2211.08547), section 4.
    """
    result, rows = TransferResult(), tuning.config.batch_rows
    start, task = data[direction.source_task.name], data[direction.task.name]
    source = direction.source
    for seed in seeds:
        model = fine_tuned(start, source, seed, tuning)
        own = scored_split(model, start, source, "test", rows)
        dev = (
            scored_split(model, start, source, "dev", rows).percent
            if "dev" in start.splits
            else None
        )
        add_answers(result, source, own, seed, "source")
        for target in direction.targets:
            zero = scored_split(model, task, target, "test", rows)
            add_answers(result, target, zero, seed, "bz")
            supervised = None
            if "train" in task.splits:
                other = fine_tuned(task, target, seed, tuning)
                supervised = scored_split(other, task, target, "test", rows)
                add_answers(result, target, supervised, seed, "bs")
            scores = Scores(
                seed=seed, source=source, target=target, source_dev=dev, source_test=own.percent,
                bz=zero.percent, bs=supervised.percent if supervised else None,
            )  # fmt: skip
            log_scores(direction.task.name, scores)
            result.scores.append(scores)
    result.counts[source] = start.rendered(source, "test").counts
    for target in direction.targets:
        result.counts[target] = task.rendered(target, "test").counts
    return result


def add_answers(
    result: TransferResult, language: str, tested: SplitScore, seed: int, arm: Arm
) -> None:
    """Add the answers of one model to the results."""
    result.samples.setdefault(language, []).extend(tested.samples(seed, arm))


def log_scores(task: str, scores: Scores) -> None:
    """Log the scores of one seed and target."""
    supervised = "" if scores.bs is None else f", BS {scores.bs:.1f}, Delta {scores.delta:.1f}"
    log.info(
        "%s, seed %d, %s to %s: source %.1f, BZ %.1f%s",
        task, scores.seed, scores.source, scores.target, scores.source_test, scores.bz, supervised,
    )  # fmt: skip


def sample_counts(data: TaskData, result: TransferResult) -> dict[str, Any]:
    """Numbers of test examples, and what happened to them in each language."""
    tested = len(data.documents["test"])
    return {"original": data.test_examples, "effective": tested, "counts": result.counts}


def measure_retrieval(
    export: Export, tested: TaskExamples, config: EvaluationConfig, results: ResultsFolder
) -> Document:
    """The document with a retrieval task's results, measured unless they are already in it."""
    task, settings = tested.task, retrieval_settings(export, tested, config)
    if holds(results.path, document := results.document(), settings):
        log.info("%s: measured before, see %s", task.name, results.path)
        return document
    began = perf_counter()
    limited = {split: part.examples[: config.limit] for split, part in tested.splits.items()}
    results_of_pairs = retrieved(export, tested, limited, config)
    for one, _ in results_of_pairs:
        log.info("%s, %s to %s: %.1f %%", task.name, one.source, one.target, one.percent)
    if config.limit is not None:
        warn_of_few_candidates(task, [one for one, _ in results_of_pairs])
    counts = {
        "original": len(tested.splits["test"].examples),
        "effective": len(limited["test"]),
        "counts": {f"{one.source}:{one.target}": one.counts for one, _ in results_of_pairs},
    }
    rows, seconds = [one for one, _ in results_of_pairs], perf_counter() - began
    samples = {f"{one.source}:{one.target}": answers for one, answers in results_of_pairs}
    with results.current() as document:
        document = with_retrieval(document, settings, rows, counts, seconds)
        return results.write(document, {task.name: samples})


def warn_of_few_candidates(task: Task, rows: list[Retrieved]) -> None:
    """Log why the score of a limited lexicon cannot be compared with that of the whole one."""
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
    export: Export, tested: TaskExamples, splits: dict[str, Any], config: EvaluationConfig
) -> list[Found]:
    """Retrieval results of a model on a task, for each pair of languages."""
    tokenizer, model = load_tokenizer(export.path), load_encoder(export.path)
    kind, files = KINDS[tested.task.kind], tested.files.values()
    trees = trees_of(files, export.languages, config.syntax) if kind.sentences else Trees()
    tools = config.syntax, trees
    return [
        kind.retrieve(export, model, pair, splits, tokenizer, tools)
        for pair in language_pairs(export, tested.task, config.languages)
    ]


def results_folder_of(export: Export) -> Path:
    """The default folder of a model's results."""
    run = export.path.parent if export.path.name == "export" else export.path
    return run / ("evaluation" + (f"-{export.baseline}" if export.baseline else ""))


def evaluate(
    model: Path, tasks: list[str], config: EvaluationConfig, output: Path | None = None
) -> tuple[Document, dict[str, str]]:
    """The results of a model, as written to <output>/results.json, and why tasks were skipped.

    The default output is the folder "evaluation" of the run, or "evaluation-<baseline>". A task
    whose results are there already, for the same weights, files and settings, is not measured
    again, and no model is fine-tuned twice. All tasks are checked before a model is loaded; those
    that cannot be measured are left out, and listed under "skipped" with the reason.

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
    config = in_one_precision(config, results.document())
    before, skipped = results.document().get("skipped", {}), Skipped()
    chosen = selected_tasks(export, tasks, config, skipped)
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(chosen, start=1):
        name = one.tested.task.name
        log.info("task %d of %d: %s", number, len(chosen), name)
        with skipped.on_error(name):
            if one.direction is None:
                measure_retrieval(export, one.tested, config, results)
            else:
                measure_transfer(export, one, one.direction, config, results)
    if all(one.tested.task.name in skipped.errors for one in chosen):
        raise skipped.all_failed()
    reasons, document = skipped.reasons(), results.document()
    if with_skipped(document, before, reasons) == document:
        return document, reasons
    with results.current() as document:
        return results.write(with_skipped(document, before, reasons)), reasons


def in_one_precision(config: EvaluationConfig, document: Document) -> EvaluationConfig:
    """The settings with a precision in place of `auto`.

    It is that of the results which are there already, or else the fastest on this machine.
    """
    tuned = [one["finetune"] for one in document["configs"].values() if "finetune" in one]
    known = [one["precision"] for one in tuned if one.get("precision") in ("fp32", "bf16")]
    return replace(config, finetune=in_precision(config.finetune, known[0] if known else None))


def with_skipped(document: Document, before: dict[str, str], reasons: dict[str, str]) -> Document:
    """The document that says why tasks of this evaluation were skipped.

    Entries from before this evaluation are replaced; what another one has added since stays.
    """
    skipped = document.get("skipped", {})
    added = {name: reason for name, reason in skipped.items() if before.get(name) != reason}
    return {**document, "skipped": {**added, **reasons}}
