"""results.json: scores, what they were measured on, and the settings.

Its keys include those of EleutherAI/lm-evaluation-harness, evaluator.py: results, group_subtasks,
configs, versions, n-samples, higher_is_better, date.
"""

import json
import logging
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alignmlm import __version__
from alignmlm.artifacts.names import RESULTS
from alignmlm.artifacts.provenance import checkout, git_record, library_versions
from alignmlm.errors import DataError, quoted
from alignmlm.evaluation.scores.scoring import (
    Retrieved,
    Sample,
    Scores,
    mean,
    remove_samples,
    summary,
    write_samples,
)
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.checksums import damage_of, verified, with_checksum
from alignmlm.storage.locks import locked
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.records import check_keys
from alignmlm.tasks.metrics import METRICS, Metric

log = logging.getLogger(__name__)

SCHEMA_VERSION = 3
PATH = "path"  # in the document's model: its location, which is not part of its identity
SAMPLES = "samples"  # by task and language: file, bytes and xxh3
BY_TASK = (
    "results", "group_subtasks", "configs", "versions", "n-samples", "higher_is_better", "per_seed",
    "matrix", "retrieval", SAMPLES,
)  # fmt: skip
UNITS = {
    "acc,none": "share in [0, 1]",
    "f1,none": "share in [0, 1]",
    "source": "percent",
    "bs": "percent",
    "bz": "percent",
    "delta": "percentage points",
    "retrieved": "percent",
}
MEASURES = ("source", "bs", "bz", "delta")
RESULT_COLUMNS = (*MEASURES, *(f"{name}_ci95" for name in MEASURES))
Document = dict[str, Any]

# keys of the rows that tables, charts and statistics read, and the types of their values
NUMBER, SCORE, BOUNDS = int | float, int | float | None, list | None
ROW: dict[str, Any] = {"objective": str, "task": str, "language": str}
STUDY_ROW: dict[str, Any] = {"source_language": str, "seed": int, **dict.fromkeys(MEASURES, SCORE)}
OPTIONAL: dict[str, Any] = {
    **STUDY_ROW, "n_seeds": int, "retrieved": NUMBER, "layer": int | None, "metrics": dict,
    "validation_loss_nats": dict, "alignment_in_dictionary_percent": SCORE,
    "alignment_held_out_percent": SCORE,
    **dict.fromkeys((f"{name}_ci95" for name in MEASURES), BOUNDS),
}  # fmt: skip
SEED: dict[str, Any] = {"source": str, "target": str, "seed": int, "source_test": NUMBER}
SEED |= {"bs": SCORE, "bz": NUMBER, "delta": SCORE}


def empty(model: dict[str, object]) -> Document:
    """A results document without results."""
    parts: Document = {part: {} for part in BY_TASK}
    fixed = {"schema_version": SCHEMA_VERSION, "units": UNITS, "model": model}
    return {**fixed, **parts, "skipped": {}, "alignmlm_version": __version__, "seconds": 0.0}


def environment() -> Document:
    """The environment of the measurements: commit, versions and machine."""
    code = git_record(checkout())
    return {
        "alignmlm_version": __version__,
        "git_hash": code["commit"],
        "uncommitted_changes": bool(code["diff_sha256"] or code["untracked"]),
        "environment": {
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            **library_versions(),
        },
    }


def replaced(
    document: Document, task: str, entry: Document, results: Document, seconds: float
) -> Document:
    """The document with a task's entries replaced."""
    old = [key for key in document["results"] if key == task or key.startswith(f"{task}@")]
    other_results = {key: row for key, row in document["results"].items() if key not in old}
    parts = {part: {k: v for k, v in document[part].items() if k != task} for part in BY_TASK[1:]}
    for part, value in entry.items():
        parts[part][task] = value
    total = round(document["seconds"] + seconds, 3)
    measured_with = {"date": time.time(), "seconds": total, **environment()}
    return {**document, **parts, "results": {**other_results, **results}, **measured_with}


def target_key(task: str, target: str) -> str:
    """The key of one target's results; the task's own key holds the mean over targets."""
    return f"{task}@{target}"


