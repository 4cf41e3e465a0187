"""How long the tasks of a study take to measure, from a few examples of each."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from alignmlm.evaluation.evaluate import evaluate
from alignmlm.evaluation.scores.results import Document
from alignmlm.evaluation.settings import EvaluationConfig
from alignmlm.storage.typed_settings import build
from alignmlm.tasks.formats import read_split
from alignmlm.tasks.task import Task, found_file

FEW, MORE = 64, 256  # examples of each split
TRAINING = 3  # cost of a training example, in tested ones: a backward pass costs two forward passes


def used_examples(task: Task, split: str, evaluation: EvaluationConfig) -> int:
    """How many examples of a split are used; 0 where there is no such split."""
    if split not in task.files:
        return 0
    file = found_file(task, split, Path(evaluation.sample_folder))
    return len(read_split(file).examples[: evaluation.limit])


def tested_examples(settings: dict[str, Any], evaluation: EvaluationConfig) -> int:
    """What measuring a task of results.json costs, in tested examples."""
    task = build(Task, ("task", settings["task"]))
    source = build(Task, ("task", settings.get("source_task", settings["task"])))
    count = partial(used_examples, evaluation=evaluation)
    if "targets" not in settings:  # nothing is fine-tuned
        return count(task, "test")
    targets = len(settings["targets"])
    trained = count(source, "train") + targets * count(task, "train")
    zero_shot = count(source, "test") + count(source, "dev") + targets * count(task, "test")
    supervised = targets * count(task, "test") if "train" in task.files else 0
    epochs = evaluation.finetune.epochs
    return len(evaluation.seeds) * (TRAINING * epochs * trained + zero_shot + supervised)


def cost(document: Document, evaluation: EvaluationConfig) -> int:
    """What measuring all tasks of results.json costs, in tested examples."""
    return sum(tested_examples(each, evaluation) for each in document["configs"].values())


def expected_measuring_s(run: Path, tasks: list[str], evaluation: EvaluationConfig) -> float:
    """Seconds that tasks take to measure with a run's model; trials are written to its folder.

    Raises:
        AlignMLMError: none can be measured.
    """
    if not tasks:
        return 0.0
    took, costs = [], []
    for name, limit in (("first", FEW), ("few", FEW), ("more", MORE)):  # the first one compiles
        part = replace(evaluation, limit=min(limit, evaluation.limit or limit), models=None)
        began = perf_counter()
        document, _ = evaluate(run, tasks, part, run / name)
        took.append(perf_counter() - began)
        costs.append(cost(document, part))
    first, few, more = took
    if costs[2] == costs[1]:
        return first
    example_s = max(0.0, more - few) / (costs[2] - costs[1])
    return first + example_s * (cost(document, evaluation) - costs[0])
