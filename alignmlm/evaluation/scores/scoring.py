"""Scores of a split, of transfer to a language and of retrieval, and their means over seeds."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from alignmlm.evaluation.scores.samples import Arm, Sample
from alignmlm.evaluation.scores.statistics import mean_interval
from alignmlm.tasks.metrics import Scored


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrieved:
    """What one pair of languages scored; `percent` is the task's number."""

    source: str
    target: str
    percent: float  # P@1 by cosine from source to target
    layer: int | None  # whose vectors; none: word embeddings
    items: int  # asked for
    metrics: dict[str, float | int]  # both directions, by cosine, CSLS and margin, at all layers
    counts: dict[str, int]
