"""A cache of fine-tuned models, keyed by the hash of all that they depend on."""

import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
import xxhash
from transformers import PreTrainedModel

from alignmlm.errors import CheckpointError
from alignmlm.evaluation.evaluated_model import Export
from alignmlm.evaluation.examples.rendering import Example
from alignmlm.evaluation.examples.task_data import TaskData
from alignmlm.evaluation.fine_tuning.training import fine_tune, model_class
from alignmlm.evaluation.settings import FineTuneConfig
from alignmlm.model_loading import load_pretrained
from alignmlm.quiet import quiet_transformers
from alignmlm.storage.atomic import PARTIAL, new_folder, remove, replace_text, set_aside
from alignmlm.storage.checksums import check_files, file_hashes, verified, with_checksum
from alignmlm.storage.locks import LockHeldError, held_or_refused, lock_of, locked
from alignmlm.storage.plain_data import read_json

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
VERSION = 2  # increases when the same rows and settings would give another model


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """How a model is fine-tuned, and where fine-tuned ones are kept."""

    config: FineTuneConfig
    models: Path | None = None  # folder; none: not kept
    models_gib: float = 20.0


def rows_hash(examples: Sequence[Example]) -> str:
    """A hash of some rows, in their order."""
    digest = xxhash.xxh3_64()
    for example in examples:
        labels = np.atleast_1d(np.array(example.labels, np.int64))
        sizes = [len(example.input_ids), labels.size, example.language, example.second]
        for part in (sizes, example.input_ids, labels):
            digest.update(np.array(part, np.int64).tobytes())
    return digest.hexdigest()


def model_key(
    export: Export,
    kind: str,
    labels: list[str],
    rows: Sequence[Sequence[Example]],
    config: FineTuneConfig,
    seed: int,
) -> str:
    """The hash of what a fine-tuned model depends on; `rows` are of training, and of selection."""
    dependencies = {
        "version": VERSION,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "model": export.identity(),
        "kind": kind,
        "labels": labels,
        "rows": [rows_hash(part) for part in rows],
        "finetune": asdict(config),
        "seed": seed,
    }
    return xxhash.xxh3_64_hexdigest(json.dumps(dependencies, sort_keys=True).encode())


def folder_bytes(folder: Path) -> int:
    """Bytes of all files of a folder; one that another process just removed has none."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def last_used(path: Path) -> float:
    """When a model was used last; one that another process just removed comes first."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def make_room(folder: Path, limit_bytes: float) -> None:
    """Evict least recently used models until the rest fits the limit.

    Models that a process is reading or making are kept.
    """
    models = [path for path in folder.iterdir() if path.is_dir() and PARTIAL not in path.name]
    models.sort(key=last_used)
    sizes = {path: folder_bytes(path) for path in models}
    total = sum(sizes.values())
    for path in models:
        if total <= limit_bytes:
            return
        with suppress(LockHeldError), held_or_refused(lock_of(path)):
            remove(path)
            total -= sizes[path]
            log.info("removed %s: the models in %s were over the limit", path.name, folder)


def read_model(path: Path, kind: str, key: str) -> PreTrainedModel:
    """The model of a folder, its files verified.

    Raises:
        CheckpointError: a file is missing or damaged, or the model is another one.
    """
    place = path / MANIFEST
    manifest = verified(read_json(place, CheckpointError), place, CheckpointError)
    if manifest.get("key") != key:
        raise CheckpointError(f"{place} is not that of model {key}")
    check_files(path, manifest["files"], CheckpointError)
    return load_pretrained(model_class(kind), path, exact=True)


def write_model(path: Path, model: PreTrainedModel, key: str) -> None:
    """Write a model and the hashes of its files, atomically."""
    with new_folder(path) as partial:
        with quiet_transformers():
            model.save_pretrained(partial)
        files = file_hashes(partial, (file.name for file in partial.iterdir()))
        manifest = with_checksum({"key": key, "files": files})
        replace_text(partial / MANIFEST, json.dumps(manifest, indent=1))


def cached_model(folder: Path, kind: str, key: str) -> PreTrainedModel | None:
    """The model of a key in the cache, verified; a damaged one is reported and set aside."""
    path = folder / key
    if not path.is_dir():
        return None
    try:
        model = read_model(path, kind, key)
    except CheckpointError as error:
        log.warning("%s; set aside as %s, made again", error, set_aside(path).name)
        return None
    os.utime(path)
    log.info("fine-tuned before: %s", path)
    return model


def fine_tuned(data: TaskData, language: str, seed: int, tuning: Tuning) -> PreTrainedModel:
    """The export fine-tuned on a task in a language, from the cache if it is there.

    Of several processes one fine-tunes, and the others wait for it.
    """
    config, kind = tuning.config, data.task.kind
    if tuning.models is None:
        return fine_tune(data, language, config, seed)
    splits = ("train", "dev") if config.selection == "source_dev" else ("train",)
    rows = [data.rendered(language, split).examples for split in splits]
    key = model_key(data.export, kind, data.labels, rows, config, seed)
    with locked(tuning.models / key):
        model = cached_model(tuning.models, kind, key)
        if model is not None:
            return model
        model = fine_tune(data, language, config, seed)
        write_model(tuning.models / key, model, key)
    make_room(tuning.models, tuning.models_gib * 2**30)
    return model
