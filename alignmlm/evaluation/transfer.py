"""Zero-shot transfer of one model on one task: BS, BZ and Delta.

Source: Tang et al., 2022 (arXiv:2211.08547), section 4.
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from alignmlm.evaluation.cache import cached_model, model_key
from alignmlm.evaluation.directions import Direction
from alignmlm.evaluation.evaluation_config import FineTuneConfig, SyntaxConfig
from alignmlm.evaluation.export import Export
from alignmlm.evaluation.finetune import fine_tune, predictions
from alignmlm.evaluation.rendering import renderer_of, reorderer_of
from alignmlm.evaluation.reordering import Trees
from alignmlm.evaluation.rows import Rendered
from alignmlm.evaluation.samples import Arm, Sample
from alignmlm.evaluation.scoring import SCORED, Scored, score_percent
from alignmlm.evaluation.statistics import mean_interval
from alignmlm.evaluation.task_text import ROWS, TaskText
from alignmlm.tasks.task import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Scores of one fine-tuning seed on one target language, each in percent."""

    seed: int
    source: str  # language fine-tuned on
    target: str
    source_dev: float | None = None  # fine-tuned on the source, its development split
    source_test: float  # fine-tuned and tested on the source
    bz: float  # fine-tuned on the source, tested on the target: zero-shot
    bs: float | None  # fine-tuned and tested on the target; none where it has no training split

    @property
    def delta(self) -> float | None:
        """What zero-shot transfer loses, in percentage points: BS - BZ; smaller is better."""
        return None if self.bs is None else self.bs - self.bz

    def to_json(self) -> dict[str, object]:
        """Itself as a JSON object, Delta included."""
        return {**asdict(self), "delta": self.delta}


def mean(values: list[float]) -> float:
    """The arithmetic mean of at least one number."""
    return sum(values) / len(values)


def measured(values: list[float | None]) -> tuple[float | None, list[float] | None]:
    """Mean and 95 % interval over seeds; none where nothing, or one seed, was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    interval = mean_interval(np.array(known, np.float64))
    bounds = [interval.low, interval.high]
    return mean(known), None if any(map(math.isnan, bounds)) else bounds


def summary(scores: list[Scores], metric: str = "acc") -> dict[str, object]:
    """Means over seeds, and over targets where there are several, with 95 % intervals over seeds.

    "acc,none" or "f1,none" is the zero-shot score in [0, 1] and "acc_stderr,none" its standard
    error over seeds, lm-evaluation-harness's keys and range; source, bs and bz are in percent,
    delta in percentage points. There is no interval over several targets: they are not a sample.
    """
    columns: dict[str, list[float | None]] = {
        "source": [score.source_test for score in scores],
        "bs": [score.bs for score in scores],
        "bz": [score.bz for score in scores],
        "delta": [score.delta for score in scores],
    }
    one_target = len({score.target for score in scores}) == 1
    means: dict[str, object] = {}
    for name, values in columns.items():
        means[name], interval = measured(values)
        means[f"{name}_ci95"] = interval if one_target else None
    seeds = len({score.seed for score in scores})
    zero_shot = [score.bz / 100 for score in scores]
    spread = float(np.std(zero_shot, ddof=1)) if one_target and seeds > 1 else None
    error = None if spread is None else spread / math.sqrt(seeds)
    named = {f"{metric},none": mean(zero_shot), f"{metric}_stderr,none": error}
    return {**named, **means, "n_seeds": seeds}


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task's splits as base tokens, ready for any language of a model."""

    task: Task
    labels: list[str]  # none of questions
    splits: dict[str, TaskText]
    documents: dict[str, list[tuple[str, str]]]  # id and hash of each example of a split
    test_examples: int  # in the file, of which there may be a limit
    syntax: SyntaxConfig = field(default_factory=SyntaxConfig)
    trees: Trees = field(default_factory=Trees)

    def rendered(self, export: Export, language: str, split: str) -> Rendered:
        """A split in a language of a model."""
        reorderer = reorderer_of(export, language, self.syntax, self.trees)
        renderer = renderer_of(export, language, reorderer)
        return ROWS[self.task.kind](self.splits[split], renderer, export.seq_len)


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
