"""Results as a record of Every Eval Ever, a public collection of evaluations of many harnesses.

Source: github.com/evaleval/every_eval_ever, schemas/eval.schema.json, version 0.3.0. One record
holds all tasks of one model. Shares lie in [0, 1], Delta in percentage points; all details are
text, as the schema asks.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash

from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.scores.results import (
    Document,
    identity_of,
    read_results,
    recorded_metric,
    target_key,
)
from alignmlm.evaluation.scores.score_rows import RESULTS, results_folder
from alignmlm.storage.atomic import replace_text

SCHEMA_VERSION = "0.3.0"
COLLECTION = "alignmlm"
CANONICAL = {"acc": "accuracy", "f1": "f1", "exact": "exact-match", "p1": "precision-at-1"}
MEASURES = {
    "bz": "zero-shot transfer: fine-tuned on {source}, tested on {target}",
    "bs": "supervised: fine-tuned and tested on {target}",
    "source": "fine-tuned and tested on {source}",
    "delta": "what zero-shot transfer loses: supervised minus zero-shot score on {target}",
}
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


def text(value: Any) -> str:
    """A value as the text that the schema wants of every detail."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def metric_config(task: Document, measure: str, description: str) -> Document:
    """What a number is: its metric, unit and range.

    Raises:
        DataError: the metric is that of a package that is not installed.
    """
    loss = measure == "delta"
    metric = task["metric"]
    key = recorded_metric(metric, task["name"]).key
    return {
        "evaluation_description": description,
        "metric_id": "alignmlm.delta" if loss else CANONICAL.get(key, key),
        "metric_name": f"Delta of {metric}" if loss else metric,
        "metric_kind": "difference" if loss else CANONICAL.get(key, key),
        "metric_unit": "points" if loss else "proportion",
        "lower_is_better": loss,
        "score_type": "continuous",
        "min_score": -100.0 if loss else 0.0,
        "max_score": 100.0 if loss else 1.0,
    }


def score_details(row: Document, measure: str) -> Document:
    """A mean over seeds of fine-tuning, and its interval where there is one."""
    unit = 1 if measure == "delta" else 100  # percent (for Delta: points) in one unit of the record
    details: Document = {"score": row[measure] / unit}
    if (bounds := row[f"{measure}_ci95"]) is not None:
        details["uncertainty"] = {
            "confidence_interval": {
                "lower": bounds[0] / unit,
                "upper": bounds[1] / unit,
                "confidence_level": 0.95,
                "method": "Student's t over seeds of fine-tuning",
            },
            "num_samples": row["n_seeds"],
        }
    return details


def named_data(task: Document, **details: Any) -> Document:
    """A task's data by its name, and details."""
    return {
        "dataset_name": task["name"],
        "source_type": "other",
        "additional_details": {name: text(value) for name, value in details.items()},
    }


def source_data(config: Document, examples: Document, measure: str = "") -> Document:
    """The data that a number was measured on, known by the hashes of the task's files.

    "source" is measured on the task that was fine-tuned on, whose examples are not counted.
    """
    if measure == "source" and "source_task" in config:
        return named_data(config["source_task"], files_xxh3=config["source_files_xxh3"])
    return named_data(config["task"], files_xxh3=config.get("files_xxh3"), examples=examples)


def transfer_entries(document: Document, task: str) -> Iterator[Document]:
    """A result for each target and measure of a fine-tuned task."""
    config = document["configs"][task]
    for key in document["group_subtasks"][task]:
        row, target = document["results"][key], key.removeprefix(target_key(task, ""))
        for measure, description in MEASURES.items():
            if row[measure] is None:
                continue
            summary = description.format(source=config["source"], target=target)
            yield {
                "evaluation_result_id": f"{key}/{measure}",
                "evaluation_name": f"alignmlm.{task}.{target}.{measure}",
                "source_data": source_data(config, document["n-samples"][task], measure),
                "metric_config": metric_config(config["task"], measure, summary),
                "score_details": score_details(row, measure),
            }


def retrieval_entries(document: Document, task: str) -> Iterator[Document]:
    """A result for each pair of languages of a retrieval task."""
    config = document["configs"][task]
    for row in document["retrieval"][task]:
        pair = f"{row['source']}:{row['target']}"
        summary = f"retrieved by cosine from {row['source']} to {row['target']}, not fine-tuned"
        yield {
            "evaluation_result_id": target_key(task, pair),
            "evaluation_name": f"alignmlm.{task}.{row['source']}.{row['target']}",
            "source_data": source_data(config, document["n-samples"][task]),
            "metric_config": metric_config(config["task"], "retrieved", summary),
            "score_details": {
                "score": row["percent"] / 100,
                "details": {"items": text(row["items"]), "layer": text(row["layer"])},
            },
        }


def evaluation_record(document: Document, model_id: str) -> Document:
    """All results of one model as a record.

    Args:
        document: results.json, with at least one task.
        model_id: the model's name, ORG/NAME.
    """
    developer, _, name = model_id.partition("/")
    identity = {key: text(value) for key, value in (identity_of(document) or {}).items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{COLLECTION}/{model_id}/{document['date']:.0f}",
        "evaluation_timestamp": f"{document['date']:.0f}",
        "retrieved_timestamp": f"{time.time():.0f}",
        "source_metadata": {
            "source_name": "alignmlm",
            "source_type": "evaluation_run",
            "source_organization_name": developer,
            "evaluator_relationship": "first_party",
        },
        "eval_library": {
            "name": "alignmlm",
            "version": document["alignmlm_version"],
            "additional_details": {
                "git_hash": text(document["git_hash"]),
                **{name: text(value) for name, value in document["environment"].items()},
            },
        },
        "model_info": {
            "name": name,
            "id": model_id,
            "developer": developer,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                **identity,
            },
        },
        "evaluation_results": [
            entry
            for task in document["configs"]
            for entry in (
                retrieval_entries(document, task)
                if task in document["retrieval"]
                else transfer_entries(document, task)
            )
        ],
    }


def write_evaluation_record(results: Path, model_id: str, output: Path) -> Path:
    """Write a record to OUTPUT/alignmlm/ORG/NAME/UUID.json, the collection's layout.

    Returns the path; the same results get the same file name.

    Raises:
        ConfigError: the name is not ORG/NAME.
        DataError: there are no results, or they are damaged.
    """
    if not re.fullmatch(f"{NAME}/{NAME}", model_id):
        raise ConfigError("--model_id", model_id, "look like ORG/NAME")
    folder = results_folder(results)
    document = read_results(folder) if folder else None
    if document is None or not document["configs"]:
        raise DataError(f"{results} holds no results of one model: there is no {RESULTS}")
    record = evaluation_record(document, model_id)
    known = f"{record['evaluation_id']}/{identity_of(document)}".encode()
    name = uuid.UUID(bytes=xxhash.xxh3_128_digest(known), version=4)  # no other version is accepted
    path = output / COLLECTION / model_id / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return path