def with_task(
    document: Document,
    config: dict[str, Any],
    scores: list[Scores],
    samples: Document,
    seconds: float,
) -> Document:
    """The document with one task's results added or replaced."""
    task, targets = config["task"]["name"], list(dict.fromkeys(score.target for score in scores))
    metric = METRICS[config["task"]["metric"]].key
    rows = {
        target_key(task, target): summary([s for s in scores if s.target == target], metric)
        for target in targets
    }
    matrix: Document = {}
    for target, row in zip(targets, rows.values(), strict=True):
        matrix.setdefault(config["source"], {})[target] = row["bz"]
    entry: Document = {
        "group_subtasks": list(rows),
        "configs": config,
        "versions": config["task"]["version"],
        "n-samples": samples,
        "higher_is_better": {metric: True, "bs": True, "bz": True, "delta": False},
        "per_seed": [score.to_json() for score in scores],
        "matrix": matrix,
    }
    return replaced(document, task, entry, {task: summary(scores, metric), **rows}, seconds)


def with_retrieval(
    document: Document,
    config: dict[str, Any],
    retrieved: Sequence[Retrieved],
    samples: Document,
    seconds: float,
) -> Document:
    """The document with the results of one retrieval task, which needs no fine-tuning."""
    task, metric = config["task"]["name"], METRICS[config["task"]["metric"]].key
    rows = {
        target_key(task, f"{one.source}:{one.target}"): {
            f"{metric},none": one.percent / 100,
            "layer": one.layer,
        }
        for one in retrieved
    }
    whole = {f"{metric},none": mean([one.percent / 100 for one in retrieved])}
    entry: Document = {
        "configs": config,
        "versions": config["task"]["version"],
        "n-samples": samples,
        "higher_is_better": {metric: True},
        "retrieval": [asdict(one) for one in retrieved],
    }
    return replaced(document, task, entry, {task: whole, **rows}, seconds)


def recorded_metric(name: str, task: str) -> Metric:
    """The metric that results record for a task.

    Raises:
        DataError: it comes from a package that is not installed.
    """
    if name not in METRICS:
        remedy = "install the package that has this metric"
        raise DataError(f"task {task} was scored by {quoted(name)}, which is not known; {remedy}")
    return METRICS[name]


def retrieval_rows(document: Document) -> list[Document]:
    """One row per task and pair of languages; `retrieved` is in percent, as in result_rows."""
    objective = document["model"]["objective"]
    return [
        {
            "objective": objective,
            "task": task,
            "language": f"{row['source']} to {row['target']}",
            "retrieved": row["percent"],
            **{name: row[name] for name in ("layer", "metrics")},
        }
        for task, rows in document["retrieval"].items()
        for row in rows
    ]


def holds(folder: Path, document: Document, config: dict[str, Any]) -> bool:
    """Whether a folder has this task's results, answers included, with exactly these settings.

    Answers that are missing or damaged are logged.
    """
    task = config["task"]["name"]
    if document["configs"].get(task) != json.loads(json.dumps(config)):
        return False
    for file in document[SAMPLES].get(task, {}).values():
        if (damage := damage_of(folder / file["file"], file)) is not None:
            log.warning("%s is measured again: %s: %s", task, folder / file["file"], damage)
            return False
    return True


