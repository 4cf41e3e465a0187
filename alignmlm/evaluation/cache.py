"""Fine-tuned models by the hash of all that they depend on, so that none is trained twice."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import transformers
import xxhash
from transformers import PreTrainedModel

from alignmlm.evaluation.export import Export
from alignmlm.evaluation.finetune import MODELS, FineTuneConfig
from alignmlm.evaluation.rows import Example
from alignmlm.language_embeddings import restore_language_embeddings
from alignmlm.quiet import quiet_transformers

log = logging.getLogger(__name__)

VERSION = 1  # grows when the same rows and settings would give another model


def rows_hash(examples: Sequence[Example]) -> str:
    """What tells some rows, in their order, from any others."""
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
    told = {
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
    return xxhash.xxh3_64_hexdigest(json.dumps(told, sort_keys=True).encode())


def folder_bytes(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def make_room(folder: Path, limit_bytes: float) -> None:
    """Remove the models that were not used for longest until the rest fits the limit."""
    kept = sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)
    sizes = {path: folder_bytes(path) for path in kept}
    total = sum(sizes.values())
    for path in kept:
        if total <= limit_bytes:
            return
        shutil.rmtree(path)
        total -= sizes[path]
        log.info("removed %s: the models in %s were over the limit", path.name, folder)


def cached_model(
    folder: Path | None,
    kind: str,
    key: str,
    limit_gib: float,
    make: Callable[[], PreTrainedModel],
) -> PreTrainedModel:
    """The model of a key: that in the folder, or one made now and kept there, whole or not at all.

    No folder: nothing is kept.
    """
    if folder is None:
        return make()
    path = folder / key
    if path.is_dir():
        os.utime(path)
        with quiet_transformers():
            model = MODELS[kind].from_pretrained(path, dtype=torch.float32, use_safetensors=True)
            restore_language_embeddings(model, path)
        log.info("fine-tuned before: %s", path)
        return model
    model = make()
    partial = folder / f"{key}.tmp"
    shutil.rmtree(partial, ignore_errors=True)
    with quiet_transformers():
        model.save_pretrained(partial)
    partial.rename(path)
    make_room(folder, limit_gib * 2**30)
    return model
