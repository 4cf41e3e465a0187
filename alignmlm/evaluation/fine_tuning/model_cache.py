"""A cache of fine-tuned models: a folder for each, named by the hash of all that it depends on."""

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from alignmlm.console.quiet import quiet_transformers
from alignmlm.errors import CheckpointError
from alignmlm.models.loading import load_pretrained
from alignmlm.storage.atomic import (
    PARTIAL,
    folder_bytes,
    modified_ns,
    new_folder,
    remove,
    replace_text,
    set_aside,
)
from alignmlm.storage.checksums import check_files, file_hashes, verified, with_checksum
from alignmlm.storage.locks import LockHeldError, held_or_refused, lock_of
from alignmlm.storage.plain_data import read_json

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"


def make_room(folder: Path, limit_bytes: float) -> None:
    """Evict least recently used models until the rest fits the limit.

    Models that a process is reading or making are kept.
    """
    models = [path for path in folder.iterdir() if path.is_dir() and PARTIAL not in path.name]
    models.sort(key=modified_ns)
    sizes = {path: folder_bytes(path) for path in models}
    total = sum(sizes.values())
    for path in models:
        if total <= limit_bytes:
            return
        with suppress(LockHeldError), held_or_refused(lock_of(path)):
            remove(path)
            total -= sizes[path]
            log.info("removed %s: the models in %s were over the limit", path.name, folder)


def read_model(path: Path, model_class: Any, key: str) -> PreTrainedModel:
    """The model in a folder, loaded as a class of transformers after verifying its files.

    Raises:
        CheckpointError: a file is missing or damaged, or the model has another key.
    """
    place = path / MANIFEST
    manifest = verified(read_json(place, CheckpointError), place, CheckpointError)
    if manifest.get("key") != key:
        raise CheckpointError(f"{place} is not that of model {key}")
    check_files(path, manifest["files"], CheckpointError)
    return load_pretrained(model_class, path, exact=True)


def write_model(path: Path, model: PreTrainedModel, key: str) -> None:
    """Write a model and the hashes of its files, atomically."""
    with new_folder(path) as partial:
        with quiet_transformers():
            model.save_pretrained(partial)
        files = file_hashes(partial, (file.name for file in partial.iterdir()))
        manifest = with_checksum({"key": key, "files": files})
        replace_text(partial / MANIFEST, json.dumps(manifest, indent=1))


def cached_model(folder: Path, model_class: Any, key: str) -> PreTrainedModel | None:
    """The cached model of a key, verified, or None; a damaged one is reported and set aside."""
    path = folder / key
    if not path.is_dir():
        return None
    try:
        model = read_model(path, model_class, key)
    except CheckpointError as error:
        log.warning("%s; set aside as %s, made again", error, set_aside(path).name)
        return None
    os.utime(path)
    log.info("fine-tuned before: %s", path)
    return model
