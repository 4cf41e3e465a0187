"""Answers and scores: of a split, of transfer to a language, of retrieval; their means over seeds.

samples_<task>@<language>_<hash>.jsonl holds a model's answer to each test example. A line has the
keys of EleutherAI/lm-evaluation-harness's samples (doc_id, doc_hash, target, filtered_resps), and
`gained` and `possible`, from which most scores are computed: 100 * sum(gained) / sum(possible). For
accuracy the two are the right answers and all answers of an example; for F1, 2 * true positives,
and that plus false positives and false negatives; for a mean of shares, the share and 1. Macro F1
is no such sum: it is computed from the labels and answers of all examples at once.
"""

import json
import math
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xxhash
from jaxtyping import Float, Int

from alignmlm.errors import DataError, quoted
from alignmlm.evaluation.scores.statistics import mean_interval
from alignmlm.storage.atomic import PARTIAL, replace_bytes
from alignmlm.storage.plain_data import parse_json
from alignmlm.tasks.metrics import Labels, Scored

Arm = Literal["source", "bs", "bz", "retrieved"]
ARMS: tuple[Arm, ...] = ("source", "bs", "bz")
Whole = Callable[[Labels, Labels], float]  # a metric of all examples at once, see Metric.whole


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One answer of one model to one test example."""

    seed: int  # of fine-tuning
    arm: Arm  # tested on the source, on the target (supervised, zero-shot), or not fine-tuned
    doc_id: str
    doc_hash: str  # of the text, so that other data under the same id is noticed
    target: list[str]  # the right labels; one where the task has one label per example
    filtered_resps: list[str]  # the labels given
    gained: float
    possible: float

    def to_json(self) -> dict[str, Any]:
        """Itself as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class SplitScore:
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
    source_dev: float | None = None  # fine-tuned on the source, tested on its development split
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
    """Mean and 95 % interval over seeds; no interval for one seed, and neither without values."""
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
    """The scores of one pair of languages; `percent` is the one reported for the task."""

    source: str
    target: str
    percent: float  # P@1 by cosine from source to target
    layer: int | None  # of the vectors; None: word embeddings
    items: int  # number of queries
    metrics: dict[str, float | int]  # both directions, by cosine, CSLS and margin, at all layers
    counts: dict[str, int]


def write_samples(
    folder: Path, task: str, language: str, samples: Iterable[Sample]
) -> dict[str, Any]:
    """Write samples to a new file, one per line; returns its name (with hash), size and hash."""
    lines = (json.dumps(sample.to_json(), ensure_ascii=False) + "\n" for sample in samples)
    data = "".join(lines).encode()
    digest = xxhash.xxh3_64_hexdigest(data)
    name = f"samples_{task}@{language}_{digest}.jsonl"
    replace_bytes(folder / name, data)
    return {"file": name, "bytes": len(data), "xxh3": digest}


def remove_samples(folder: Path, keep: Container[str]) -> None:
    """Remove sample files that are not to be kept, and partial ones left by killed processes.

    The caller holds the lock of the results.
    """
    for path in folder.glob(f"samples_*@*.jsonl{PARTIAL}*"):
        path.unlink(missing_ok=True)
    for path in folder.glob("samples_*@*.jsonl"):
        if path.name not in keep:
            path.unlink(missing_ok=True)


def recorded_samples(
    folder: Path, recorded: dict[str, Any], task: str, language: str
) -> list[Sample]:
    """The samples of one task and language that results.json names; none where it names none.

    Raises:
        DataError: the file is missing or damaged, or a line is not a sample.
    """
    file = recorded.get(task, {}).get(language)
    if file is None:
        return []
    path = folder / file["file"]
    try:
        data = path.read_bytes()
        same = xxhash.xxh3_64_hexdigest(data) == file["xxh3"]
        damage = "" if same else f"its {len(data):,} bytes have another hash"
    except OSError as error:
        damage = f"it cannot be read ({error.strerror})"
    if damage:
        problem = "was changed, is damaged, or was just replaced by another evaluation"
        remedy = "if this persists, evaluate again"
        raise DataError(f"{path} {problem}: {damage}; {remedy}")
    return samples_in(data, path)


