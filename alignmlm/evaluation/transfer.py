"""Zero-shot transfer of one model on one task: BS, BZ and Delta.

Source: Tang et al., 2022 (arXiv:2211.08547), section 4.
"""

import logging
from dataclasses import dataclass, field

from alignmlm.evaluation.directions import Direction
from alignmlm.evaluation.examples.task_data import TaskData
from alignmlm.evaluation.fine_tuning.model_cache import Tuning, fine_tuned
from alignmlm.evaluation.fine_tuning.training import scored_split
from alignmlm.evaluation.scores.samples import Arm, Sample
from alignmlm.evaluation.scores.scoring import Scores, Tested

log = logging.getLogger(__name__)


@dataclass(slots=True)
class TransferResult:
    """The results of one task."""

    scores: list[Scores] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)  # by language
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # of test texts, by language


def transfer_scores(
    data: dict[str, TaskData], direction: Direction, seeds: list[int], tuning: Tuning
) -> TransferResult:
    """Scores of each seed and target, every answer, and what happened to the test texts."""
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
        keep(result, source, own, seed, "source")
        for target in direction.targets:
            zero = scored_split(model, task, target, "test", rows)
            keep(result, target, zero, seed, "bz")
            supervised = None
            if "train" in task.splits:
                other = fine_tuned(task, target, seed, tuning)
                supervised = scored_split(other, task, target, "test", rows)
                keep(result, target, supervised, seed, "bs")
            scores = Scores(
                seed=seed, source=source, target=target, source_dev=dev, source_test=own.percent,
                bz=zero.percent, bs=supervised.percent if supervised else None,
            )  # fmt: skip
            report(direction.task.name, scores)
            result.scores.append(scores)
    result.counts[source] = start.rendered(source, "test").counts
    for target in direction.targets:
        result.counts[target] = task.rendered(target, "test").counts
    return result


def keep(result: TransferResult, language: str, tested: Tested, seed: int, arm: Arm) -> None:
    """Add the answers of one model to the results."""
    result.samples.setdefault(language, []).extend(tested.samples(seed, arm))


def report(task: str, scores: Scores) -> None:
    """Log one row."""
    supervised = "" if scores.bs is None else f", BS {scores.bs:.1f}, Delta {scores.delta:.1f}"
    log.info(
        "%s, seed %d, %s to %s: source %.1f, BZ %.1f%s",
        task, scores.seed, scores.source, scores.target, scores.source_test, scores.bz, supervised,
    )  # fmt: skip
