"""Zero-shot transfer of one model on one task: BS, BZ and Delta.

Source: Tang et al., 2022 (arXiv:2211.08547), section 4.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from transformers import PreTrainedModel

from alignmlm.evaluation.directions import Direction
from alignmlm.evaluation.evaluated_model import Export
from alignmlm.evaluation.examples.rendering import Rendered
from alignmlm.evaluation.examples.task_data import TaskData
from alignmlm.evaluation.fine_tuning.model_cache import cached_model, model_key
from alignmlm.evaluation.fine_tuning.training import fine_tune, predictions
from alignmlm.evaluation.scores.samples import Arm, Sample
from alignmlm.evaluation.scores.scoring import SCORED, Scored, Scores, score_percent
from alignmlm.evaluation.settings import FineTuneConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """How a model is fine-tuned, and where fine-tuned ones are kept."""

    config: FineTuneConfig
    seeds: list[int]
    models: Path | None = None  # folder; none: not kept
    models_gib: float = 20.0


@dataclass(slots=True)
class Measured:
    """The results of one task."""

    scores: list[Scores] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)  # by language
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # of test texts, by language


@dataclass(frozen=True, slots=True)
class Bench:
    """An evaluation session: one model, its fine-tuning, and every split rendered once."""

    export: Export
    tuning: Tuning
    rendered: Callable[[str, str, str], Rendered]  # task, language, split

    def tested(self, model: PreTrainedModel, data: TaskData, language: str, split: str) -> "Tested":
        """The predictions of a model on a split, scored."""
        rendered = self.rendered(data.task.name, language, split)
        rows = self.tuning.config.batch_rows
        outputs = predictions(self.export, model, rendered.examples, rows)
        scored = SCORED[data.task.kind](rendered, outputs, data.labels, data.task.metric)
        return Tested(scored, score_percent(data.task.metric, scored), data.documents[split])

    def tuned(self, data: TaskData, language: str, seed: int) -> PreTrainedModel:
        """A model fine-tuned on the training split in a language, from the cache if it is there."""
        name, kind, config = data.task.name, data.task.kind, self.tuning.config
        train = self.rendered(name, language, "train").examples
        selects = config.selection == "source_dev"
        rows = [train, self.rendered(name, language, "dev").examples] if selects else [train]
        key = model_key(self.export, kind, data.labels, rows, config, seed)

        def make() -> PreTrainedModel:
            return fine_tune(
                self.export, kind, data.labels, train, config, seed,
                lambda model: self.tested(model, data, language, "dev").percent,
            )  # fmt: skip

        return cached_model(self.tuning.models, kind, key, self.tuning.models_gib, make)


@dataclass(frozen=True, slots=True)
class Tested:
    """The predictions of a model on a split, and the score in percent."""

    scored: list[Scored]
    percent: float
    documents: list[tuple[str, str]]

    def samples(self, seed: int, arm: Arm) -> Iterator[Sample]:
        """Each answer as a sample."""
        for one in self.scored:
            name, digest = self.documents[one.document]
            yield Sample(
                seed=seed, arm=arm, doc_id=name, doc_hash=digest, target=one.target,
                filtered_resps=one.found, gained=one.gained, possible=one.possible,
            )  # fmt: skip


def bench_of(export: Export, data: dict[str, TaskData], tuning: Tuning) -> Bench:
    """The session of some tasks, by name."""

    @cache
    def rendered(task: str, language: str, split: str) -> Rendered:
        return data[task].rendered(export, language, split)

    return Bench(export, tuning, rendered)


def transfer_scores(
    export: Export, data: dict[str, TaskData], direction: Direction, tuning: Tuning
) -> Measured:
    """Scores of each seed and target, every answer, and what happened to the test texts."""
    bench, result = bench_of(export, data, tuning), Measured()
    start, task = data[direction.source_task.name], data[direction.task.name]
    source = direction.source
    for seed in tuning.seeds:
        model = bench.tuned(start, source, seed)
        own = bench.tested(model, start, source, "test")
        dev = bench.tested(model, start, source, "dev").percent if "dev" in start.splits else None
        keep(result, source, own, seed, "source")
        for target in direction.targets:
            zero = bench.tested(model, task, target, "test")
            keep(result, target, zero, seed, "bz")
            supervised = None
            if "train" in task.splits:
                other = bench.tuned(task, target, seed)
                supervised = bench.tested(other, task, target, "test")
                keep(result, target, supervised, seed, "bs")
            scores = Scores(
                seed=seed, source=source, target=target, source_dev=dev, source_test=own.percent,
                bz=zero.percent, bs=supervised.percent if supervised else None,
            )  # fmt: skip
            report(direction.task.name, scores)
            result.scores.append(scores)
    result.counts[source] = bench.rendered(start.task.name, source, "test").counts
    for target in direction.targets:
        result.counts[target] = bench.rendered(task.task.name, target, "test").counts
    return result


def keep(result: Measured, language: str, tested: Tested, seed: int, arm: Arm) -> None:
    """Add the answers of one model to the results."""
    result.samples.setdefault(language, []).extend(tested.samples(seed, arm))


def report(task: str, scores: Scores) -> None:
    """Log one row."""
    supervised = "" if scores.bs is None else f", BS {scores.bs:.1f}, Delta {scores.delta:.1f}"
    log.info(
        "%s, seed %d, %s to %s: source %.1f, BZ %.1f%s",
        task, scores.seed, scores.source, scores.target, scores.source_test, scores.bz, supervised,
    )  # fmt: skip
