"""samples_<task>@<language>_<hash>.jsonl: what a model answered to each test example.

A line has the keys of EleutherAI/lm-evaluation-harness's samples (doc_id, doc_hash, target,
filtered_resps), and what scores add up from: a score is 100 * sum(gained) / sum(possible). For
accuracy these are right and all answers of an example; for F1 they are 2 * true positives, and that
plus false positives and false negatives; for a mean of shares the share and 1.
"""

import json
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xxhash
from jaxtyping import Float, Int

from alignmlm.errors import DataError
from alignmlm.storage.atomic import PARTIAL, replace_bytes
from alignmlm.storage.checksums import damage_of
from alignmlm.storage.plain_data import parse_json

Arm = Literal["source", "bs", "bz", "retrieved"]
ARMS: tuple[Arm, ...] = ("source", "bs", "bz")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One answer of one model to one test example."""

    seed: int  # of fine-tuning
    arm: Arm  # tested on the source, on the target supervised or zero-shot; not fine-tuned
    doc_id: str
    doc_hash: str  # of the text, so that other data under the same id is noticed
    target: list[str]  # the right labels; one where the task has one label an example
    filtered_resps: list[str]  # the labels given
    gained: float
    possible: float

    def to_json(self) -> dict[str, Any]:
        """Itself as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


def write_samples(
    folder: Path, task: str, language: str, samples: Iterable[Sample]
) -> dict[str, Any]:
    """Name, size and hash of a new file of samples, one a line; its name has the hash, too."""
    lines = (json.dumps(sample.to_json(), ensure_ascii=False) + "\n" for sample in samples)
    data = "".join(lines).encode()
    digest = xxhash.xxh3_64_hexdigest(data)
    name = f"samples_{task}@{language}_{digest}.jsonl"
    replace_bytes(folder / name, data)
    return {"file": name, "bytes": len(data), "xxh3": digest}


def remove_samples(folder: Path, keep: Container[str]) -> None:
    """Remove the samples of results that no longer exist, and what killed processes left of some.

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
        DataError: the file is missing, damaged, or a line is no sample.
    """
    file = recorded.get(task, {}).get(language)
    if file is None:
        return []
    path = folder / file["file"]
    if (damage := damage_of(path, file)) is not None:
        raise DataError(
            f"{path} was changed, is damaged, or was just replaced by another evaluation: {damage}"
        )
    return read_samples(path)


def read_samples(path: Path) -> list[Sample]:
    """The samples of a file.

    Raises:
        DataError: a line is no sample.
    """
    samples = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                raw = parse_json(line, f"{path}:{number}")
                samples.append(Sample(**{name: raw[name] for name in Sample.__slots__}))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}:{number}: no sample: {error!r}") from error
    return samples


@dataclass(frozen=True, slots=True)
class Answered:
    """Scores of one arm by example and seed; both sides of a comparison have the same shape."""

    documents: tuple[tuple[str, str], ...]  # id and hash of each example
    gained: Float[np.ndarray, "example seed"]
    possible: Float[np.ndarray, "example seed"]


def answered(samples: list[Sample], arm: Arm, seeds: list[int]) -> Answered | None:
    """The scores of one arm and some seeds; None where a seed or an example of one is missing."""
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
    return Answered(documents, gained, possible)


def confusion(
    samples: Iterable[Sample], arm: Arm
) -> tuple[list[str], Int[np.ndarray, "label label"]]:
    """The labels in order, and how often each (row) was answered with each (column), all seeds.

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
