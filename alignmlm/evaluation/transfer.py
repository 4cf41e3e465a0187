"""Zero-shot transfer of one model on one task: BS, BZ and Delta.

Source: Tang et al., 2022 (arXiv:2211.08547), section 4.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache

from alignmlm.evaluation.export import Export
from alignmlm.evaluation.finetune import (
    FineTuneConfig,
    entity_f1_percent,
    fine_tune,
    word_accuracy_percent,
)
from alignmlm.evaluation.labelled import Example, LabelledText, rendered_in, reorderer_of
from alignmlm.evaluation.reordering import SyntaxConfig, Trees

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Scores of one fine-tuning seed on one target language, each in percent."""

    seed: int
    source: str  # language fine-tuned on
    target: str
    source_dev: float  # fine-tuned on the source, its development split; selects nothing
    source_test: float  # fine-tuned and tested on the source
    bz: float  # fine-tuned on the source, tested on the target: zero-shot
    bs: float  # fine-tuned and tested on the target: supervised

    @property
    def delta(self) -> float:
        """What zero-shot transfer loses, in percentage points: BS - BZ; smaller is better."""
        return self.bs - self.bz

    def to_json(self) -> dict[str, object]:
        """Itself as a JSON object, Delta included."""
        return {**asdict(self), "delta": self.delta}


def mean(values: list[float]) -> float:
    """The arithmetic mean of at least one number."""
    return sum(values) / len(values)


def summary(scores: list[Scores], metric: str = "acc") -> dict[str, float | int]:
    """Means over seeds, and over targets where there are several.

    "acc,none" or "f1,none" is the zero-shot score in [0, 1], lm-evaluation-harness's key and
    range; source, bs and bz are in percent, delta in percentage points.
    """
    bz = mean([score.bz for score in scores])
    return {
        f"{metric},none": bz / 100,
        "source": mean([score.source_test for score in scores]),
        "bs": mean([score.bs for score in scores]),
        "bz": bz,
        "delta": mean([score.delta for score in scores]),
        "n_seeds": len({score.seed for score in scores}),
    }


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task's splits, ready for any language of a model."""

    labels: list[str]
    splits: dict[str, LabelledText]
    metric: str = "accuracy"  # or "entity_f1"
    syntax: SyntaxConfig = field(default_factory=SyntaxConfig)
    trees: Trees = field(default_factory=Trees)


def transfer_scores(
    export: Export,
    data: TaskData,
    languages: tuple[str, list[str]],
    config: FineTuneConfig,
    seeds: list[int],
) -> tuple[list[Scores], dict[str, dict[str, int]]]:
    """Scores of each seed and target, and what happened to the test words in each language."""
    source, targets = languages
    counts: dict[str, dict[str, int]] = {}

    @cache
    def examples(language: str, split: str) -> list[Example]:
        reorderer = reorderer_of(export, language, data.syntax, data.trees)
        rendered = rendered_in(export, language, data.splits[split], reorderer)
        if split == "test":
            counts[language] = rendered.counts
        return rendered.examples

    found = []
    for seed in seeds:
        tested = tester(export, data, examples(source, "train"), config, seed)
        dev, test = tested(examples(source, "dev")), tested(examples(source, "test"))
        for target in targets:
            bz = tested(examples(target, "test"))
            supervised = tester(export, data, examples(target, "train"), config, seed)
            scores = Scores(
                seed=seed,
                source=source,
                target=target,
                source_dev=dev,
                source_test=test,
                bz=bz,
                bs=supervised(examples(target, "test")),
            )
            report(scores)
            found.append(scores)
    return found, counts


def tester(
    export: Export, data: TaskData, train: list[Example], config: FineTuneConfig, seed: int
) -> Callable[[list[Example]], float]:
    """A function that gives the score in percent of a model fine-tuned on some examples."""
    model = fine_tune(export, data.labels, train, config, seed)
    rows = config.batch_rows
    if data.metric == "entity_f1":
        return lambda examples: entity_f1_percent(export, model, examples, rows, data.labels)
    return lambda examples: word_accuracy_percent(export, model, examples, rows)


def report(scores: Scores) -> None:
    """Log one row."""
    log.info(
        "seed %d, %s to %s: source %.1f, BS %.1f, BZ %.1f, Delta %.1f",
        scores.seed, scores.source, scores.target,
        scores.source_test, scores.bs, scores.bz, scores.delta,
    )  # fmt: skip