def samples_in(data: bytes, path: Path) -> list[Sample]:
    """The samples in the bytes of a file, which `path` names in errors.

    Raises:
        DataError: a line is not a sample.
    """
    samples = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            raw = parse_json(line, f"{path}:{number}")
            samples.append(Sample(**{name: raw[name] for name in Sample.__slots__}))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}:{number}: no sample: {quoted(error)}") from error
    return samples


@dataclass(frozen=True, slots=True)
class Answered:
    """Scores of one arm by example and seed; both sides of a comparison have the same shape."""

    documents: tuple[tuple[str, str], ...]  # id and hash of each example
    gained: Float[np.ndarray, "example seed"]
    possible: Float[np.ndarray, "example seed"]
    without: Float[np.ndarray, "example seed"] | None = None  # of a metric that does not add up

    def left_out(self) -> Float[np.ndarray, "example seed"]:
        """The score without each example, in percent; nan or infinite where no other counts."""
        if self.without is not None:
            return self.without
        gained, possible = (x.sum(axis=0) - x for x in (self.gained, self.possible))
        with np.errstate(invalid="ignore", divide="ignore"):
            return 100 * (gained / possible)


def without_each(whole: Whole, samples: list[Sample]) -> list[float]:
    """A metric of all examples at once, in percent, with each left out; nan for a single one.

    Examples with the same label and answer have the same value, which is computed once.
    """
    if len(samples) == 1:
        return [math.nan]
    answers = [(sample.target[0], sample.filtered_resps[0]) for sample in samples]
    scores: dict[tuple[str, str], float] = {}
    for place, answer in enumerate(answers):
        if answer not in scores:
            right, given = zip(*answers[:place], *answers[place + 1 :], strict=True)
            scores[answer] = 100 * whole(right, given)
    return [scores[answer] for answer in answers]


def answered(
    samples: list[Sample], arm: Arm, seeds: list[int], whole: Whole | None = None
) -> Answered | None:
    """The scores of one arm and some seeds; None where any seed lacks some or all examples."""
    by_seed: dict[int, dict[tuple[str, str], Sample]] = {seed: {} for seed in seeds}
    for sample in samples:
        if sample.arm == arm and sample.seed in by_seed:
            by_seed[sample.seed][sample.doc_id, sample.doc_hash] = sample
    documents = tuple(sorted({document for of_seed in by_seed.values() for document in of_seed}))
    if not documents or any(len(of_seed) < len(documents) for of_seed in by_seed.values()):
        return None
    gained, possible = (
        np.array(
            [[getattr(by_seed[seed][d], name) for seed in seeds] for d in documents], np.float64
        )
        for name in ("gained", "possible")
    )
    if whole is None:
        return Answered(documents, gained, possible)
    columns = [without_each(whole, [by_seed[seed][d] for d in documents]) for seed in seeds]
    left_out = np.array(columns, np.float64).T
    return Answered(documents, gained, possible, left_out)


def confusion(
    samples: Iterable[Sample], arm: Arm
) -> tuple[list[str], Int[np.ndarray, "label label"]]:
    """The sorted labels, and how often each (row) was answered as each (column), over all seeds.

    Raises:
        DataError: an example has more or fewer answers than right labels.
    """
    pairs: list[tuple[str, str]] = []
    for sample in samples:
        if sample.arm != arm:
            continue
        if len(sample.target) != len(sample.filtered_resps):
            lengths = f"{len(sample.target)} labels and {len(sample.filtered_resps)} answers"
            raise DataError(f"example {sample.doc_id} of seed {sample.seed} has {lengths}")
        pairs += zip(sample.target, sample.filtered_resps, strict=True)
    labels = sorted({label for pair in pairs for label in pair})
    place = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for right, given in pairs:
        counts[place[right], place[given]] += 1
    return labels, counts
