"""results.json: what was measured, on what, and with which settings.

Its keys include those of EleutherAI/lm-evaluation-harness, evaluator.py: results, group_subtasks,
configs, versions, n-samples, higher_is_better, date.
"""

import json
import time
from pathlib import Path
from typing import Any

from alignmlm import __version__
from alignmlm.errors import DataError
from alignmlm.evaluation.transfer import Scores, summary
from alignmlm.files import replace_text

SCHEMA_VERSION = 1
RESULTS = "results.json"
BY_TASK = (
    "results", "group_subtasks", "configs", "versions", "n-samples", "higher_is_better", "per_seed",
)  # fmt: skip
UNITS = {
    "acc,none": "share in [0, 1]",
    "f1,none": "share in [0, 1]",
    "source": "percent",
    "bs": "percent",
    "bz": "percent",
    "delta": "percentage points",
}
METRIC_KEYS = {"accuracy": "acc", "entity_f1": "f1"}  # as lm-evaluation-harness names them
Document = dict[str, Any]


def empty(model: dict[str, object]) -> Document:
    """A results document without results."""
    parts: Document = {part: {} for part in BY_TASK}
    fixed = {"schema_version": SCHEMA_VERSION, "units": UNITS, "model": model}
    return {**fixed, **parts, "alignmlm_version": __version__, "seconds": 0.0}


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
    """The document with one task's results added, or put in the place of older ones."""
    task, targets = config["task"]["name"], list(dict.fromkeys(score.target for score in scores))
    metric = METRIC_KEYS[config["task"]["metric"]]
    rows = {
        target_key(task, target): summary([s for s in scores if s.target == target], metric)
        for target in targets
    }
    old = document["group_subtasks"].get(task, [])
    kept = {key: row for key, row in document["results"].items() if key not in old}
    entry: Document = {
        "group_subtasks": list(rows),
        "configs": config,
        "versions": config["task"]["version"],
        "n-samples": samples,
        "higher_is_better": {metric: True, "bs": True, "bz": True, "delta": False},
        "per_seed": [score.to_json() for score in scores],
    }
    parts = {part: {**document[part], task: value} for part, value in entry.items()}
    results = {**kept, task: summary(scores, metric), **rows}
    total = round(document["seconds"] + seconds, 3)
    return {**document, **parts, "results": results, "date": time.time(), "seconds": total}


def holds(document: Document, config: dict[str, Any]) -> bool:
    """Whether the document has this task's results with exactly these settings and files."""
    return document["configs"].get(config["task"]["name"]) == json.loads(json.dumps(config))


def write_results(folder: Path, document: Document) -> Path:
    """The path of results.json in the folder, written whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULTS
    replace_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path


def read_results(folder: Path) -> Document | None:
    """The results in a folder; None where there are none.

    Raises:
        DataError: results.json is damaged, or has another schema version.
    """
    path = folder / RESULTS
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = document["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} holds no results: {error!r}; delete it to measure again"
        ) from error
    if found != SCHEMA_VERSION:
        raise DataError(f"{path} has schema version {found}; this alignmlm reads {SCHEMA_VERSION}")
    return document


def result_rows(document: Document) -> list[Document]:
    """One row a task and target, with what tells the model; units as in UNITS."""
    model = document["model"]
    return [
        {
            "objective": model["objective"],
            "task": task,
            "source_language": document["configs"][task]["source"],
            "language": key.removeprefix(target_key(task, "")),
            **{name: document["results"][key][name] for name in ("source", "bs", "bz", "delta")},
            "n_seeds": document["results"][key]["n_seeds"],
        }
        for task, keys in document["group_subtasks"].items()
        for key in keys
    ]