def write_results(
    folder: Path,
    document: Document,
    samples: dict[str, dict[str, list[Sample]]] | None = None,
) -> Document:
    """Write results.json and samples of some tasks by language; returns the document as written.

    Samples are written first, then results.json with their hashes; samples that it no longer names
    are removed last: results are never paired with samples of others. The caller holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        task: {name: write_samples(folder, task, name, part) for name, part in by_language.items()}
        for task, by_language in (samples or {}).items()
    }
    document = {**document, SAMPLES: {**document[SAMPLES], **written}}
    text = json.dumps(with_checksum(document), indent=1, ensure_ascii=False) + "\n"
    replace_text(folder / RESULTS, text)
    named = {file["file"] for part in document[SAMPLES].values() for file in part.values()}
    remove_samples(folder, keep=named)
    return document


def read_results(folder: Path) -> Document | None:
    """The results in a folder; None where there are none.

    Raises:
        DataError: results.json is damaged, or has another schema version.
    """
    path = folder / RESULTS
    if not path.exists():
        return None
    try:
        document = read_json(path, nan=True)
        version = document.get("schema_version")
        if version == SCHEMA_VERSION:
            document = verified(document, path, DataError)
            check_document(document, path)
            return document
    except DataError as error:
        raise DataError(f"{error}; delete it to measure again") from error
    remedy = f"this alignmlm reads {SCHEMA_VERSION}; delete it to measure again"
    raise DataError(f"{path} has schema version {quoted(version)}; {remedy}")


def check_document(document: Document, path: Path) -> None:
    """Raise unless a results document has every key that is read from it.

    Raises:
        DataError: it has not; the message names the file and the key.
    """
    kinds = dict.fromkeys(BY_TASK, dict) | {"model": dict, "seconds": int | float}
    check_keys(document, kinds, path)
    check_keys(document["model"], {"objective": str}, f"{path}: model")
    try:
        rows = [*result_rows(document), *retrieval_rows(document)]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} lacks parts of a task's results: {quoted(error)}") from error
    check_rows(rows, path)
    check_per_seed(document["per_seed"], path)


def check_rows(rows: Iterable[Any], place: str | Path) -> None:
    """Raise unless each row has the keys that identify it, with values of the right types.

    Raises:
        DataError: a key is missing, or its value has another type.
    """
    for number, row in enumerate(rows):
        check_keys(row, ROW, f"{place}: row {number}", DataError, OPTIONAL)
        for name in MEASURES:
            if (bounds := row.get(f"{name}_ci95")) is not None:
                where = f"{place}: row {number}: {name}_ci95"
                pair = dict(zip(("low", "high"), bounds, strict=False))
                check_keys(pair, {"low": NUMBER, "high": NUMBER}, where)
        for name, nats in row.get("validation_loss_nats", {}).items():
            check_keys({name: nats}, {name: NUMBER}, f"{place}: row {number}")


def check_per_seed(by_task: dict[str, Any], place: str | Path) -> None:
    """Raise unless the scores of each seed of each task are complete.

    Raises:
        DataError: they are not.
    """
    for task, rows in by_task.items():
        if not isinstance(rows, list):
            raise DataError(f"{place}: per_seed, {task} must be a list, found {rows!r:.80}")
        for row in rows:
            check_keys(row, SEED, f"{place}: per_seed, {task}")


def result_rows(document: Document) -> list[Document]:
    """One row per task and target, with the model's identity; units as in UNITS."""
    model = document["model"]
    return [
        {
            "objective": model["objective"],
            "task": task,
            "source_language": document["configs"][task]["source"],
            "language": key.removeprefix(target_key(task, "")),
            **{name: document["results"][key][name] for name in RESULT_COLUMNS},
            "n_seeds": document["results"][key]["n_seeds"],
        }
        for task, keys in document["group_subtasks"].items()
        for key in keys
    ]


def identity_of(document: Document | None) -> dict[str, Any] | None:
    """The identity of a document's model; None without a document."""
    return None if document is None else {k: v for k, v in document["model"].items() if k != PATH}


@dataclass(frozen=True, slots=True)
class ResultsFolder:
    """results.json and samples of one model in a folder."""

    path: Path
    model: dict[str, Any]  # its identity and path
    before: dict[str, Any] | None  # identity of the results in the folder when it was opened

    def document(self) -> Document:
        """The current results of the model, from any process; empty if there are none.

        Raises:
            DataError: results.json is damaged, or holds the results of another model since this
                folder was opened.
        """
        document, own = read_results(self.path), identity_of({"model": self.model})
        known = identity_of(document)
        if document is not None and known == own:
            return document
        if known != self.before:
            raise DataError(
                f"{self.path / RESULTS} holds the results of another model since this evaluation "
                f"began: {known}; name another output"
            )
        return empty(self.model)

    @contextmanager
    def current(self) -> Iterator[Document]:
        """The current document, locked against changes by other processes.

        Raises:
            DataError: as document() does.
        """
        with locked(self.path / RESULTS):
            yield self.document()

    def write(
        self, document: Document, samples: dict[str, dict[str, list[Sample]]] | None = None
    ) -> Document:
        """Replace the current document; returns the new one as written.

        `samples` are those of tasks that were added, by task and language.
        """
        return write_results(self.path, document, samples)


def open_results(path: Path, model: dict[str, Any]) -> ResultsFolder:
    """The results of a model in a folder; those of another model there will be replaced.

    Raises:
        DataError: results.json is damaged.
    """
    return ResultsFolder(path, model, identity_of(read_results(path)))
